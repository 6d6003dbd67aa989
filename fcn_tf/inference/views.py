"""How an image gets its scores: in one forward pass, or in several views (test-time augmentation).

Scores are (B, H, W, C) floats whose largest is the label and whose softmax is the probability. Every forward pass of a
trained model goes through `scorer`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from fcn_tf.models import cpu

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


def scorer(model: keras.Model, options: InferenceOptions) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function that scores images, for use in a graph.

    Args:
      model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C).
      options: which views; tiles are the caller's part (see tiles.py).

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
