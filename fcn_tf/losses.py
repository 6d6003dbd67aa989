"""Losses over the pixels that count."""

import tensorflow as tf


def cross_entropy_sum(logits, labels, *, ignore_label):
    """Sums the softmax cross-entropy over every pixel that is not ignored.

    Sum and count are returned apart so that replicas can add both up before one division; a picture without a
    valid pixel then weighs nothing instead of making the mean NaN.

    Args:
      logits: float32 (B, H, W, C).
      labels: int32 (B, H, W), class ids in [0, C) or `ignore_label`.
      ignore_label: the id that is not trained, or None.

    Returns:
      (sum in nats, count), float32 scalars.
    """
    valid = tf.ones_like(labels, tf.bool) if ignore_label is None else tf.not_equal(labels, ignore_label)
    safe = tf.where(valid, labels, 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=safe, logits=logits)
    weights = tf.cast(valid, tf.float32)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)
