"""Every measure, by hand and against twins written from the published formulas."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_tf.io import images
from fcn_tf.metrics import confusion

ADE_SAMPLE = Path(__file__).parents[3] / "shared/data/ade_sample/ADEChallengeData2016/annotations/validation"

# Truth is class 0 four times and class 1 six times; three and four of them are right.
COUNTS = np.array([[3, 1], [2, 4]])


def test_each_measure_by_hand():
    assert confusion.pixel_accuracy(COUNTS) == 7 / 10
    np.testing.assert_allclose(confusion.class_accuracy(COUNTS), [3 / 4, 4 / 6])
    np.testing.assert_allclose(confusion.mean_accuracy(COUNTS), (3 / 4 + 4 / 6) / 2)
    np.testing.assert_allclose(confusion.iou(COUNTS), [3 / 6, 4 / 7])
    np.testing.assert_allclose(confusion.mean_iou(COUNTS), (3 / 6 + 4 / 7) / 2)
    np.testing.assert_allclose(confusion.dice(COUNTS), [6 / 9, 8 / 11])
    np.testing.assert_allclose(confusion.frequency_weighted_iou(COUNTS), (4 * 3 / 6 + 6 * 4 / 7) / 10)
    np.testing.assert_allclose(confusion.scene_parsing_score(COUNTS), (7 / 10 + (3 / 6 + 4 / 7) / 2) / 2)


def test_confusion_counts_truth_in_rows_and_leaves_the_ignored_out():
    labels = np.array([[0, 0, 1], [2, 9, 1]], np.uint8)
    predictions = np.array([[0, 1, 1], [2, 2, 0]], np.int32)
    counts = confusion.confusion(labels, predictions, num_classes=3, ignore_label=9)
    np.testing.assert_array_equal(counts, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]])
    assert counts.dtype == np.int64


def test_prediction_of_no_class_is_a_miss():
    counts = confusion.confusion(np.array([0, 0, 1, 1]), np.array([0, 255, 1, -1]), num_classes=2)
    np.testing.assert_array_equal(counts, [[1, 0, 1], [0, 1, 1]])
    assert confusion.pixel_accuracy(counts) == 0.5
    np.testing.assert_array_equal(confusion.iou(counts), [0.5, 0.5])


@pytest.mark.parametrize("label", [3, -1, 255])
def test_label_out_of_range_is_refused_by_value(label):
    with pytest.raises(ValueError, match=f"label {label} is neither"):
        confusion.confusion(np.array([0, label]), np.array([0, 0]), num_classes=3, ignore_label=9)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        confusion.confusion(np.zeros((2, 3), int), np.zeros((3, 2), int), num_classes=2)


def test_ignored_class_inside_the_range_counts_nowhere_but_predicting_it_is_a_miss():
    labels = np.array([0, 0, 1, 1, 2, 2])
    predictions = np.array([1, 2, 1, 0, 2, 2])
    counts = confusion.confusion(labels, predictions, num_classes=3, ignore_label=0)
    assert confusion.pixel_accuracy(counts, 0) == 3 / 4
    np.testing.assert_array_equal(confusion.iou(counts, 0), [np.nan, 1 / 2, 1])
    assert confusion.mean_iou(counts, 0) == 3 / 4
    assert confusion.mean_accuracy(counts, 0) == 3 / 4
    np.testing.assert_array_equal(confusion.dice(counts, 0), [np.nan, 2 / 3, 1])


def test_absent_classes_are_skipped_except_by_scene_parsing():
    counts = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 0]])
    assert confusion.mean_iou(counts) == 1
    assert confusion.mean_accuracy(counts) == 1
    np.testing.assert_allclose(confusion.scene_parsing_iou(counts), 2 / 3)
    np.testing.assert_allclose(confusion.scene_parsing_score(counts), (1 + 2 / 3) / 2)


def test_predicted_class_that_is_never_true_has_iou_0_and_no_accuracy():
    counts = np.array([[1, 1], [0, 0]])
    np.testing.assert_array_equal(confusion.iou(counts), [0.5, 0])
    np.testing.assert_array_equal(confusion.class_accuracy(counts), [0.5, np.nan])


def test_nothing_counted_gives_nan_without_warnings_and_null_in_json():
    empty = np.zeros((2, 2), np.int64)
    assert np.isnan(confusion.pixel_accuracy(empty)) and np.isnan(confusion.mean_iou(empty))
    summary = confusion.summarize(empty, ("a", "b"))
    assert summary["mean_iou"] is None and summary["per_class"][0]["iou"] is None
    assert summary["conventions"]["mmsegmentation"]["mIoU"] is None


def test_summary_names_classes_and_rules():
    counts = np.array([[0, 0, 0], [1, 3, 0], [0, 0, 4]])
    summary = confusion.summarize(counts, ("other", "wall", "sky"), ignore_label=0)
    assert summary["per_class"] == [
        {
            "id": 1,
            "name": "wall",
            "iou": 0.75,
            "accuracy": 0.75,
            "dice": 6 / 7,
            "pixels": 4,
            "predicted_pixels": 3,
        },
        {
            "id": 2,
            "name": "sky",
            "iou": 1.0,
            "accuracy": 1.0,
            "dice": 1.0,
            "pixels": 4,
            "predicted_pixels": 4,
        },
    ]
    assert summary["mean_iou"] == 0.875
    assert summary["conventions"]["mmsegmentation"]["mIoU"] == 87.5
    assert summary["scene_parsing_score"] == summary["conventions"]["scene_parsing"]["score"] == 0.875
    assert all(convention["rules"] for convention in summary["conventions"].values())


def test_counts_do_not_overflow():
    counts = np.array([[2**40, 0], [0, 2**40]])
    assert confusion.pixel_accuracy(counts) == 1 and confusion.frequency_weighted_iou(counts) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 0, 3, 255]))
def test_counts_of_parts_add_up_to_those_of_the_whole(seed, ignore):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 3] + ([] if ignore is None else [ignore]), (4, 5))
    predictions = rng.integers(-1, 6, (4, 5))
    options = {"num_classes": 4, "ignore_label": ignore}
    whole = confusion.confusion(labels, predictions, **options)
    parts = [confusion.confusion(y, p, **options) for y, p in zip(labels, predictions, strict=True)]
    np.testing.assert_array_equal(whole, sum(parts))
    brute = np.zeros((4, 5), int)
    for y, p in zip(labels.ravel(), predictions.ravel(), strict=True):
        if y != ignore:
            brute[y, p if 0 <= p < 4 else 4] += 1
    np.testing.assert_array_equal(whole, brute)


def scene_parsing_twin(pairs):
    """The benchmark's formulas as its page describes them: 150 classes, 0 is unlabelled, eps = 2.2e-16."""
    correct = labelled = 0
    intersection, union = np.zeros(150), np.zeros(150)
    for truth, prediction in pairs:
        labelled += np.sum(truth > 0)
        correct += np.sum((prediction == truth) & (truth > 0))
        prediction = prediction * (truth > 0)
        both = prediction * (prediction == truth)
        for index in range(150):
            hit = np.sum(both == index + 1)
            intersection[index] += hit
            union[index] += np.sum(prediction == index + 1) + np.sum(truth == index + 1) - hit
    accuracy = correct / labelled
    mean_iou = np.mean(intersection / (union + np.finfo(float).eps))
    return accuracy, mean_iou, (accuracy + mean_iou) / 2


