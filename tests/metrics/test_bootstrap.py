"""Intervals and comparisons: deterministic, right where the answer is known."""

import numpy as np
import pytest

from fcn_tf.metrics import bootstrap, confusion


def counts(images=60, accuracy=0.8, seed=0, classes=3):
    """int64 (N, C, C): about `accuracy` of each class's 100 pixels are right, the others anything."""
    rng = np.random.default_rng(seed)
    chances = np.full((classes, classes), (1 - accuracy) / (classes - 1))
    np.fill_diagonal(chances, accuracy)
    return np.stack([[rng.multinomial(100, row) for row in chances] for _ in range(images)])


def mean_iou_interval(counts):
    found = bootstrap.intervals(counts)["mean_iou"]
    assert found is not None
    return found


def pixel_counts(all_counts, ignore_label=None):
    return np.array([confusion.class_pixel_counts(each, ignore_label) for each in all_counts])


@pytest.mark.parametrize("ignore", [None, 0])
def test_measures_equal_those_of_the_confusion_matrix(ignore):
    all_counts = counts(classes=4)
    all_counts[:, 3] = all_counts[:, :, 3] = 0  # a class that does not occur
    total = pixel_counts(all_counts, ignore).sum(0)
    for name, measure in bootstrap.MEASURES.items():
        np.testing.assert_allclose(measure(total), getattr(confusion, name)(all_counts.sum(0), ignore), rtol=1e-12)


def test_resamples_are_whole_images():
    parts = np.eye(4, dtype=np.int64)[:, None] * np.ones((4, 3, 1), np.int64)  # each image in a place of its own
    sums = bootstrap.resample(parts, resamples=300)
    assert sums.shape == (300, 3, 4)
    np.testing.assert_array_equal(sums.sum(-1), 4)
    np.testing.assert_array_equal(sums, np.round(sums))
    np.testing.assert_array_equal(sums, bootstrap.resample(parts, resamples=300))
    assert (sums != bootstrap.resample(parts, resamples=300, seed=1)).any()


def test_interval_is_the_middle():
    assert bootstrap.interval(np.array([*range(101), np.nan])) == pytest.approx((2.5, 97.5))
    assert np.isnan(bootstrap.interval(np.array([np.nan]))).all()


def test_intervals_hold_the_score_and_shrink_with_more_images():
    few, many = (pixel_counts(counts(images=n)) for n in (20, 500))
    widths = []
    for each in (few, many):
        low, high = mean_iou_interval(each)
        assert low < bootstrap.mean_iou(each.sum(0)) < high
        widths.append(high - low)
    assert 3 < widths[0] / widths[1] < 8  # the root of 25 is 5


def test_intervals_of_equal_images_are_points():
    low, high = mean_iou_interval(np.tile(pixel_counts(counts(images=1)), (9, 1, 1)))
    assert high - low < 1e-12


def test_intervals_of_nothing():
    assert bootstrap.intervals(np.zeros((0, 3, 2), np.int64))["mean_iou"] is None
    assert bootstrap.intervals(np.zeros((5, 3, 2), np.int64))["mean_iou"] is None


def test_identical_runs_do_not_differ():
    result = bootstrap.compare(pixel_counts(counts()), pixel_counts(counts()))
    assert (result["difference"], result["interval"], result["differs"]) == (0, [0, 0], False)


def test_chance_is_no_difference():
    result = bootstrap.compare(pixel_counts(counts(seed=1)), pixel_counts(counts(seed=2)))
    low, high = result["interval"]
    assert low < 0 < high and low < result["difference"] < high and not result["differs"]


def test_clearly_different_runs_differ():
    better, worse = pixel_counts(counts(accuracy=0.85)), pixel_counts(counts(accuracy=0.75, seed=1))
    result = bootstrap.compare(better, worse)
    assert result["differs"] and result["interval"][0] > 0
    assert result["difference"] == result["mean_iou"] - result["other_mean_iou"]
    turned = bootstrap.compare(worse, better)
    assert turned["differs"] and turned["interval"][1] < 0


def test_pairing_sees_what_the_spread_of_images_would_hide():
    rng = np.random.default_rng(0)
    hard = rng.integers(20, 80, 40)  # pixels missed of 100: differs widely from image to image
    mine, theirs = (pixel_counts([[[100 - miss, miss], [miss, 100 - miss]] for miss in hard + more]) for more in (0, 2))
    low, high = mean_iou_interval(mine)
    assert low < bootstrap.mean_iou(theirs.sum(0)) < high
    assert bootstrap.compare(mine, theirs)["differs"]


def test_runs_on_different_images_are_not_compared():
    with pytest.raises(ValueError, match="give equal shapes"):
        bootstrap.compare(pixel_counts(counts(images=3)), pixel_counts(counts(images=4)))
