"""The Dice loss: of whole classes, not of pixels."""

import tensorflow as tf

from fcn_tf.training.losses import Pixels, Reduce

_SMOOTH = 1.0  # pixels added to both sides of Dice's fraction, so that tiny classes do not jump


class Dice:
    """1 - the mean over the classes that occur of 2 sum(p t) / (sum(p) + sum(t)), over all pixels of the batch.

    Milletari et al. 2016, without squares. Class weights do not enter.
    """

    divisible = False  # its sums are over probabilities, which no part of a batch knows of the others

    def __call__(self, pixels: Pixels, reduce: Reduce, replicas: int) -> tf.Tensor:
        """See `PixelLoss.__call__`."""
        truth = tf.one_hot(pixels.labels, pixels.logits.shape[-1]) * pixels.valid[..., None]
        predicted = tf.nn.softmax(pixels.logits) * pixels.valid[..., None]
        overlaps = tf.reduce_sum(predicted * truth, axis=[0, 1, 2])  # (C,)
        sizes = tf.reduce_sum(predicted + truth, axis=[0, 1, 2])
        all_overlaps, all_sizes, all_truth = (
            tf.stop_gradient(reduce(part)) for part in (overlaps, sizes, tf.reduce_sum(truth, axis=[0, 1, 2]))
        )
        present = tf.cast(all_truth > 0, tf.float32)
        share = present / tf.maximum(tf.reduce_sum(present), 1.0)
        ratio = (2.0 * all_overlaps + _SMOOTH) / (all_sizes + _SMOOTH)
        whole = tf.reduce_sum(share * (1.0 - ratio))
        # No mean of the replicas' own Dice is that of all pixels. To first order, though, the loss is linear in each
        # replica's sums: its slope at the sums of all gives the exact gradient, and the value is put in after it.
        slope = tf.reduce_sum(share * (ratio * sizes - 2.0 * overlaps) / (all_sizes + _SMOOTH))
        return slope - tf.stop_gradient(slope) + whole / replicas


dice = Dice()
