"""Reads the weights of torchvision's VGG11 to VGG19 from .safetensors files, timm's too; NumPy only.

https://github.com/huggingface/safetensors#format: eight bytes with the length of a header, the header in JSON, the
arrays. A state dict names "features.0.weight" and so on, numbered with the layers between them. Kernels are
(out, in, h, w), and the first one sees RGB in [0, 1], less a mean and divided by a deviation.
"""

import json
import re
from typing import Any

import numpy as np

from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.models import matconvnet
from fcn_tf.models.matconvnet import STANDARD_DEVIATION, ConvWeights, MatConvNet

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's own pictures
_CLASSIFIER = {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
_CLASSIFIER |= {"pre_logits.fc1": "fc6", "pre_logits.fc2": "fc7", "head.fc": "fc8"}  # as timm calls them
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
_NAME = re.compile(r"((?:features|classifier)\.\d+|pre_logits\.fc[12]|head\.fc)\.(weight|bias)")


def read(path: str) -> MatConvNet:
    """Reads a VGG network of any width, without batch normalisation.

    What torchvision does to pictures beforehand becomes part of conv1_1: its kernel is divided by 255 times the
    deviation, and the mean is subtracted from RGB in [0, 255]. Then conv1_1 and the biases of the trunk are made
    larger, for features as large as those of MatConvNet's files, and fc6 as much smaller: what it computes stays.

    Args:
      path: the .safetensors file.

    Raises:
      UserError: if it is damaged, or anything else than such a network.
    """
    tensors = _tensors(path, files.read_bytes(path))
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        if not (found := _NAME.fullmatch(name)):
            hint = "; a VGG with batch normalisation is another network" if "running_" in name else ""
            matconvnet.reject(path, f"an array {name!r}{hint}")
        layers.setdefault(found[1], {})[found[2]] = tensor
    if lacking := [name for name, each in layers.items() if set(each) != {"weight", "bias"}]:
        matconvnet.reject(path, f"{lacking[0]} has only {', '.join(layers[lacking[0]])}")
    convs: dict[str, ConvWeights] = {}
    for ours, theirs in _names(path, layers).items():
        weight, bias = layers[theirs]["weight"], layers[theirs]["bias"]
        if weight.ndim == 2:
            weight = _as_convolution(path, ours, weight, convs)
        if weight.ndim != 4 or bias.ndim != 1:
            matconvnet.reject(path, f"{theirs} has a kernel {weight.shape} and a bias {bias.shape}")
        convs[ours] = ConvWeights(np.ascontiguousarray(weight.transpose(2, 3, 1, 0)), bias)
    matconvnet.check(path, convs)
    factors = {"conv1_1": STANDARD_DEVIATION / (255 * np.array(_DEVIATION))[:, None], "fc6": 1 / STANDARD_DEVIATION}
    for name, conv in convs.items():
        kernel = (conv.kernel * factors[name]).astype(np.float32) if name in factors else conv.kernel
        bias = conv.bias if name.startswith("fc") else conv.bias * np.float32(STANDARD_DEVIATION)
        convs[name] = ConvWeights(kernel, bias)
    return MatConvNet(convs, (255 * np.array(_MEAN)).astype(np.float32))


def _names(path: str, layers: dict[str, Any]) -> dict[str, str]:
    """{MatConvNet's name: torchvision's} of every layer, in order."""
    features = sorted((name for name in layers if name.startswith("features.")), key=_number)
    # A convolution and its ReLU count as two layers, the pooling after each stage as one.
    for names in matconvnet.TRUNKS.values():
        numbers = {name: 2 * i + int(name[4]) - 1 for i, name in enumerate(names)}
        if [_number(name) for name in features] == list(numbers.values()):
            break
    else:
        matconvnet.reject(path, f"layers {', '.join(features) or 'none'}")
    classifier = {ours: theirs for theirs, ours in _CLASSIFIER.items() if theirs in layers}
    if extra := [name for name in layers if name not in (*features, *classifier.values())]:
        matconvnet.reject(path, f"a layer {extra[0]}")
    return {**{name: f"features.{number}" for name, number in numbers.items()}, **classifier}


def _number(name: str) -> int:
    return int(name.rpartition(".")[2])


def _as_convolution(path: str, name: str, weight: np.ndarray, below: dict[str, ConvWeights]) -> np.ndarray:
    """A dense layer over a flattened map (C, h, w), h = w -> the kernel (out, C, h, w) that computes the same."""
    filters, columns = weight.shape
    channels = next(reversed(below.values())).bias.size
    side = round((columns / channels) ** 0.5)
    if side * side * channels != columns:
        matconvnet.reject(path, f"{name} has a kernel {weight.shape}, above {channels} channels")
    return weight.reshape(filters, channels, side, side)


def _tensors(path: str, data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file, as float32."""
    length = int.from_bytes(data[:8], "little")
    start = 8 + length
    if len(data) < 8 or length > min(_LONGEST_HEADER, len(data) - 8):
        raise UserError(
            f"{path}: no safetensors file, or cut short: a header of {length:,} bytes in {len(data):,}. Put a whole "
            "copy in its place."
        )
    try:
        header = json.loads(data[8:start])
        tensors = {}
        for name, about in header.items():
            if name == "__metadata__":
                continue
            begin, end = about["data_offsets"]
            dtype, shape = np.dtype(_TYPES[about["dtype"]]), tuple(about["shape"])
            if not all(type(each) is int and each >= 0 for each in (begin, end, *shape)):
                raise ValueError(f"{name} lies at {begin} to {end} in the shape {shape}")
            raw = np.frombuffer(data[start + begin : start + end], dtype).reshape(shape)
            tensors[name] = _float32(raw, about["dtype"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: the file is damaged, or holds other than float arrays ({type(error).__name__}: {error}). Put a "
            "whole copy in its place."
        ) from None
    return tensors


def _float32(raw: np.ndarray, kind: str) -> np.ndarray:
    if kind == "BF16":  # the upper half of a float32
        return (raw.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # too large becomes infinite, and is refused as such
        return raw.astype(np.float32)
