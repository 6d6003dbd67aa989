"""Which part of the picture a unit of a layer can see at all: worked out from the layers of a model. Pure Keras.

A unit's receptive field is a box, because every window is one: rows and columns are followed separately, from the
layer back to the image, as intervals that each layer on the way widens.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from fcn_tf.models.layers import UpsampleLike
from fcn_tf.models.resizing import ResizeLike

_LARGE = 8192  # pixels: the side of a picture in whose middle no border is seen; a multiple of every stride
_POSITIONS = 64  # neighbouring units whose fields are compared: all phases of an upsampling by 64


class Box(NamedTuple):
    """A rectangle of pixels; may reach beyond the picture, where a network sees its padding.

    Attributes:
      top, left: the first row and column.
      bottom, right: the last ones.
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top + 1

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left + 1


class _Interval(NamedTuple):
    """The first and the last row (or column) that each of several units depends on: int arrays of one shape."""

    first: np.ndarray
    last: np.ndarray


class _Window(NamedTuple):
    """A layer's window along one axis.

    Attributes:
      side, stride, dilation: of the kernel or pool.
      same: whether the map is padded to keep its size (divided by the stride).
      size, result: of the layer's input and of its output.
    """

    side: int
    stride: int
    dilation: int
    same: bool
    size: int
    result: int


