"""Losses over the pixels that are not ignored.

Each is made of sums over pixels, so that replicas can add them up before one division: ignored pixels then weigh the
same everywhere, and an image without a valid pixel weighs nothing instead of making the mean NaN.

A loss of `registry.LOSSES` is a function of (pixels, reduce, replicas), see `Pixels` and `PixelLoss.__call__`, with an
attribute `divisible`: whether a batch can be computed in parts (--accumulate).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.models.custom_gradient import custom_gradient

Reduce = Callable[[tf.Tensor], tf.Tensor]


class Pixels(NamedTuple):
    """A batch as losses take it.

    Attributes:
      logits: float32 (B, H, W, C).
      labels: int32 (B, H, W), class ids; 0 where ignored.
      valid: float32 (B, H, W), 0 where ignored, else 1.
      weights: float32 (B, H, W), `valid` times the weight of the class.
    """

    logits: tf.Tensor
    labels: tf.Tensor
    valid: tf.Tensor
    weights: tf.Tensor


class PixelMean:
    """The weighted mean of a loss that each pixel has by itself.

    Args:
      of_pixels: float32 (B, H, W, C) logits, int32 (B, H, W) classes -> float32 (B, H, W), in nats.
    """

    divisible = True

    def __init__(self, of_pixels: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        self._of_pixels = of_pixels

    def __call__(self, pixels: Pixels, reduce: Reduce, replicas: int) -> tf.Tensor:
        """See `PixelLoss.__call__`."""
        total = tf.reduce_sum(self._of_pixels(pixels.logits, pixels.labels) * pixels.weights)
        global_weight = reduce(tf.reduce_sum(pixels.weights))
        # Without class weights this is the number of valid pixels; weights may add up to less than 1.
        return total / tf.where(global_weight > 0, global_weight, 1.0)


@custom_gradient
def softmax_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> Any:
    """Softmax cross-entropy of each pixel in nats: float32 (B, H, W, C), int32 (B, H, W) -> float32 (B, H, W).

    TensorFlow's fused operation computes exponentials twice, without the processor's widest instructions. oneDNN's
    softmax does it once, and all that is kept for the gradient is its result.
    """
    probabilities = tf.nn.softmax(logits)
    top = tf.argmax(logits, axis=-1, output_type=tf.int32)
    # By way of the likeliest class, whose probability is never so small that its logarithm loses digits.
    gap = _gather_class(logits, top) - _gather_class(logits, labels)

    def gradient(upstream):
        truth = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return (probabilities - truth) * upstream[..., None], None

    return gap - tf.math.log(_gather_class(probabilities, top)), gradient


def _gather_class(scores, classes):
    """(B, H, W, C), (B, H, W) -> (B, H, W): the score of one class a pixel."""
    return tf.gather(scores, classes, batch_dims=3)


cross_entropy = PixelMean(softmax_cross_entropy)


class PixelLoss:
    """One loss, or a sum of several.

    Args:
      names: of `registry.LOSSES`.
      ignore_label: the id that is not trained, or None.
      class_weights: one a class, or None for equal ones.

    Attributes:
      indivisible: the names of those that cannot be computed in parts of a batch.
    """

    def __init__(self, names: Sequence[str], *, ignore_label: int | None, class_weights: Sequence[float] | None = None):
        self._losses = {name: registry.resolve(registry.LOSSES[name]) for name in names}
        self._ignore_label = ignore_label
        self._class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)
        self.indivisible = [name for name, loss in self._losses.items() if not loss.divisible]

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor, *, reduce: Reduce, replicas: int = 1) -> tf.Tensor:
        """This replica's part of the loss: the parts, and their gradients, add up to those of the whole batch.

        Args:
          logits: float32 (B, H, W, C).
          labels: int32 (B, H, W), class ids in [0, C) or the ignored one.
          reduce: sums a tensor over all replicas.
          replicas: how many there are.

        Returns:
          float32 scalar.
        """
        pixels = self._pixels(logits, labels)
        return tf.add_n([loss(pixels, reduce, replicas) for loss in self._losses.values()])

    def weight(self, labels: tf.Tensor) -> tf.Tensor:
        """What a batch weighs: where its loss is computed in parts, `reduce` returns this sum over all of them.

        Args:
          labels: int32 (B, H, W).

        Returns:
          float32 scalar.

        Raises:
          ValueError: if a loss is indivisible.
        """
        if self.indivisible:
            raise ValueError(f"{self.indivisible[0]} is no mean over pixels: the batch it is of cannot be divided.")
        return tf.reduce_sum(self._pixels(None, labels).weights)

    def _pixels(self, logits, labels) -> Pixels:
        ignored = self._ignore_label
        is_valid = tf.ones_like(labels, tf.bool) if ignored is None else tf.not_equal(labels, ignored)
        classes = tf.where(is_valid, labels, 0)
        valid = tf.cast(is_valid, tf.float32)
        weights = valid if self._class_weights is None else valid * tf.gather(self._class_weights, classes)
        return Pixels(logits, classes, valid, weights)
