"""Trained weights of FCN.tensorflow: a TensorFlow 1 checkpoint, its variables found by name."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.io import texts
from fcn_tf.models.base import Weights
from fcn_tf.models.matconvnet import TRUNKS, ConvWeights, MatConvNet
from fcn_tf.models.weights_table import OPTIMIZER, Row

# The graph holds it as a constant, so a checkpoint does not: of imagenet-vgg-verydeep-19.mat, the only file it loads.
MEAN_RGB = (123.68, 116.779, 103.939)
_TRUNK = r"(conv\d_\d)_([wb])"
_HEAD = {  # what the graph calls kernel and bias: our layer, the side of its kernel
    "6": ("conv6", 7), "7": ("conv7", 1), "8": ("conv8", 1), "_t1": ("conv_t1", 4), "_t2": ("conv_t2", 4),
    "_t3": ("conv_t3", 16),
}  # fmt: skip
_NEEDED = [name for name in TRUNKS["VGG19"] if name != "conv5_4"]
_NOT_IN_THE_NETWORK = "feeds nothing in FCN.tensorflow either"
_SLOT = re.compile(r"(^|/)(beta[12]_power(_\d+)?|[^/]+/(Adam(_\d+)?|Momentum|RMSProp(_\d+)?)|global_step)$")


class _Found(NamedTuple):
    variable: str
    shape: tuple[int, ...]
    array: np.ndarray  # as the layer takes it


def read(prefix: str) -> tuple[MatConvNet, Weights]:
    """Reads a checkpoint.

    Args:
      prefix: its path without .index, such as logs/model.ckpt-100000.

    Returns:
      The trunk as a MatConvNet file has it: kernels (h, w, in, out), which FCN.tensorflow transposed; and kernel and
      bias of the head's layers by name.

    Raises:
      UserError: if it is damaged, or no checkpoint of FCN.tensorflow.
    """
    found = _find(prefix)
    absent = [name for name in _NEEDED if len(found.get(name, {})) < 2]
    if absent:
        raise UserError(
            f"{prefix} is no checkpoint of FCN.tensorflow: it has no {absent[0]}_w and {absent[0]}_b; expected its "
            "variables conv1_1_w to conv5_3_b. --init_from and --logs_dir take models of this program."
        )
    arrays = {layer: [parts["kernel"].array, parts["bias"].array] for layer, parts in found.items() if len(parts) == 2}
    trunk = {
        name: ConvWeights(np.ascontiguousarray(kernel.transpose(1, 0, 2, 3)), bias)
        for name, (kernel, bias) in sorted(arrays.items())
        if re.fullmatch(r"conv\d_\d", name)
    }
    head = {name: pair for name, pair in arrays.items() if name not in trunk}
    for name, pair in arrays.items():
        if not all(np.isfinite(array).all() for array in pair):
            raise UserError(
                f"{prefix}: {name} has NaN or infinite weights; expected finite ones. Its training diverged: give an "
                "earlier checkpoint."
            )
    return MatConvNet(trunk, np.array(MEAN_RGB, np.float32)), head


def table(prefix: str, model: keras.Model) -> list[Row]:
    """What becomes of each variable of a checkpoint in a model that was built from it, in the order of their names."""
    reader, found = _open(prefix), _find(prefix)
    places = {part.variable: (layer, kind, part) for layer, parts in found.items() for kind, part in parts.items()}
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in model.layers}
    rows = []
    for variable, shape in sorted(reader.get_variable_to_shape_map().items()):
        if variable not in places:
            why = OPTIMIZER if _SLOT.search(variable) else "unknown"
            rows.append(Row(variable, tuple(shape), "skipped", why))
            continue
        layer, kind, part = places[variable]
        if layer not in shapes:
            rows.append(Row(variable, tuple(shape), "skipped", _NOT_IN_THE_NETWORK))
        elif [each.array.shape for each in found[layer].values()] != shapes[layer]:
            why = f"{layer} starts anew: its kernel is {shapes[layer][0]} here"
            rows.append(Row(variable, tuple(shape), "skipped", why))
        else:
            action = "loaded" if part.array.shape == tuple(shape) else "reshaped"
            rows.append(Row(variable, tuple(shape), action, f"{layer} {kind}"))
    return rows


def _open(prefix: str) -> tf.compat.v1.train.NewCheckpointReader:
    try:
        return tf.compat.v1.train.NewCheckpointReader(prefix)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UserError(f"{prefix} cannot be read ({texts.first_line(error)}); copy it again, all its files.") from None


def _find(prefix: str) -> Mapping[str, dict[str, _Found]]:
    """{our layer: {"kernel" | "bias": what the checkpoint has for it}}."""
    reader = _open(prefix)
    found: dict[str, dict[str, _Found]] = {}
    for variable, shape in reader.get_variable_to_shape_map().items():
        place = _place(variable)
        if place is None:
            continue
        layer, kind, side = place
        try:
            array = reader.get_tensor(variable)
        except (tf.errors.OpError, LookupError, RuntimeError) as error:
            raise UserError(
                f"{prefix} cannot be read ({texts.first_line(error)}); copy it again, all its files."
            ) from None
        if kind == "bias":
            array = array.reshape(-1)
        elif array.ndim == 2:  # a fully connected layer
            array = array.reshape(side, side, -1, array.shape[-1])
        found.setdefault(layer, {})[kind] = _Found(variable, tuple(shape), np.asarray(array, np.float32))
    return {layer: dict(sorted(parts.items(), reverse=True)) for layer, parts in found.items()}  # kernel, bias


def _place(variable: str) -> tuple[str, str, int] | None:
    """Our layer, "kernel" or "bias", and the side of its kernel; the scope before the last / may be any."""
    name = variable.rpartition("/")[2]
    if match := re.fullmatch(_TRUNK, name):
        return match[1], "kernel" if match[2] == "w" else "bias", 3
    if name[:1] in ("W", "b") and name[1:] in _HEAD:
        layer, side = _HEAD[name[1:]]
        return layer, "kernel" if name[0] == "W" else "bias", side
    return None
