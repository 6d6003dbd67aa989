"""Reads VGG networks and AlexNet, and writes VGG networks, in MatConvNet's .mat format (https://www.vlfeat.org/matconvnet/pretrained/).

Two layouts are in use under the same file names. Up to beta16 a file holds `layers` and `normalization`;
newer ones hold `layers` and `meta`, which holds `normalization`, and their structs have more fields in
another order. `layers` is a 1xN cell of structs; a convolution's `weights` is a cell {kernel, bias}. Kernels
are (h, w, in, out) and the first one sees RGB. Fields are found by name. NumPy, and SciPy for writing.
"""

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

import numpy as np
import scipy.io

from fcn_tf.errors import UserError
from fcn_tf.io import files, matfile
from fcn_tf.io.downloads import VGG16, VGG19, looks_like_html

# Of ImageNet's pixels. MatConvNet's networks see them undivided by it, so features are as much larger than of those
# that were trained on divided ones.
STANDARD_DEVIATION = 58.0
_DEPTHS = {  # convolutions a stage (Simonyan & Zisserman 2014, table 1: A, B, D, E)
    "VGG11": (1, 1, 2, 2, 2),
    "VGG13": (2, 2, 2, 2, 2),
    "VGG16": (2, 2, 3, 3, 3),
    "VGG19": (2, 2, 4, 4, 4),
}
TRUNKS = {
    depth: tuple(f"conv{stage}_{i}" for stage, count in enumerate(counts, 1) for i in range(1, count + 1))
    for depth, counts in _DEPTHS.items()
}
_ALEXNET = tuple(f"conv{i}" for i in range(1, 6))
_CLASSIFIER = ("fc6", "fc7", "fc8")
# Others, such as bnorm, would be left out in silence and change what the network computes.
_LAYERS_WITHOUT_WEIGHTS = frozenset({"relu", "pool", "softmax", "softmaxloss", "loss", "dropout"})
_NORMALIZATIONS = frozenset({"lrn", "normalize"})  # the newer name and the older one
_HEADER = 128
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF"


@dataclass(frozen=True, eq=False)
class ConvWeights:
    """One convolution.

    Attributes:
      kernel: float32 (h, w, in, out).
      bias: float32 (out,).
    """

    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class MatConvNet:
    """The weights of a VGG11, 13, 16 or 19, or of an AlexNet, of any width.

    Attributes:
      convs: conv1_1 to conv5_x, or conv1 to conv5, then fc6, fc7 and fc8 as far as the file has them, in this order.
      mean_rgb: float32 (3,), what to subtract from RGB in [0, 255].
      normalizations: of AlexNet's norm1 and norm2: (channels, bias, alpha, beta).
    """

    convs: dict[str, ConvWeights]
    mean_rgb: np.ndarray
    normalizations: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def is_alexnet(self) -> bool:
        """Whether it is an AlexNet and no VGG network."""
        return _ALEXNET[0] in self.convs


def read(path: str | os.PathLike) -> MatConvNet:
    """Reads a VGG network or an AlexNet of any width; both layouts.

    Every convolution of the network must be there once, under its name and in its place; shapes must fit each
    other and all numbers be finite. The arrays are as MATLAB stores them, in Fortran order.

    Args:
      path: the .mat file.

    Raises:
      UserError: if it is missing, broken, or anything else than such a network.
    """
    path = os.fspath(path)
    contents = _load(path)
    layers = contents["layers"]
    if not isinstance(layers, tuple):
        reject(path, "`layers` is not a cell of layers, as in a DagNN file (ResNet, GoogLeNet, ...)")
    convs: dict[str, ConvWeights] = {}
    normalizations: dict[str, tuple[float, ...]] = {}
    for number, value in enumerate(layers, 1):
        layer = _fields(value)
        name, kind = _text(layer.get("name")), _text(layer.get("type"))
        if kind in _NORMALIZATIONS:
            normalizations[name] = _normalization(path, name, layer.get("param"))
        elif kind != "conv":
            if kind not in _LAYERS_WITHOUT_WEIGHTS:
                reject(path, f"layer {number}, {name!r}, is of type {kind!r}")
        elif name not in TRUNKS["VGG19"] + _ALEXNET + _CLASSIFIER:
            reject(path, f"convolution {name!r}")
        elif name in convs:
            reject(path, f"two convolutions {name}")
        else:
            convs[name] = _conv(path, name, layer.get("weights"))
    net = MatConvNet(convs, _mean_rgb(path, contents), normalizations)
    if net.is_alexnet:
        _check_order(path, tuple(convs), "AlexNet", _ALEXNET)
        _check_shapes(path, convs)
    else:
        if normalizations:
            reject(path, f"layer {next(iter(normalizations))} normalises, as in AlexNet, but there is no conv1")
        check(path, convs)
    return net


