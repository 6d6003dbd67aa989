"""Trained weights of the Caffe FCNs (fcn.berkeleyvision.org): their arrays as an .npz file. No TensorFlow.

Caffe's layers compute what Keras' do, on other orders: kernels are (out, in, h, w), of its deconvolutions (in, out, h,
w), and the first one sees BGR.
"""

import contextlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fcn_tf.errors import UserError
from fcn_tf.io import archives, files, texts
from fcn_tf.models import matconvnet, weights_table
from fcn_tf.models.matconvnet import ConvWeights, MatConvNet
from fcn_tf.models.weights_table import Row

ARCHS = ("fcn32s", "fcn16s", "fcn8s_paper", "fcn4s", "fcn2s")
_MEAN_RGB = (122.67892, 116.66877, 104.00699)  # of the authors' voc_layers.py, which says it in BGR
_HEAD = {  # Caffe's layer: ours
    "score_fr": "conv8",
    "score_pool4": "score_pool4",
    "score_pool3": "score_pool3",
    "upscore2": "upsample_pool4",
    "upscore_pool4": "upsample_pool3",
    "upscore": "upsample32",
    "upscore16": "upsample16",
    "upscore8": "upsample8",
}
_CLASSIFIER = {"fc6": "conv6", "fc7": "conv7"}
_SIDES = {"fc6": 7, "fc7": 1}  # of their kernels, where they are stored as fully connected layers
_SCALES = {"scale_pool4": "score_pool4", "scale_pool3": "score_pool3"}
_NAME = re.compile(r"(conv\d_\d|" + "|".join([*_CLASSIFIER, *_SCALES, *_HEAD]) + r")(?:[/._]\w+)?")


class _Found(NamedTuple):
    name: str
    shape: tuple[int, ...]  # there
    reshaped: bool
    array: np.ndarray  # as the layer takes it


def read(path: str) -> tuple[MatConvNet, dict[str, list[np.ndarray]]]:
    """Reads a network.

    Args:
      path: the .npz file. Its arrays are called as Caffe's layers, with an ending after `/`, `.` or `_` such as
        `conv1_1_0` and `conv1_1_1`; which of the two is the kernel, their sizes say.

    Returns:
      The trunk and the classifier as a MatConvNet file has them; and the weights of the layers of `paper.py` by name.
      Those that score skips take them unscaled.

    Raises:
      UserError: if it is damaged, or no such network.
    """
    found = _find(path)
    arrays = {layer: [part.array for part in parts] for layer, parts in found.items()}
    for layer, pair in arrays.items():
        if not all(np.isfinite(array).all() for array in pair):
            raise UserError(f"{path}: {layer} has NaN or infinite weights; expected finite ones. Use another copy.")
    convs = {}
    for layer in sorted(layer for layer in arrays if layer.startswith("conv") or layer in _CLASSIFIER):
        if len(arrays[layer]) != 2:
            raise UserError(f"{path}: {layer} has no {'bias' if arrays[layer] else 'kernel'}; expected both.")
        convs[layer] = ConvWeights(*arrays[layer])
    if "conv1_1" not in convs:
        raise UserError(
            f"{path} is no FCN of Caffe: it has no conv1_1; expected arrays called as its layers, conv1_1_0 and "
            "conv1_1_1 to upscore8_0 (docs/networks.md says how to write them)."
        )
    first = convs["conv1_1"]
    convs["conv1_1"] = ConvWeights(np.ascontiguousarray(first.kernel[:, :, ::-1]), first.bias)
    matconvnet.check(path, convs)
    head = {_HEAD[layer]: pair for layer, pair in arrays.items() if layer in _HEAD}
    for layer, scale in _scales(found).items():
        if layer in head:
            head[layer] = [head[layer][0] * np.float32(scale), *head[layer][1:]]
    return MatConvNet(convs, np.array(_MEAN_RGB, np.float32)), head


