"""Losses that each pixel has by itself, beside the cross-entropy."""

import tensorflow as tf

from fcn_tf.training.losses import PixelMean, softmax_cross_entropy

_FOCUS = 2.0  # gamma of the focal loss


def _focal(logits, labels):
    """Cross-entropy times (1 - p)^2, p: the probability of the true class (Lin et al. 2017)."""
    losses = softmax_cross_entropy(logits, labels)
    return losses * (1.0 - tf.exp(-losses)) ** _FOCUS


def _binary_cross_entropy(logits, labels):
    """A sigmoid for each channel, and the mean over channels of their cross-entropies."""
    truth = tf.one_hot(labels, logits.shape[-1])
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=logits), axis=-1)


focal = PixelMean(_focal)
binary_cross_entropy = PixelMean(_binary_cross_entropy)
