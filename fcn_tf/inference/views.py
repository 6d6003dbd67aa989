"""How a picture gets its scores: as the model gives them, or in several views, windows, and refined.

Scores are (B, H, W, C) floats whose largest is the label and whose softmax is the probability. Everything that
a trained model looks at comes through `Scorer`, and what follows needs not know how they were made.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.inference.refine import REFINEMENTS
from fcn_tf.models import cpu

_TINY = 1e-30  # keeps the logarithm of a probability of 0 finite
_MARGIN = 8  # a window's outer 1 / _MARGIN is context: another window, which sees further there, labels it


@dataclass(frozen=True)
class Scoring:
    """What is done beyond one look at the whole picture.

    Attributes:
      tta: average the probabilities of the views given by `scales` and `flip`.
      window: label windows of this side in pixels one after the other, which bounds the memory; 0: all at once.
      refine: a name in `refine.REFINEMENTS`.
      scales: of the views, as factors on the sides.
      flip: whether each view is also seen mirrored.
    """

    tta: bool = False
    window: int = 0
    refine: str = "none"
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    flip: bool = True


def scorer(model: keras.Model, scoring: Scoring) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function that scores pictures, for use in a graph.

    Args:
      model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C).
      scoring: what to do beyond calling it; windows are the caller's part (see `windows`).

    Returns:
      uint8 (B, H, W, 3) -> float32 (B, H, W, C).
    """
    filtered, model = REFINEMENTS[scoring.refine], cpu.accelerated(model)

    def logits(images):
        return tf.cast(model(tf.cast(images, tf.float32), training=False), tf.float32)

    def refined(probabilities, images):
        def each(probabilities, images):
            return np.stack([filtered(*pair) for pair in zip(probabilities, images, strict=True)])

        result = tf.numpy_function(each, [probabilities, images], tf.float32)
        return tf.ensure_shape(result, probabilities.shape)

    def scores(images):
        if not scoring.tta and filtered is None:
            return logits(images)
        probabilities = _averaged(logits, images, scoring) if scoring.tta else tf.nn.softmax(logits(images))
        if filtered is not None:
            probabilities = refined(probabilities, images)
        return tf.math.log(tf.maximum(probabilities, _TINY))

    return scores


def _averaged(logits, images, scoring: Scoring):
    """Mean of the probabilities over scales and flips: (B, H, W, C)."""
    size = tf.shape(images)[1:3]
    total, views = 0.0, 0
    for scale, mirrored in itertools.product(scoring.scales, (False, True) if scoring.flip else (False,)):
        view = tf.cast(images, tf.float32)
        if scale != 1:
            smaller = tf.maximum(1, tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32))
            view = tf.image.resize(view, smaller, antialias=True)
        seen = logits(view[:, :, ::-1] if mirrored else view)
        seen = seen[:, :, ::-1] if mirrored else seen
        if scale != 1:
            seen = tf.image.resize(seen, size)
        total, views = total + tf.nn.softmax(seen), views + 1
    return total / views


@dataclass(frozen=True)
class Window:
    """One look at a part of a picture.

    Attributes:
      seen: slices of rows and columns that the model sees.
      kept: slices of the picture's rows and columns that it labels.
      inside: (top, left, height, width) of what is kept, within what is seen.
    """

    seen: tuple[slice, slice]
    kept: tuple[slice, slice]
    inside: tuple[int, int, int, int]


def windows(height: int, width: int, side: int) -> Iterator[Window]:
    """Cuts a picture into overlapping windows that label every pixel once.

    A pixel is labelled by the window in which it lies deepest, so windows need not be averaged, and no more than
    one window's scores are held.

    Args:
      height: of the picture.
      width: of the picture.
      side: of the windows; 0 for one window, the whole picture.
    """
    for (top, bottom, first, last), (left, right, west, east) in itertools.product(
        _cuts(height, side), _cuts(width, side)
    ):
        yield Window(
            seen=(slice(top, bottom), slice(left, right)),
            kept=(slice(first, last), slice(west, east)),
            inside=(first - top, west - left, last - first, east - west),
        )


def _cuts(length: int, side: int) -> list[tuple[int, int, int, int]]:
    """(start, end) of each window along one axis, and (first, last) of what it labels."""
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