def write(path: str | os.PathLike, net: MatConvNet, *, layout: str = "beta16") -> None:
    """Writes a network, compressed; equal networks give equal bytes.

    Args:
      path: the .mat file; its folder is made where missing.
      net: a network that `read` would accept.
      layout: "beta16" or "newer".

    Raises:
      UserError: if the network is not consistent.
      ValueError: if there is no such layout.
    """
    path = os.fspath(path)
    if layout not in ("beta16", "newer"):
        raise ValueError(f"layout must be 'beta16' or 'newer', got {layout!r}.")
    check(path, net.convs)
    contents = _contents(net, layout)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, contents, do_compression=True)
    # SciPy writes the platform and the time here.
    text = b"MATLAB 5.0 MAT-file, MatConvNet " + layout.encode() + b" layout, written by fcn_tf"
    files.write_bytes(path, text.ljust(116) + buffer.getvalue()[116:])


def reject(path: str, found: str) -> NoReturn:
    """Raises UserError: the file is of another network than a VGG or an AlexNet."""
    raise UserError(
        f"{path}: {found}; expected a VGG11, 13, 16 or 19 (conv1_1 to conv5_x), or MatConvNet's AlexNet. "
        f"Is this another network's file? VGG19 is at {VGG19.url}"
    )


def _load(path: str) -> dict[str, Any]:
    """The variables that matter of a .mat file, see `matfile.read`; what cannot be one is told apart first."""
    try:
        stream = files.open_seekable(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Download it from {VGG19.url} and put it there.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; expected a .mat file. Name the file in it.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected a readable .mat file.") from None
    with stream:
        _check_format(path, stream)
        try:
            contents, names = matfile.read(stream, ("layers", "normalization", "meta"))
        except (matfile.Damaged, OSError) as error:
            raise UserError(f"{path}: the file is damaged ({error}). {_whole_copy(path)}") from None
        if "layers" not in contents:
            reject(path, f"no variable `layers`, found {', '.join(names) or 'nothing'}")
        return contents


def _whole_copy(path: str) -> str:
    """How to replace a file that is no good. Who put it there decides about it: it is not advised to delete it."""
    for remote in (VGG19, VGG16):
        if os.path.basename(path) == remote.filename:
            return f"Put a whole copy in its place, from {remote.url}"
    return f"Put a whole copy in its place, or give other --weights, such as those of {VGG19.url}"


def _check_format(path: str, stream: BinaryIO) -> None:
    """Raises UserError unless `stream` is a whole MATLAB 5 file."""
    again = _whole_copy(path)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(_HEADER)
    if not head:
        raise UserError(f"{path}: the file is empty. {again}")
    if looks_like_html(head):
        raise UserError(f"{path}: looks like a web page (HTML), such as a host's login page. {again}")
    if head.startswith(_ZIP) and path.endswith(".keras"):
        folder = os.path.dirname(path) or "."
        raise UserError(
            f"{path}: a trained Keras model; --weights takes a MatConvNet .mat file, where a training starts from. "
            f"To use the model: --mode=evaluate or predict with --logs_dir={folder}; to train it further: --mode=train "
            f"--logs_dir={folder}."
        )
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
    major = max(head[124:126], default=0) if order else 0
    if major != 2 and head.startswith(_HDF5):
        raise UserError(f"{path}: an HDF5 file, such as a .h5 of Keras; expected a MatConvNet .mat file. {again}")
    if major == 2:
        raise UserError(
            f"{path}: a MATLAB 7.3 (HDF5) file; expected MATLAB 5 to 7. Load it in MATLAB and save with -v7."
        )
    if not order and head.startswith(b"MATLAB 5.0"):
        raise UserError(f"{path}: the file is cut short in its header, after {size} bytes. {again}")
    if major != 1:
        raise UserError(f"{path}: not a MATLAB 5 to 7 file: it starts with {head[:16]!r}. {again}")
    position = _HEADER
    while position < size:
        stream.seek(position)
        tag = stream.read(8)
        # A tag is a type (a compressed variable or a plain one) and the number of bytes that follow.
        kind, count = struct.unpack(order + "II", tag) if len(tag) == 8 else (14, 0)
        if kind not in (14, 15):
            raise UserError(f"{path}: the file is damaged: no variable begins at byte {position:,}. {again}")
        position += 8 + count
    if position > size:
        raise UserError(f"{path}: the file is cut short: {size:,} bytes; expected at least {position:,}. {again}")


def _fields(value: Any) -> dict[str, Any]:
    """A MATLAB struct; empty for anything else."""
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large becomes infinite, and is refused as such
        return np.asarray(values, np.float32)


def _conv(path: str, name: str, weights: Any) -> ConvWeights:
    """A `weights` cell as float32 arrays, without copies where they are float32 already."""
    if not isinstance(weights, tuple) or len(weights) < 2:
        reject(path, f"{name} has no cell `weights` of kernel and bias")
    kernel, bias = weights[:2]
    if not all(isinstance(w, np.ndarray) for w in (kernel, bias)):
        reject(path, f"{name}'s weights are not plain numbers")
    # MATLAB drops trailing dimensions of 1, and stores vectors as (1, n) or (n, 1).
    kernel = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim), order="F")
    return ConvWeights(_float32(kernel), _float32(bias).ravel())


