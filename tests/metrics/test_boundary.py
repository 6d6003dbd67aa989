"""Boundaries, BF scores and trimaps on squares whose numbers can be counted by hand."""

import numpy as np
import pytest

from fcn_tf.metrics import boundary


def square(left, top=10, side=20, size=(60, 80)):
    """Class 1 in a square, 0 around it; 60 x 80 has a diagonal of 100, so 0.75 % of it is 0.75 pixels."""
    labels = np.zeros(size, np.int32)
    labels[top : top + side, left : left + side] = 1
    return labels


def test_boundaries_mark_both_sides_and_not_the_frame():
    labels = np.array([[0, 0, 1, 1]] * 2)
    np.testing.assert_array_equal(boundary.boundaries(labels), [[False, True, True, False]] * 2)


def test_boundaries_beside_ignored_pixels_are_none():
    labels = np.array([[0, 9, 1, 2]])
    np.testing.assert_array_equal(boundary.boundaries(labels, labels == 9), [[False, False, True, True]])


def test_bf_of_equal_maps_is_1():
    scores = boundary.bf_scores(square(10), square(10), num_classes=3)
    np.testing.assert_array_equal(scores, [1, 1, np.nan])


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_bf_of_a_shifted_square(shift):
    scores = boundary.bf_scores(square(10), square(10 + shift), num_classes=2)
    # The boundary of a square of side 20 has 76 pixels. Within 0.75 pixels is only what coincides: of the two rows
    # of 20, 20 - shift; of the columns nothing but their ends, which the rows have counted.
    np.testing.assert_allclose(scores[1], 2 * (20 - shift) / 76)
    wide = boundary.bf_scores(square(10), square(10 + shift), num_classes=2, tolerance=shift / 100)
    np.testing.assert_array_equal(wide, [1, 1])  # exactly as far as allowed still counts


def test_bf_precision_and_recall_differ():
    truth, found = square(10), square(10)
    found[40:45, 60:65] = 1  # one more square, 16 boundary pixels, far away
    scores = boundary.bf_scores(truth, found, num_classes=2)
    precision, recall = 76 / (76 + 16), 1
    np.testing.assert_allclose(scores[1], 2 * precision * recall / (precision + recall))


def test_bf_of_a_class_that_was_missed_is_0_and_of_one_that_was_imagined_nothing():
    scores = boundary.bf_scores(square(10), np.where(square(10) == 1, 2, 0), num_classes=3)
    assert scores[0] == 1 and scores[1] == 0 and np.isnan(scores[2])


def test_bf_leaves_ignored_pixels_out():
    truth, found = square(10), square(10)
    found[40:45, 60:65] = 1
    truth[35:50, 55:70] = 7
    np.testing.assert_array_equal(boundary.bf_scores(truth, found, num_classes=2, ignore_label=7), [1, 1])


