"""How an image gets its scores: in one forward pass, in several views (test-time augmentation), in tiles.

Scores are (B, H, W, C) floats whose largest is the label and whose softmax is the probability. Every forward pass of a
trained model goes through `scorer`.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf

from fcn_tf.models import cpu

_TINY = 1e-30  # keeps the logarithm of a probability of 0 finite
_MARGIN = 8  # a tile's outer 1 / _MARGIN is context: another tile, with more context there, labels it


@dataclass(frozen=True)
class InferenceOptions:
    """What is done beyond one forward pass over the whole image.

    Attributes:
      tta: average the probabilities of the views given by `scales` and `flip`.
      tile: label tiles of this side in pixels one after the other, which bounds the memory; 0: the whole image.
      scales: of the views, as factors on the sides.
      flip: whether each view is also mirrored.
    """

    tta: bool = False
    tile: int = 0
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    flip: bool = True


def scorer(model: keras.Model, options: InferenceOptions) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function that scores images, for use in a graph.

    Args:
      model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C).
      options: which views; tiles are the caller's part (see `tiles`).

    Returns:
      uint8 (B, H, W, 3) -> float32 (B, H, W, C).
    """
    model = cpu.accelerated(model)

    def logits(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(tf.cast(images, tf.float32), training=False), tf.float32)

    def log_mean_probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.math.log(tf.maximum(_averaged(logits, images, options), _TINY))

    return log_mean_probabilities if options.tta else logits


def _averaged(logits: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, options: InferenceOptions) -> tf.Tensor:
    """Mean of the probabilities over scales and flips: (B, H, W, C)."""
    size = tf.shape(images)[1:3]
    total, views = 0.0, 0
    for scale, mirrored in itertools.product(options.scales, (False, True) if options.flip else (False,)):
        view = tf.cast(images, tf.float32)
        if scale != 1:
            scaled = tf.maximum(1, tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32))
            view = tf.image.resize(view, scaled, antialias=True)
        scores = logits(view[:, :, ::-1] if mirrored else view)
        scores = scores[:, :, ::-1] if mirrored else scores
        if scale != 1:
            scores = tf.image.resize(scores, size)
        total, views = total + tf.nn.softmax(scores), views + 1
    return total / views


@dataclass(frozen=True)
class Tile:
    """A part of an image that goes through the model at once.

    Attributes:
      seen: slices of the rows and columns that the model sees.
      kept: slices of the image's rows and columns that it labels.
      inside: (top, left, height, width) of what is kept, within what is seen.
    """

    seen: tuple[slice, slice]
    kept: tuple[slice, slice]
    inside: tuple[int, int, int, int]


def tiles(height: int, width: int, side: int) -> Iterator[Tile]:
    """Cuts an image into overlapping tiles that label every pixel once.

    A pixel is labelled by the tile in which it lies deepest, so tiles need not be averaged, and no more than one
    tile's scores are held.

    Args:
      height: of the image.
      width: of the image.
      side: of the tiles; 0 for one tile, the whole image.
    """
    for (top, bottom, first, last), (left, right, west, east) in itertools.product(
        _cuts(height, side), _cuts(width, side)
    ):
        yield Tile(
            seen=(slice(top, bottom), slice(left, right)),
            kept=(slice(first, last), slice(west, east)),
            inside=(first - top, west - left, last - first, east - west),
        )


def _cuts(length: int, side: int) -> list[tuple[int, int, int, int]]:
    """(start, end) of each tile along one axis, and (first, last) of what it labels."""
    if side == 0 or length <= side:
        return [(0, length, 0, length)]
    count = 1 + math.ceil((length - side) / max(1, side - 2 * (side // _MARGIN)))
    starts = [round(number * (length - side) / (count - 1)) for number in range(count)]
    # Halfway through each overlap.
    edges = [0, *((after + before + side) // 2 for before, after in itertools.pairwise(starts)), length]
    return [
        (start, start + side, first, last)
        for start, (first, last) in zip(starts, itertools.pairwise(edges), strict=True)
    ]
