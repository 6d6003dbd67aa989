"""Losses over the pixels that count.

Each is made of sums over pixels, so that replicas can add them up before one division: ignored pixels then weigh the
same everywhere, and a picture without a valid pixel weighs nothing instead of making the mean NaN.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017)
_SMOOTH = 1.0  # pixels added to both sides of Dice's fraction, so that tiny classes do not jump

Reduce = Callable[[tf.Tensor], tf.Tensor]


def cross_entropy_sum(logits, labels, *, ignore_label, class_weights=None):
    """Sums the softmax cross-entropy over every pixel that is not ignored.

    Args:
      logits: float32 (B, H, W, C).
      labels: int32 (B, H, W), class ids in [0, C) or `ignore_label`.
      ignore_label: the id that is not trained, or None.
      class_weights: float32 (C,), how much a pixel of each class counts, or None for 1.

    Returns:
      (sum in nats, sum of the weights: without class weights the number of pixels), float32 scalars.
    """
    weights, safe = _weights(labels, ignore_label, class_weights)
    return tf.reduce_sum(_cross_entropy(logits, safe) * weights), tf.reduce_sum(weights)


@tf.custom_gradient
def _cross_entropy(logits, labels):
    """Softmax cross-entropy of each pixel in nats: float32 (B, H, W, C), int32 (B, H, W) -> float32 (B, H, W).

    TensorFlow's fused operation computes exponentials twice, without the processor's widest instructions. oneDNN's
    softmax does it once, and all that is kept for the gradient is its result.
    """
    probabilities = tf.nn.softmax(logits)
    top = tf.argmax(logits, axis=-1, output_type=tf.int32)
    # By way of the likeliest class, whose probability is never so small that its logarithm loses digits.
    behind = _of_class(logits, top) - _of_class(logits, labels)

    def gradient(upstream):
        truth = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return (probabilities - truth) * upstream[..., None], None

    return behind - tf.math.log(_of_class(probabilities, top)), gradient


def _of_class(scores, classes):
    """(B, H, W, C), (B, H, W) -> (B, H, W): the score of one class a pixel."""
    return tf.gather(scores, classes, batch_dims=3)


class PixelLoss:
    """One loss, or a sum of several.

    cross_entropy: the mean over pixels, each with the weight of its class.
    focal: the same with every pixel's share multiplied by (1 - p)^2, where p is the probability given to the truth
      (Lin et al. 2017).
    dice: 1 - the mean over the classes that occur of 2 sum(p t) / (sum(p) + sum(t)), over all pixels of the batch
      (Milletari et al. 2016, without squares); class weights do not enter.

    Args:
      names: of cross_entropy, focal and dice.
      ignore_label: the id that is not trained, or None.
      class_weights: one a class, or None for equal ones.
    """

    def __init__(self, names: Sequence[str], *, ignore_label: int | None, class_weights: Sequence[float] | None = None):
        self._names = tuple(names)
        self._parts = [getattr(self, f"_{name}") for name in names]
        self._ignore_label = ignore_label
        self._class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)

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
        return tf.add_n([part(logits, labels, reduce, replicas) for part in self._parts])

    def weight(self, labels: tf.Tensor) -> tf.Tensor:
        """What a batch weighs: where its loss is computed in parts, `reduce` gives each part this sum over all of them.

        Args:
          labels: int32 (B, H, W).

        Returns:
          float32 scalar.

        Raises:
          ValueError: for dice: its sums are over probabilities, which no part knows of the others.
        """
        if "dice" in self._names:
            raise ValueError("dice is no mean over pixels: the batch it is of cannot be divided.")
        return tf.reduce_sum(_weights(labels, self._ignore_label, self._class_weights)[0])

    def _cross_entropy(self, logits, labels, reduce, _replicas):
        total, weight = cross_entropy_sum(
            logits, labels, ignore_label=self._ignore_label, class_weights=self._class_weights
        )
        return _mean(total, weight, reduce)

    def _focal(self, logits, labels, reduce, _replicas):
        weights, safe = _weights(labels, self._ignore_label, self._class_weights)
        losses = _cross_entropy(logits, safe)
        focused = losses * (1.0 - tf.exp(-losses)) ** _FOCUS
        return _mean(tf.reduce_sum(focused * weights), tf.reduce_sum(weights), reduce)

    def _dice(self, logits, labels, reduce, replicas):
        valid, safe = _weights(labels, self._ignore_label, None)
        truth = tf.one_hot(safe, logits.shape[-1]) * valid[..., None]
        guess = tf.nn.softmax(logits) * valid[..., None]
        hits = tf.reduce_sum(guess * truth, axis=[0, 1, 2])  # (C,)
        sizes = tf.reduce_sum(guess + truth, axis=[0, 1, 2])
        all_hits, all_sizes, all_truth = (
            tf.stop_gradient(reduce(part)) for part in (hits, sizes, tf.reduce_sum(truth, axis=[0, 1, 2]))
        )
        present = tf.cast(all_truth > 0, tf.float32)
        share = present / tf.maximum(tf.reduce_sum(present), 1.0)
        ratio = (2.0 * all_hits + _SMOOTH) / (all_sizes + _SMOOTH)
        whole = tf.reduce_sum(share * (1.0 - ratio))
        # No mean of the replicas' own Dice is that of all pixels. To first order, though, the loss is linear in each
        # replica's sums: its slope at the sums of all gives the exact gradient, and the value is put in after it.
        slope = tf.reduce_sum(share * (ratio * sizes - 2.0 * hits) / (all_sizes + _SMOOTH))
        return slope - tf.stop_gradient(slope) + whole / replicas


def _weights(labels, ignore_label, class_weights):
    """The weight of each pixel, 0 where it is ignored; and labels that are classes everywhere."""
    valid = tf.ones_like(labels, tf.bool) if ignore_label is None else tf.not_equal(labels, ignore_label)
    safe = tf.where(valid, labels, 0)
    weights = tf.cast(valid, tf.float32)
    return (weights if class_weights is None else weights * tf.gather(class_weights, safe)), safe


def _mean(total, weight, reduce):
    everywhere = reduce(weight)
    # Without class weights this is the number of valid pixels; weights may add up to less than 1.
    return total / tf.where(everywhere > 0, everywhere, 1.0)
