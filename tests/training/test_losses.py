"""Losses against numbers by hand, and the table of them."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import registry, train
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.training.losses import PixelLoss
from tests import tiny_training

# Softmax of these: (1/2, 1/4, 1/4), (1/3, 1/3, 1/3), (1/10, 9/10, ~0).
LOGITS = np.log(np.array([[[[2, 1, 1], [5, 5, 5], [1, 9, 1e-30]]]], np.float32))


def cross_entropy_sum(logits, labels, *, ignore_label):
    """(sum over the pixels that are not ignored, their number)."""
    loss = PixelLoss(("cross_entropy",), ignore_label=ignore_label)
    count = loss.weight(tf.constant(labels))
    return loss(logits, tf.constant(labels), reduce=tf.identity) * count, count


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


@pytest.mark.parametrize("spread", [0.1, 10.0, 1e4])
def test_cross_entropy_is_tensorflows_from_certain_to_hopeless(spread):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(scale=spread, size=(2, 5, 6, 7)), tf.float32)
    labels = tf.constant(rng.integers(0, 7, (2, 5, 6)), tf.int32)
    results = []
    for ours in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            if ours:
                total, _ = cross_entropy_sum(logits, labels, ignore_label=None)
            else:
                total = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        results.append((total, tape.gradient(total, logits)))
    (got, slope), (want, true_slope) = results
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(slope, true_slope, atol=1e-6)


def test_pixel_losses_by_hand():
    # Two pixels; the truth gets 3/4 and 1/4 (logits ln 3 and 0).
    logits = tf.math.log(tf.constant([[[[3.0, 1.0], [3.0, 1.0]]]]))
    labels = tf.constant([[[0, 1]]])

    def loss(*names, **options):
        return float(PixelLoss(names, ignore_label=255, **options)(logits, labels, reduce=tf.identity))

    first, second = -np.log(3 / 4), -np.log(1 / 4)
    assert loss("cross_entropy") == pytest.approx((first + second) / 2)
    assert loss("cross_entropy", class_weights=(1, 3)) == pytest.approx((first + 3 * second) / 4)
    assert loss("focal") == pytest.approx((first / 16 + second * 9 / 16) / 2)
    # Class 0: hits 3/4, guessed 6/4, true 1; class 1: hits 1/4, guessed 2/4, true 1; one pixel is added to both sides.
    dice = 1 - ((2 * 0.75 + 1) / (2.5 + 1) + (2 * 0.25 + 1) / (1.5 + 1)) / 2
    assert loss("dice") == pytest.approx(dice)
    assert loss("cross_entropy", "dice") == pytest.approx((first + second) / 2 + dice)


@pytest.mark.parametrize(
    "names", [("cross_entropy",), ("focal",), ("dice",), ("binary_cross_entropy",), ("cross_entropy", "dice")]
)
def test_parts_of_a_batch_add_up_to_the_whole(names):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(2, 3, 4, 3)), tf.float32)
    labels = tf.constant(rng.choice([0, 1, 2, 255], size=(2, 3, 4)), tf.int32)
    whole = PixelLoss(names, ignore_label=255, class_weights=(1, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        expected = whole(logits, labels, reduce=tf.identity)
    slopes = tape.gradient(expected, logits)

    # What each call to `reduce` sums over the two halves, found by calling it on each first.
    sums: list[list] = []
    for half in range(2):
        seen: list = []
        part = logits[half : half + 1]
        whole(part, labels[half : half + 1], reduce=lambda x, seen=seen: seen.append(x) or x, replicas=2)
        sums.append(seen)
    total = 0.0
    for half in range(2):
        both = iter([a + b for a, b in zip(*sums, strict=True)])
        with tf.GradientTape() as tape:
            part = logits[half : half + 1]
            tape.watch(part)
            value = whole(part, labels[half : half + 1], reduce=lambda x, both=both: next(both), replicas=2)
        total += float(value)
        np.testing.assert_allclose(tape.gradient(value, part), slopes[half : half + 1], atol=1e-6)
    assert total == pytest.approx(float(expected), abs=1e-6)


def test_a_batch_weighs_what_its_pixels_do():
    labels = tf.constant([[[0, 1, 255], [1, 2, 255]]])
    assert float(PixelLoss(("cross_entropy",), ignore_label=255).weight(labels)) == 4
    assert float(PixelLoss(("focal",), ignore_label=255, class_weights=(1, 2, 4)).weight(labels)) == 9
    with pytest.raises(ValueError, match="dice"):
        PixelLoss(("focal", "dice"), ignore_label=255).weight(labels)


def test_a_batch_without_labels_is_no_nan():
    for name in registry.LOSSES:
        loss = PixelLoss((name,), ignore_label=255)
        assert float(loss(tf.zeros((1, 1, 2, 3)), tf.fill((1, 1, 2), 255), reduce=tf.identity)) == 0


def test_another_loss_is_one_entry_of_the_table(tmp_path, monkeypatch):
    """A file with a loss, a line in the table: three steps are trained with it."""
    (tmp_path / "margin.py").write_text(
        "import tensorflow as tf\n"
        "from fcn_tf.training.losses import PixelMean\n\n"
        "def _margin(logits, labels):\n"
        "    true = tf.gather(logits, labels, batch_dims=3)\n"
        "    return tf.reduce_sum(tf.nn.relu(1.0 - true[..., None] + logits), axis=-1) - 1.0\n\n"
        "margin = PixelMean(_margin)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.LOSSES, "margin", "margin:margin")
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    tiny_training.write_weights(str(tmp_path))
    assert train.run(tiny_training.config(str(tmp_path), loss="margin+dice", max_steps=3)) == 0
    losses = tiny_training.events(str(tmp_path / "run" / "train"))["loss"]
    # At first every logit is 0: two of three classes lack a margin of 1, and Dice is about 2/3.
    assert losses[1] == pytest.approx(2 + 2 / 3, abs=0.1)
    assert list(losses) == [1, 2, 3] and losses[2] != losses[1]


def test_a_loss_that_cannot_be_divided_is_told_before_the_run_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    tiny_training.write_weights(str(tmp_path))
    with pytest.raises(UserError, match="--accumulate=2 cannot divide --loss=cross_entropy.dice: dice compares sums"):
        train.run(tiny_training.config(str(tmp_path), accumulate=2, loss="cross_entropy+dice"))
    assert not (tmp_path / "run").exists()


def test_binary_cross_entropy_by_hand():
    """Sigmoids of 3/4 and 1/4 (logits ln 3 and -ln 3): the first pixel is right, the second wrong."""
    logits = tf.math.log(tf.constant([[[[3.0, 1 / 3], [3.0, 1 / 3]]]]))
    loss = PixelLoss(("binary_cross_entropy",), ignore_label=None)
    got = loss(logits, tf.constant([[[0, 1]]]), reduce=tf.identity)
    np.testing.assert_allclose(got, -(np.log(3 / 4) + np.log(1 / 4)) / 2, rtol=1e-5)
