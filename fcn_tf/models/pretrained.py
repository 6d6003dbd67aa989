"""From a value of `--weights` to a file on disk, and what it holds. No TensorFlow, but to read its checkpoints."""

import importlib.resources
import os
import re
from typing import Any

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import downloads, files
from fcn_tf.models import caffe, keras_vgg, matconvnet, torchvision_vgg
from fcn_tf.models.matconvnet import MatConvNet
from fcn_tf.models.weights_table import Row, TrainedHead

_READERS = {".h5": keras_vgg.read, ".hdf5": keras_vgg.read, ".safetensors": torchvision_vgg.read}  # others: .mat
_CAFFE = ".npz"
_PICKLES = (".pth", ".pt", ".pkl", ".bin", ".ckpt")
_OTHERS = {
    ".caffemodel": "a file of Caffe itself; expected its arrays in an .npz, which docs/networks.md says how to write.",
    ".keras": "a whole model; expected weights of a trunk, such as Keras' .h5. A run's model goes to --init_from.",
}
_WITHOUT = (
    "Without it: --weights=FILE.mat takes a file that you have, --weights=tiny the embedded network, for trying out."
)


def embedded() -> str:
    """The path of the tiny VGG19 that comes with the package."""
    return str(importlib.resources.files("fcn_tf.models") / "tiny-vgg19.mat")


def find(weights: str | None, model_dir: str = "data/models/") -> str:
    """The file that `weights` names, downloaded if it is a known one that is not there yet.

    Args:
      weights: "tiny" (embedded), "vgg19" or "vgg16" (in `model_dir`), the path of a file that `read` takes, of a
        TensorFlow 1 checkpoint, or None or "none" for an untrained trunk, which is as wide as the tiny one.
      model_dir: where .mat files are, or are downloaded to.

    Returns:
      A path.

    Raises:
      UserError: if there is no such file, or it cannot be downloaded.
    """
    if weights in (None, "none", "tiny"):
        return embedded()
    if weights in registry.WEIGHTS:
        remote = registry.resolve(registry.WEIGHTS[weights])
        try:
            return downloads.fetch(remote, files.join(model_dir, remote.filename))
        except UserError as error:
            raise UserError(f"{error} {_WITHOUT}") from None
    path = os.fspath(weights)
    if (prefix := checkpoint_prefix(path)) is not None:
        return prefix
    if not files.exists(path):
        raise UserError(
            f"--weights={path} does not exist; give tiny, {', '.join(registry.WEIGHTS)}, none, or the path of a "
            f"MatConvNet .mat file such as {downloads.VGG19.url}, Keras' .h5, torchvision's .safetensors or an .npz of "
            "Caffe's FCN."
        )
    return path


def read(weights: str | None, model_dir: str = "data/models/") -> tuple[MatConvNet, TrainedHead | None]:
    """Reads what `weights` names; files are told apart by their endings.

    Returns:
      The convolutions of a trunk; and of a whole network what it has for the head.

    Raises:
      UserError: as `find`; if it is damaged, or another network's.
    """
    path = find(weights, model_dir)
    if checkpoint_prefix(path) is not None:
        from fcn_tf.models import tf1_checkpoint

        net, head = tf1_checkpoint.read(path)
        return net, TrainedHead(head, "a checkpoint of FCN.tensorflow", ("original",), transposed=True)
    ending = os.path.splitext(path)[1].lower()
    if ending == _CAFFE:
        net, head = caffe.read(path)
        return net, TrainedHead(head, "an FCN of Caffe", caffe.ARCHS) if head else None
    if ending in _PICKLES:
        raise UserError(
            f"{path}: a file of PyTorch, a pickle, which can run any program when it is read; expected .safetensors. "
            f"Convert it, with the source code at hand: python tools/convert_torchvision.py --input={path} "
            "--output=FILE.safetensors."
        )
    if ending in _OTHERS:
        raise UserError(f"{path}: {_OTHERS[ending]}")
    return _READERS.get(ending, matconvnet.read)(path), None


def table(path: str, model: Any) -> list[Row]:
    """What became of each array of a file in a Keras model that was built from it; empty for files of trunks alone."""
    if checkpoint_prefix(path) is not None:
        from fcn_tf.models import tf1_checkpoint

        return tf1_checkpoint.table(path, model)
    return caffe.table(path, model) if path.lower().endswith(_CAFFE) else []


def checkpoint_prefix(path: str) -> str | None:
    """The prefix of the TensorFlow checkpoint that a path names, or None.

    Args:
      path: the prefix itself, one of its files, or a folder whose file `checkpoint` names the newest one.
    """
    if files.is_dir(path):
        state = files.join(path, "checkpoint")
        named = files.exists(state) and re.search(rb'^model_checkpoint_path: "(.+)"', files.read_bytes(state), re.M)
        if not named:
            return None
        path = files.join(path, os.path.basename(named[1].decode()))  # the folder may have been moved
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    return prefix if files.exists(f"{prefix}.index") else None
