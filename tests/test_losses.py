"""Cross-entropy sums against numbers by hand."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.losses import cross_entropy_sum

# Softmax of these: (1/2, 1/4, 1/4), (1/3, 1/3, 1/3), (1/10, 9/10, ~0).
LOGITS = np.log(np.array([[[[2, 1, 1], [5, 5, 5], [1, 9, 1e-30]]]], np.float32))


def test_by_hand():
    total, count = cross_entropy_sum(LOGITS, np.array([[[0, 2, 1]]], np.int32), ignore_label=None)
    np.testing.assert_allclose(total, np.log(2) + np.log(3) + np.log(10 / 9), rtol=1e-6)
    assert float(count) == 3 and total.dtype == count.dtype == tf.float32


@pytest.mark.parametrize("ignore", [0, 3, 255, -1], ids=["a class", "one past the classes", "255", "negative"])
def test_ignored_pixels_weigh_nothing(ignore):
    total, count = cross_entropy_sum(LOGITS, np.array([[[ignore, 2, ignore]]], np.int32), ignore_label=ignore)
    np.testing.assert_allclose(total, np.log(3), rtol=1e-6)
    assert float(count) == 1


def test_nothing_but_ignored_pixels_is_zero_with_zero_gradients():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total, count = cross_entropy_sum(logits, np.full((1, 1, 3), 255, np.int32), ignore_label=255)
        loss = total / tf.maximum(count, 1)
    assert float(total) == float(count) == float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros_like(LOGITS))


def test_no_gradient_reaches_ignored_pixels():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total, _ = cross_entropy_sum(logits, np.array([[[0, 255, 1]]], np.int32), ignore_label=255)
    want = [[[[1 / 2 - 1, 1 / 4, 1 / 4], [0, 0, 0], [1 / 10, 9 / 10 - 1, 0]]]]
    np.testing.assert_allclose(tape.gradient(total, logits), want, atol=1e-6)
