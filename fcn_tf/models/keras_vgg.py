"""Reads the weights of Keras' VGG16 and VGG19, HDF5 files such as vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5.

A file has a group a layer, block1_conv1 to block5_conv4, fc1, fc2 and predictions, with a kernel and a bias in it or in
a group below it. Kernels are (h, w, in, out), and the first one sees BGR less Caffe's mean. With `h5py`; no Keras, no
TensorFlow.
"""

import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from fcn_tf.errors import UserError
from fcn_tf.io import files, texts
from fcn_tf.models import matconvnet
from fcn_tf.models.matconvnet import ConvWeights, MatConvNet

_MEAN_RGB = (123.68, 116.779, 103.939)  # keras.applications.imagenet_utils, "caffe"
_CLASSIFIER = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
_CONVOLUTION = re.compile(r"block(\d)_conv(\d)")
_DEEPEST = 3  # groups below a layer's
_MOST_BYTES = 2**30  # of one array; VGG's largest, fc1, has 411 MB


def read(path: str) -> MatConvNet:
    """Reads a VGG network of any width.

    Only arrays that lie in the file itself are read: no links to others, no arrays kept elsewhere.

    Args:
      path: the .h5 file.

    Raises:
      UserError: if it is damaged, or anything else than such a network.
    """
    try:
        stream = files.open_seekable(path)
        with stream, h5py.File(stream, "r") as file:
            arrays = {name: _kernel_and_bias(path, file, name) for name in file if _ours(name)}
    except UserError:
        raise
    # On damaged bytes HDF5 raises whatever comes: OSError, KeyError, RuntimeError, ValueError, ...
    except Exception as error:
        reason = texts.reason(error)
        raise UserError(f"{path}: the file is damaged ({reason}). Put a whole copy in its place.") from None
    convs = {_ours(name): weights for name, weights in arrays.items()}
    convs = {name: convs[name] for name in sorted(convs)}  # "conv" < "fc", and each is numbered
    if "conv1_1" in convs:
        first = convs["conv1_1"]
        convs["conv1_1"] = ConvWeights(np.ascontiguousarray(first.kernel[:, :, ::-1]), first.bias)
    channels = 0
    for name, conv in convs.items():
        if name.startswith("fc"):
            convs[name] = _as_convolution(path, name, conv, channels)
        channels = conv.bias.size
    matconvnet.check(path, convs)
    return MatConvNet(convs, np.array(_MEAN_RGB, np.float32))


def _ours(name: str) -> str:
    """MatConvNet's name of one of Keras' layers, "" for a layer without weights."""
    found = _CONVOLUTION.fullmatch(name)
    return f"conv{found[1]}_{found[2]}" if found else _CLASSIFIER.get(name, "")


def _kernel_and_bias(path: str, file: h5py.File, layer: str) -> ConvWeights:
    found = sorted(_arrays(path, file, layer, _DEEPEST), key=lambda array: -array.ndim)
    if [array.ndim for array in found] not in ([4, 1], [2, 1]):
        shapes = ", ".join(str(array.shape) for array in found) or "nothing"
        matconvnet.reject(path, f"{layer} holds {shapes} instead of a kernel and a bias")
    kernel, bias = (np.asarray(array[()], np.float32) for array in found)
    return ConvWeights(kernel, bias)


def _arrays(path: str, group: Any, name: str, depth: int) -> Iterator[h5py.Dataset]:
    """The arrays below `group[name]`."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise UserError(f"{path}: {name} is a link; expected weights in the file itself. Use another copy.")
    found = group[name]
    if isinstance(found, h5py.Group):
        for each in found if depth else ():
            yield from _arrays(path, found, each, depth - 1)
        return
    if found.external or found.is_virtual or found.dtype.kind != "f" or found.nbytes > _MOST_BYTES:
        raise UserError(
            f"{path}: {found.name} is no plain array of numbers (shape {found.shape}, {found.dtype}); expected float "
            "weights in the file itself. Use another copy."
        )
    yield found


def _as_convolution(path: str, name: str, dense: ConvWeights, channels: int) -> ConvWeights:
    """A dense layer over a flattened map (h, w, C), h = w -> the convolution that computes the same."""
    rows, filters = dense.kernel.shape if dense.kernel.ndim == 2 else (0, 0)
    side = round((rows / max(channels, 1)) ** 0.5)
    if not rows or side * side * channels != rows:
        matconvnet.reject(path, f"{name} has a kernel {dense.kernel.shape}, above {channels} channels")
    return ConvWeights(dense.kernel.reshape(side, side, channels, filters), dense.bias)