class ReceptiveFields:
    """The theoretical receptive fields of a model's layers.

    A layer that is not known here, such as attention, is taken to see its whole input: an upper bound. A photo is taken
    to have the size that the network resizes it to, if it does (resizing.py).

    Args:
      model: functional, of one input (B, H, W, 3) of any height and width, whose layers are each used once.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        # In the order of the graph.
        self._layers = {operation.name: operation for operation in model.operations}
        makers = {id(operation.output): operation.name for operation in model.operations}
        self._inputs = {
            name: [makers[id(tensor)] for tensor in keras.tree.flatten(operation.input)]
            for name, operation in self._layers.items()
            if not isinstance(operation, keras.layers.InputLayer)
        }
        self._shapes = functools.cache(self._compute_shapes)

    @property
    def layers(self) -> list[str]:
        """The names of the layers in order that make a map of rows and columns of another one."""
        layers = {name: self._layers[name] for name in self._inputs}
        return [
            name
            for name, layer in layers.items()
            if isinstance(layer, keras.layers.Layer) and len(layer.output.shape) == 4
        ]

    @property
    def windowed(self) -> list[str]:
        """The names of the convolutions, poolings and what else has a window or changes the size of the map."""
        return [name for name in self.layers if isinstance(self._layers[name], _WINDOWED)]

    def box(self, layer: str, row: int, column: int, *, height: int, width: int) -> Box:
        """The field of one unit.

        Args:
          layer: its name.
          row: of the unit in the layer's map.
          column: likewise.
          height: of the picture.
          width: likewise.
        """
        top, bottom = self._field(layer, 0, np.array([row]), (height, width))
        left, right = self._field(layer, 1, np.array([column]), (height, width))
        return Box(int(top[0]), int(left[0]), int(bottom[0]), int(right[0]))

    def unit(self, layer: str, row: int, column: int, *, height: int, width: int) -> tuple[int, int]:
        """The row and column of the layer's unit that stands for a pixel of the picture."""
        rows, columns = self.map_size(layer, height, width)
        stride = self.stride(layer)
        return min(math.floor(row / stride), rows - 1), min(math.floor(column / stride), columns - 1)

    def side(self, layer: str) -> int:
        """How many pixels wide the field is away from the borders; the largest where that differs from unit to unit."""
        middle = self.map_size(layer, _LARGE, _LARGE)[0] // 2
        first, last = self._field(layer, 0, middle + np.arange(_POSITIONS), (_LARGE, _LARGE))
        return int((last - first).max()) + 1

    def stride(self, layer: str) -> float:
        """How many pixels of the picture lie between neighbouring units."""
        less, more = (self.map_size(layer, side, side)[0] for side in (_LARGE, 2 * _LARGE))
        return _LARGE / max(more - less, 1)

    def map_size(self, layer: str, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the layer's map for a picture of this size."""
        _, rows, columns, _ = self.shapes(height, width)[layer]
        return rows, columns

    def shapes(self, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """What every layer puts out for one picture of this size, by name."""
        return self._shapes((height, width))

    def _compute_shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        every_output = keras.Model(self._model.input, {name: each.output for name, each in self._layers.items()})
        outputs = every_output.compute_output_spec(keras.KerasTensor((1, *size, 3), self._model.input.dtype))
        return {name: tuple(tensor.shape) for name, tensor in outputs.items()}

    def _field(self, layer: str, axis: int, positions: np.ndarray, size: tuple[int, int]) -> _Interval:
        """From units of a layer back to rows (axis 0) or columns (axis 1) of the picture."""
        shapes = self._shapes(size)
        wanted = {layer: _Interval(positions, positions)}
        order = list(self._layers)
        for name in reversed(order[: order.index(layer) + 1]):
            if name not in wanted or name not in self._inputs:
                continue
            operation, sources = self._layers[name], self._inputs[name]
            # The second input of these gives a size, no values.
            for source in sources[:1] if isinstance(operation, UpsampleLike | ResizeLike) else sources:
                sizes = [shapes[each][1 + axis] if len(shapes[each]) == 4 else 1 for each in (source, name)]
                seen = _rule(operation)(operation, axis, wanted[name], *sizes)
                before = wanted.get(source, seen)
                wanted[source] = _Interval(np.minimum(before.first, seen.first), np.maximum(before.last, seen.last))
        return wanted[order[0]]


def _pointwise(_layer: Any, _axis: int, wanted: _Interval, _size: int, _result: int) -> _Interval:
    return wanted


def _everything(_layer: Any, _axis: int, wanted: _Interval, size: int, _result: int) -> _Interval:
    return _Interval(np.zeros_like(wanted.first), np.full_like(wanted.last, size - 1))


def _convolution(layer: Any, axis: int, wanted: _Interval, size: int, result: int) -> _Interval:
    dilation = layer.dilation_rate
    return _windowed(
        _Window(
            layer.kernel_size[axis],
            layer.strides[axis],
            dilation if isinstance(dilation, int) else dilation[axis],
            layer.padding == "same",
            size,
            result,
        ),
        wanted,
    )


def _pooling(layer: Any, axis: int, wanted: _Interval, size: int, result: int) -> _Interval:
    return _windowed(
        _Window(layer.pool_size[axis], layer.strides[axis], 1, layer.padding == "same", size, result), wanted
    )


def _windowed(window: _Window, wanted: _Interval) -> _Interval:
    """Output o sees the inputs o * stride - padding + [0, extent)."""
    extent = (window.side - 1) * window.dilation + 1
    padding = max((window.result - 1) * window.stride + extent - window.size, 0) // 2 if window.same else 0
    return _Interval(wanted.first * window.stride - padding, wanted.last * window.stride - padding + extent - 1)


def _transposed(layer: Any, axis: int, wanted: _Interval, size: int, result: int) -> _Interval:
    """Input i reaches the outputs i * stride - padding + [0, extent), less what `UpsampleLike` cuts off."""
    stride, dilation = layer.strides[axis], layer.dilation_rate
    extent = (layer.kernel_size[axis] - 1) * (dilation if isinstance(dilation, int) else dilation[axis]) + 1
    shift = max(extent - stride, 0) // 2 if layer.padding == "same" else 0
    if isinstance(layer, UpsampleLike):
        shift += (size * stride - result) // 2
    return _Interval(-((extent - 1 - shift - wanted.first) // stride), (wanted.last + shift) // stride)


def _resized(layer: Any, _axis: int, wanted: _Interval, size: int, result: int) -> _Interval:
    """Half-pixel centres; bilinear sees two neighbours, nearest one, any other kind the whole map."""
    if layer.interpolation not in ("nearest", "bilinear"):
        return _everything(layer, _axis, wanted, size, result)
    first, last = ((each + 0.5) * size / result - 0.5 for each in wanted)
    if layer.interpolation == "nearest":
        return _Interval(*(np.floor(each + 0.5).astype(int) for each in (first, last)))
    return _Interval(np.floor(first).astype(int), np.floor(last).astype(int) + 1)


def _padded(layer: Any, axis: int, wanted: _Interval, _size: int, _result: int) -> _Interval:
    return _Interval(*(each - layer.padding[axis][0] for each in wanted))


def _cropped(layer: Any, axis: int, wanted: _Interval, _size: int, _result: int) -> _Interval:
    return _Interval(*(each + layer.cropping[axis][0] for each in wanted))


Rule = Callable[[Any, int, _Interval, int, int], _Interval]
# By the first class that fits; the rest sees everything.
_RULES: tuple[tuple[tuple[type, ...], Rule], ...] = (
    ((keras.layers.Conv2DTranspose,), _transposed),
    ((keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D), _convolution),
    ((keras.layers.MaxPooling2D, keras.layers.AveragePooling2D), _pooling),
    ((keras.layers.UpSampling2D, keras.layers.Resizing), _resized),
    ((keras.layers.ZeroPadding2D,), _padded),
    ((keras.layers.Cropping2D,), _cropped),
)
_WINDOWED = tuple(kind for kinds, _ in _RULES for kind in kinds)
_POINTWISE = {
    *("Activation", "Add", "Average", "BatchNormalization", "Concatenate", "Dropout", "Identity", "LayerNormalization"),
    *("LeakyReLU", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "RMSNormalization"),
    *("FitLongestSide", "LocalResponseNormalization", "ResizeLike", "RMSNormalize", "Softmax", "SpatialDropout2D"),
    *("StepDropout", "Subtract"),
}


def _rule(operation: Any) -> Rule:
    for kinds, rule in _RULES:
        if isinstance(operation, kinds):
            return rule
    return _pointwise if type(operation).__name__ in _POINTWISE else _everything
