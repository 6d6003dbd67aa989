"""From a value of `--weights` to a MatConvNet file on disk. No TensorFlow."""

import importlib.resources
import os

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import downloads, files


def embedded() -> str:
    """The path of the tiny VGG19 that comes with the package."""
    return str(importlib.resources.files("fcn_tf.models") / "tiny-vgg19.mat")


def find(weights: str | None, model_dir: str = "data/models/") -> str:
    """The file that `weights` names, downloaded if it is a known one that is not there yet.

    Args:
      weights: "tiny" (embedded), "vgg19" or "vgg16" (in `model_dir`), the path of a MatConvNet .mat file, or None or
        "none" for an untrained trunk, which is as wide as the tiny one.
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
        return downloads.fetch(remote, files.join(model_dir, remote.filename))
    path = os.fspath(weights)
    if not files.exists(path):
        raise UserError(
            f"--weights={path} does not exist; give tiny, {', '.join(registry.WEIGHTS)}, none, or the path of a "
            f"MatConvNet .mat file such as {downloads.VGG19.url}."
        )
    return path
