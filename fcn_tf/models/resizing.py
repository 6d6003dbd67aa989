"""Photos brought to the size that a network was trained at, and its scores back to theirs. Pure Keras.

Photos by matrix products, one for the rows and one for the columns, of weights that follow from the sizes; scores
between neighbours that are looked up. Every backend and every format that models are exported to has these, and none of
them needs to know how another resizes.
"""

import keras
from keras import ops

from fcn_tf.models import sizes


@keras.saving.register_keras_serializable("fcn_tf")
class FitLongestSide(keras.layers.Layer):
    """Resizes photos so that their longer side has a given length. Crops to train on pass through: they have been.

    Args:
      longest_side: in pixels.
    """

    def __init__(self, longest_side: int, **kwargs):
        super().__init__(**kwargs)
        self.longest_side = int(longest_side)

    def call(self, inputs, training=False):
        """Float (B, H, W, C) -> (B, h, w, C) with max(h, w) = longest_side, and the same aspect."""
        if training:
            return inputs
        height, width = ops.shape(inputs)[1:3]
        return resize(inputs, *fitted_size(height, width, self.longest_side))

    def compute_output_shape(self, input_shape):
        """That of the input: as in training, because a height and a width may be unknown."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "longest_side": self.longest_side}


@keras.saving.register_keras_serializable("fcn_tf")
class ResizeLike(keras.layers.Layer):
    """Resizes scores to the height and width of a second tensor; while training they have these."""

    def call(self, inputs, like, training=False):
        """Float (B, h, w, C), like (B, H, W, *) -> (B, H, W, C)."""
        return inputs if training else interpolate(inputs, *ops.shape(like)[1:3])

    def compute_output_shape(self, inputs_shape, like_shape):
        """The batch and channels of `inputs`, the height and width of `like`."""
        return (inputs_shape[0], *like_shape[1:3], inputs_shape[3])


def longest_side(model: keras.Model) -> int:
    """The length that a model brings the longer side of its photos to; 0 where it takes them as they are."""
    return next((layer.longest_side for layer in model.layers if isinstance(layer, FitLongestSide)), 0)


def with_longest_side(model: keras.Model, side: int) -> keras.Model:
    """A model of the same layers and variables that brings the longer side of its photos to another length."""

    def changed(layer):
        if not isinstance(layer, FitLongestSide):
            return layer
        return FitLongestSide.from_config({**layer.get_config(), "longest_side": side})

    return keras.models.clone_model(model, clone_function=changed)


def without_resizing(model: keras.Model) -> keras.Model:
    """A model of the same layers and variables for what has the right size already, such as crops to train on."""
    return _without(model, FitLongestSide, ResizeLike)


def with_scores_of_own_size(model: keras.Model) -> keras.Model:
    """A model of the same layers and variables whose scores stay at the size that it brings photos to."""
    return _without(model, ResizeLike)


def _without(model: keras.Model, *kinds: type[keras.layers.Layer]) -> keras.Model:
    """What layers of these kinds are given passes through."""

    def changed(layer):
        return _AsItIs(name=layer.name) if isinstance(layer, kinds) else layer

    return keras.models.clone_model(model, clone_function=changed) if longest_side(model) else model


class _AsItIs(keras.layers.Layer):
    """Stands where pictures or scores would be resized."""

    def call(self, inputs, like=None):
        """The first of them."""
        return inputs


def fitted_size(height, width, side):
    """`sizes.fitted_size` of numbers or integer tensors."""
    return sizes.fitted_size(height, width, side, largest=max if _known(height, width) else ops.maximum)


def resize(x, height, width):
    """Resizes float (B, H, W, C) to (B, height, width, C).

    Bilinear where it enlarges; where it shrinks, every pixel is the mean of those it covers, weighted by a triangle
    (`tf.image.resize(..., antialias=True)`). Pixels have their centres at halves.
    """
    x = _resize_rows(ops.cast(x, "float32"), height)
    return ops.transpose(_resize_rows(ops.transpose(x, (0, 2, 1, 3)), width), (0, 2, 1, 3))


def _resize_rows(x, height):
    batch, rows, columns = ops.shape(x)[:3]
    flat = ops.reshape(x, (batch, rows, columns * x.shape[-1]))  # so that both products are large
    return ops.reshape(ops.matmul(_weights(rows, height), flat), (batch, height, columns, x.shape[-1]))


def _weights(before, after):
    """Float32 (after, before): how much each old row counts in each new one; the rows of the matrix add up to 1."""
    # Places in whole numbers, in half pixels of a grid that both sizes divide: exports of 16 bits are exact, too.
    wanted, there = (
        (2 * ops.arange(length, dtype="int32") + 1) * other for length, other in ((after, before), (before, after))
    )
    reach = 2 * (max if _known(before, after) else ops.maximum)(before, after)
    distance = ops.minimum(ops.abs(wanted[:, None] - there[None]), reach)
    weights = 1 - ops.cast(distance, "float32") / ops.cast(reach, "float32")
    return weights / ops.sum(weights, axis=1, keepdims=True)


def interpolate(x, height, width, *, part=None):
    """Resizes float (B, H, W, C) to (B, height, width, C), bilinearly (`tf.image.resize`), centres at halves.

    Args:
      x: what to resize.
      height: an integer, or a tensor of one.
      width: the same.
      part: (top, left, rows, columns) of the result to give instead of all of it, bit for bit the same.
    """
    top, left, rows, columns = (0, 0, height, width) if part is None else part
    x = _interpolate(ops.cast(x, "float32"), height, axis=1, first=top, count=rows)
    return _interpolate(x, width, axis=2, first=left, count=columns)


def _interpolate(x, after, *, axis, first, count):
    """`count` places from `first` on along one axis: of the two neighbours of each, by how near each is."""
    before = ops.shape(x)[axis]
    # In whole numbers, as above: in parts of an old pixel, of which there are 2 * after, from the first centre on.
    wanted = ops.arange(count, dtype="int32") + first
    places = ops.clip((2 * wanted + 1) * before - after, 0, 2 * after * (before - 1))
    nearer = places // (2 * after)
    share = ops.cast(places - nearer * (2 * after), "float32") / ops.cast(2 * after, "float32")
    one, other = (ops.take(x, each, axis=axis) for each in (nearer, ops.minimum(nearer + 1, before - 1)))
    return one + (other - one) * ops.reshape(share, (-1, *(1 for _ in x.shape[axis + 1 :])))


def _known(*sizes) -> bool:
    return all(isinstance(size, int) for size in sizes)