def halves(first, rim=0, size=(60, 80)):
    """Class 1 from column `first` on, 0 before it, with `rim` ignored (7) columns around that place."""
    labels = np.zeros(size, np.int32)
    labels[:, first:] = 1
    if rim:
        labels[:, first - rim // 2 : first - rim // 2 + rim] = 7
    return labels


@pytest.mark.parametrize(("first", "score"), [(37, 0), (38, 1), (39, 1), (40, 1), (41, 1), (42, 1), (43, 0)])
def test_bf_of_a_boundary_hidden_by_a_rim(first, score):
    # Columns 38 to 41 are ignored: the boundary is before column 38, 39, 40, 41 or 42, and nobody knows where.
    scores = boundary.bf_scores(halves(40, rim=4), halves(first), num_classes=2, ignore_label=7)
    np.testing.assert_array_equal(scores, [score, score])


def test_a_rim_does_not_widen_a_tolerance_that_is_larger():
    # Half of a rim of 4 is 2 pixels, less than the tolerance of 3: as if the boundary were drawn at column 40.
    for first, score in ((36, 0), (37, 1), (43, 1), (44, 0)):
        for truth in (halves(40, rim=4), halves(40)):
            found = boundary.bf_scores(truth, halves(first), num_classes=2, ignore_label=7, tolerance=0.03)
            np.testing.assert_array_equal(found, [score, score])


def test_bf_counts_what_is_wrong_beside_a_rim():
    found = halves(40)
    found[10:15, 60:65] = 0  # a hole far from the rim: 16 boundary pixels of class 0, 20 of class 1 around it
    scores = boundary.bf_scores(halves(40, rim=4), found, num_classes=2, ignore_label=7)
    for score, wrong in zip(scores, (16, 20), strict=True):
        precision = 60 / (60 + wrong)  # 60 rows of boundary are right, although they lie on ignored pixels
        np.testing.assert_allclose(score, 2 * precision / (precision + 1))


def test_bf_knows_no_boundary_in_a_wide_ignored_region():
    truth = halves(40, rim=8)
    assert np.isnan(boundary.bf_scores(truth, halves(40), num_classes=2, ignore_label=7)).all()
    # What is predicted on labelled pixels is wrong all the same.
    np.testing.assert_array_equal(boundary.bf_scores(truth, halves(20), num_classes=2, ignore_label=7), [0, 0])


def test_bf_of_a_rim_inside_one_class_is_no_boundary():
    truth = np.zeros((60, 80), np.int32)
    truth[:, 38:41] = 7
    found = np.zeros((60, 80), np.int32)
    found[:, 38:41] = 1
    assert np.isnan(boundary.bf_scores(truth, found, num_classes=2, ignore_label=7)).all()


def test_bf_without_boundaries_is_nothing():
    flat = np.zeros((4, 4), np.int32)
    assert np.isnan(boundary.bf_scores(flat, flat, num_classes=1)).all()


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_common_bf_without_ignored_pixels_is_bf(shift):
    pair = square(10), square(10 + shift)
    common = boundary.common_bf_scores(*pair, num_classes=3)
    np.testing.assert_array_equal(common, boundary.bf_scores(*pair, num_classes=3))


def test_common_bf_drops_boundaries_beside_ignored_pixels_on_both_sides():
    ground_truth = halves(40)
    ground_truth[:30] = 7
    # Row 30 is next to ignored pixels: of the boundary in columns 39 and 40 rows 31 to 59 are left, all met; what
    # is predicted in the ignored half, or next to it, is not looked at.
    found = halves(40)
    found[5:20, 10:20] = 1
    found[29:31, 60:70] = 0
    scores = boundary.common_bf_scores(ground_truth, found, num_classes=2, ignore_label=7)
    # The last hole reaches row 30 and makes boundary pixels of class 1 in row 31: 10 of 39 are wrong.
    precision = 29 / 39
    np.testing.assert_allclose(scores, [1, 2 * precision / (precision + 1)])


def test_common_bf_knows_no_boundary_hidden_by_a_rim():
    pair = halves(40, rim=4), halves(40)
    assert np.isnan(boundary.common_bf_scores(*pair, num_classes=2, ignore_label=7)).all()
    np.testing.assert_array_equal(boundary.bf_scores(*pair, num_classes=2, ignore_label=7), [1, 1])


def test_common_bf_of_a_missed_and_of_an_imagined_boundary():
    flat = np.zeros((60, 80), np.int32)
    np.testing.assert_array_equal(boundary.common_bf_scores(square(10), flat, num_classes=2), [0, 0])
    np.testing.assert_array_equal(boundary.common_bf_scores(flat, square(10), num_classes=2), [0, np.nan])
    assert np.isnan(boundary.common_bf_scores(flat, flat, num_classes=1)).all()


def test_trimap_by_hand():
    truth = np.array([[0] * 5 + [1] * 5])
    found = np.array([[0] * 3 + [1] * 6 + [0]])
    counts = boundary.trimap_counts(truth, found, num_classes=2, widths=(1, 2, 8))
    # Distances to the boundary, which is pixels 4 and 5: 4 3 2 1 0 0 1 2 3 4; wrong are pixels 3, 4 and 9.
    np.testing.assert_array_equal(counts[0][:, :2], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(counts[1][:, :2], [[0, 2], [0, 2]])
    np.testing.assert_array_equal(counts[2][:, :2], [[3, 2], [1, 4]])
    assert counts.shape == (3, 2, 3) and counts.dtype == np.int64


def test_trimap_around_a_rim():
    truth, found = np.array([[0] * 4 + [7] * 2 + [1] * 4]), np.array([[0] * 3 + [1] * 7])
    counts = boundary.trimap_counts(truth, found, num_classes=2, ignore_label=7, widths=(1, 2, 3))
    # The boundary is pixels 4 and 5, which are ignored; 3 and 6 are one pixel from it, 2 and 7 two.
    assert not counts[0].any()
    np.testing.assert_array_equal(counts[1][:, :2], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(counts[2][:, :2], [[1, 1], [0, 2]])


def test_trimap_without_boundaries_or_labels_counts_nothing():
    for label in (0, 5):
        flat = np.full((3, 3), label)
        assert not boundary.trimap_counts(flat, flat, num_classes=2, ignore_label=5).any()


def test_scores_are_averaged_over_classes_then_images():
    scores = boundary.BoundaryScores(("ground", "square", "nothing"))
    scores.add(square(10), square(10).astype(np.uint8))
    scores.add(square(10), np.zeros((60, 80), np.uint8))
    result = scores.summary()
    assert result["bf"] == (1 + 0) / 2
    assert result["bf_per_class"] == {"ground": 0.5, "square": 0.5, "nothing": None}
    assert result["bf_common"] == 0.5 and result["bf_common_per_class"] == result["bf_per_class"]
    # Within 1 pixel lie the square's 76 and 84 - 4 around it (the corners are not neighbours): IoU over both images.
    np.testing.assert_allclose(result["trimap_iou"]["1"], (160 / (160 + 76) + 76 / 152) / 2)


def test_scores_of_nothing():
    assert boundary.BoundaryScores(("a",)).summary()["bf"] is None