def _normalization(path: str, name: str, param: Any) -> tuple[float, ...]:
    """The `param` of a local response normalisation: channels, bias, alpha, beta."""
    if not isinstance(param, np.ndarray) or param.size != 4:
        reject(path, f"{name} has no `param` of four numbers")
    return tuple(float(value) for value in param.ravel())


def check(path: str, convs: Mapping[str, ConvWeights]) -> None:
    """Raises UserError unless these are all the convolutions of a VGG network and fit each other."""
    trunk = tuple(name for name in convs if name not in _CLASSIFIER)
    depth = min(TRUNKS, key=lambda depth: len(set(TRUNKS[depth]) ^ set(trunk)))
    _check_order(path, tuple(convs), depth, TRUNKS[depth])
    _check_shapes(path, convs, side=3)


def _check_order(path: str, names: tuple[str, ...], network: str, expected: tuple[str, ...]) -> None:
    """Raises UserError unless `names` are those of the trunk that is expected, and some of the classifier's."""
    trunk = tuple(name for name in names if name not in _CLASSIFIER)
    if missing := [name for name in expected if name not in names]:
        reject(path, f"nearest to {network}, but without {', '.join(missing)}")
    if extra := [name for name in trunk if name not in expected]:
        reject(path, f"nearest to {network}, but with {', '.join(extra)} as well")
    if names != expected + _CLASSIFIER[: len(names) - len(trunk)]:
        reject(path, f"the convolutions come in the order {', '.join(names)}")