def table(path: str, model: Any) -> list[Row]:
    """What becomes of each array of a file in a Keras model that was built from it, in the order of their names."""
    found = _find(path)
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in model.layers}
    scales = _scales(found)
    rows = {}
    for layer, parts in found.items():
        ours = _HEAD.get(layer) or _CLASSIFIER.get(layer) or _SCALES.get(layer) or layer
        here = shapes.get(ours)
        for kind, part in zip(("kernel", "bias"), parts, strict=False):
            if here is None:
                action, note = "skipped", f"--arch={model.name} has no {ours}"
            elif layer not in _SCALES and [each.array.shape for each in parts] != here:
                action, note = "skipped", f"{ours} starts anew: its kernel is {here[0]} here"
            elif layer in _SCALES:
                action, note = "loaded", f"into the kernel of {ours}"
            else:
                action, note = "reshaped" if part.reshaped else "loaded", f"{ours} {kind}"
                factor = scales.get(ours, 1.0) / weights_table.skip_scale(model, ours)
                if kind == "kernel" and not np.isclose(factor, 1.0):
                    note += f", times {factor:g}: skips are scaled otherwise here"
            rows[part.name] = Row(part.name, part.shape, action, note)
    with _opened(path) as archive:
        for name in archive.files:
            rows.setdefault(name, Row(name, (), "skipped", "unknown"))
    return [rows[name] for name in sorted(rows)]


def _scales(found: Mapping[str, list[_Found]]) -> dict[str, float]:
    """What the file multiplies skips by, by the layer that scores them."""
    return {_SCALES[layer]: float(parts[0].array.ravel()[0]) for layer, parts in found.items() if layer in _SCALES}


def _find(path: str) -> dict[str, list[_Found]]:
    """{Caffe's layer: its kernel, and its bias where it has one, as Keras' layers take them}."""
    by_layer: dict[str, list[tuple[str, np.ndarray]]] = {}
    for name, array in _arrays(path):
        if match := _NAME.fullmatch(name):
            by_layer.setdefault(match[1], []).append((name, array))
    found = {}
    for layer, arrays in by_layer.items():
        if len(arrays) > 2:
            raise UserError(f"{path}: {layer} has {len(arrays)} arrays; expected its kernel and its bias.")
        kernel, *bias = sorted(arrays, key=lambda named: -named[1].size)
        found[layer] = [_kernel(path, layer, *kernel), *(_bias(*each) for each in bias)]
    return found


def _kernel(path: str, layer: str, name: str, array: np.ndarray) -> _Found:
    if layer in _SCALES:
        return _Found(name, array.shape, False, array)
    kernel, side = array, _SIDES.get(layer, 0)
    if array.ndim == 2 and side and array.shape[1] % side**2 == 0:
        kernel = array.reshape(len(array), -1, side, side)
    if kernel.ndim != 4:
        raise UserError(f"{path}: {name} has the shape {array.shape}; expected a kernel (out, in, height, width).")
    # Of deconvolutions that is (h, w, out, in), as Keras' are.
    return _Found(name, array.shape, kernel is not array, np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)))


def _bias(name: str, array: np.ndarray) -> _Found:
    return _Found(name, array.shape, array.ndim != 1, array.reshape(-1))  # old ones are (1, 1, 1, out)


def _arrays(path: str) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a file that can be weights, in float32."""
    with _opened(path) as archive:
        for name in archive.files:
            try:
                array = archive[name]
            except Exception as error:  # of damaged bytes whatever comes
                raise _damaged(path, error) from None
            if array.dtype.kind == "f":
                with np.errstate(over="ignore"):  # too large becomes infinite, and is refused as such
                    yield name, np.asarray(array, np.float32)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    with files.open_seekable(path) as stream:
        try:
            archives.check_zip(stream)
            stream.seek(0)
            archive = np.load(stream, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(path, error) from None
        yield archive


def _damaged(path: str, error: Exception) -> UserError:
    reason = texts.reason(error)
    return UserError(f"{path}: no .npz file of numbers, or damaged ({reason}). Put a whole copy in its place.")
