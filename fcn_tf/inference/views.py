"""How an image gets its scores: in one forward pass, or in several views (test-time augmentation).

Scores are (B, H, W, C) floats whose largest is the label and whose softmax is the probability. Every forward pass of a
trained model goes through `scorer`.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import tensorflow as tf

from fcn_tf.inference import tiles
from fcn_tf.models import cpu, resizing

Scorer = Callable[[tf.Tensor], tf.Tensor]
_TINY = 1e-30  # keeps the logarithm of a probability of 0 finite


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


def scorer(model: keras.Model, options: InferenceOptions) -> Scorer:
    """Makes the function that scores images, for use in a graph.

    Args:
      model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C).
      options: which views; tiles are the caller's part (see tiles.py).

    Returns:
      uint8 (B, H, W, 3) -> float32 (B, H, W, C).

    Raises:
      UserError: if there are to be tiles, and the model resizes what it is given.
    """
    side = resizing.longest_side(model)
    tiles.require_none(options.tile, longest_side=side)
    plain = _logits(model)
    if not options.tta:
        return plain

    def at(scale: float) -> Scorer:
        if scale == 1:
            return plain
        return _logits(resizing.with_longest_side(model, round(side * scale))) if side else _scaled(plain, scale)

    views = [at(scale) for scale in options.scales]

    def log_mean_probabilities(images: tf.Tensor) -> tf.Tensor:
        return tf.math.log(tf.maximum(_averaged(views, images, flip=options.flip), _TINY))

    return log_mean_probabilities


def _logits(model: keras.Model) -> Scorer:
    accelerated = cpu.accelerated(model)
    return lambda images: tf.cast(accelerated(tf.cast(images, tf.float32), training=False), tf.float32)


def _scaled(logits: Scorer, scale: float) -> Scorer:
    """The logits of pictures that are scaled by a factor on their sides, brought back to their size."""

    def scaled(images: tf.Tensor) -> tf.Tensor:
        size = tf.shape(images)[1:3]
        other = tf.maximum(1, tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32))
        return tf.image.resize(logits(tf.image.resize(images, other, antialias=True)), size)

    return scaled


def _averaged(views: Iterable[Scorer], images: tf.Tensor, *, flip: bool) -> tf.Tensor:
    """Mean of the probabilities over scales and flips: (B, H, W, C)."""
    total, count = 0.0, 0
    for scores, mirrored in itertools.product(views, (False, True) if flip else (False,)):
        found = scores(images[:, :, ::-1] if mirrored else images)
        total, count = total + tf.nn.softmax(found[:, :, ::-1] if mirrored else found), count + 1
    return total / count