def _check_shapes(path: str, convs: Mapping[str, ConvWeights], *, side: int | None = None) -> None:
    """Raises UserError unless kernels and biases fit each other and are finite.

    Args:
      path: of the file.
      convs: in order.
      side: of the trunk's kernels; None for any, which may also see a part of the channels each.
    """
    channels = 3
    for name, conv in convs.items():
        shape = conv.kernel.shape
        in_trunk = name not in _CLASSIFIER
        size = (side, side) if side and in_trunk else shape[:2]
        parts = side is None and in_trunk and len(shape) == 4 and shape[2] and channels % shape[2] == 0
        if len(shape) != 4 or 0 in shape or shape[:2] != size or not (shape[2] == channels or parts):
            wanted = f"{side}, {side}" if side and in_trunk else "any, any"
            reject(path, f"kernel {name} has shape {shape}, expected ({wanted}, {channels}, any)")
        channels = shape[3]
        if conv.bias.shape != (channels,):
            reject(path, f"bias {name} has shape {conv.bias.shape}, expected ({channels},)")
        if not (np.isfinite(conv.kernel).all() and np.isfinite(conv.bias).all()):
            raise UserError(
                f"{path}: {name} has NaN or infinite weights; expected finite ones. "
                f"The network that was saved had diverged, or the file is damaged: use another one."
            )


def _mean_rgb(path: str, contents: Mapping[str, Any]) -> np.ndarray:
    """The mean colour: averageImage is a picture (224, 224, 3) or one colour, (1, 1, 3) or (1, 3)."""
    meta = _fields(contents.get("meta"))
    normalization = _fields(meta.get("normalization", contents.get("normalization")))
    image = normalization.get("averageImage")
    if not isinstance(image, np.ndarray):
        reject(path, "no normalization.averageImage, the mean to subtract from pictures")
    if image.size == 3:
        image = image.reshape(1, 1, 3)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        reject(
            path,
            f"normalization.averageImage has shape {image.shape}, expected (height, width, 3) or (1, 1, 3)",
        )
    mean = _float32(image.mean(axis=(0, 1), dtype=np.float64))
    if not np.isfinite(mean).all():
        raise UserError(f"{path}: normalization.averageImage is NaN or infinite; expected colours. Use another file.")
    return mean


def _contents(net: MatConvNet, layout: str) -> dict[str, Any]:
    """The variables of a .mat file, for scipy.io.savemat."""
    names = tuple(net.convs)
    layers: list[dict[str, Any]] = []
    for name, following in zip(names, (*names[1:], ""), strict=True):
        conv = net.convs[name]
        pad = 0.0 if name in _CLASSIFIER else 1.0
        weights = np.empty((1, 2), object)
        weights[0, 0], weights[0, 1] = conv.kernel.astype(np.float32), conv.bias.astype(np.float32)[None]
        layer = {"pad": np.full((1, 4), pad), "type": "conv", "name": name, "stride": np.ones((1, 2))}
        if layout == "beta16":
            layers.append({"weights": weights} | layer)
        else:
            size = np.array([conv.kernel.shape], float)
            layers.append({"name": name, "type": "conv", "weights": weights, "size": size} | layer)
        if name == "fc8":
            layers.append({"type": "softmax", "name": "prob"})
            continue
        layers.append({"type": "relu", "name": name.replace("conv", "relu").replace("fc", "relu")})
        # The stage is the digit after "conv".
        if name not in _CLASSIFIER and name[:5] != following[:5]:
            pool = {"name": f"pool{name[4]}", "stride": np.full((1, 2), 2.0), "pad": np.zeros((1, 4))}
            layers.append(pool | {"type": "pool", "method": "max", "pool": np.full((1, 2), 2.0)})
    cell = np.empty((1, len(layers)), object)
    cell[0] = layers
    normalization = {
        "averageImage": np.tile(net.mean_rgb.astype(np.float32), (224, 224, 1)),
        "imageSize": np.array([[224.0, 224.0, 3.0]]),
        "interpolation": "bilinear",
    }
    if layout == "beta16":
        return {"layers": cell, "normalization": normalization}
    normalization["averageImage"] = net.mean_rgb.astype(np.float32).reshape(1, 1, 3)
    return {"layers": cell, "meta": {"normalization": normalization}}