def assert_scene_parsing_agrees(truths):
    rng = np.random.default_rng(0)
    pairs = []
    for truth in truths:
        prediction = np.roll(truth, 7, axis=1)
        noise = rng.random(truth.shape) < 0.2  # zeros among them: misses wherever there is a label
        pairs.append((truth, np.where(noise, rng.integers(0, 151, truth.shape), prediction)))
    counts = np.sum([confusion.confusion(y, p, num_classes=151, ignore_label=0) for y, p in pairs], axis=0)
    accuracy, mean_iou, score = scene_parsing_twin(pairs)
    np.testing.assert_allclose(confusion.pixel_accuracy(counts, 0), accuracy, rtol=0, atol=1e-12)
    np.testing.assert_allclose(confusion.scene_parsing_iou(counts, 0), mean_iou, rtol=0, atol=1e-12)
    np.testing.assert_allclose(confusion.scene_parsing_score(counts, 0), score, rtol=0, atol=1e-12)


def test_scene_parsing_twin_on_noise():
    rng = np.random.default_rng(1)
    assert_scene_parsing_agrees([rng.integers(0, 40, (20, 30)) for _ in range(3)])


@pytest.mark.skipif(not ADE_SAMPLE.is_dir(), reason="needs the SceneParsing samples in ../shared")
def test_scene_parsing_twin_on_the_real_samples():
    paths = sorted(ADE_SAMPLE.glob("*.png"))
    assert len(paths) == 3
    assert_scene_parsing_agrees([images.decode_label(p.read_bytes(), name=p.name) for p in paths])


def test_fcn_tutorials_twin():
    """`label_accuracy_score`, as the PyTorch FCN tutorials describe it."""
    rng = np.random.default_rng(2)
    truth, prediction = rng.integers(0, 5, 500), rng.integers(0, 6, 500)
    truth[truth == 3] = 1  # class 3 is predicted but never true
    counts = confusion.confusion(truth, prediction % 5, num_classes=6)
    histogram = counts[:, :6].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracies = np.diag(histogram) / histogram.sum(1)
        ious = np.diag(histogram) / (histogram.sum(1) + histogram.sum(0) - np.diag(histogram))
    frequency = histogram.sum(1) / histogram.sum()
    np.testing.assert_allclose(confusion.mean_accuracy(counts), np.nanmean(accuracies))
    np.testing.assert_allclose(confusion.mean_iou(counts), np.nanmean(ious))
    np.testing.assert_allclose(
        confusion.frequency_weighted_iou(counts), (frequency[frequency > 0] * ious[frequency > 0]).sum()
    )
