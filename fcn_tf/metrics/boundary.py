"""Boundary scores: BF by two rules, and IoU in a narrow band around the boundaries of the ground truth (trimap IoU).

The skips of a network improve its boundaries, which area scores hardly show. NumPy and OpenCV.

A pixel lies on a boundary where one of its four neighbours is of another class. The edge of the image is none.

Ignored pixels have no class, and the papers do not say what becomes of boundaries there. So there are two rules.

`common_bf_scores`, the field's common one, leaves out ignored pixels and those next to them, in the ground truth and in
the prediction. Where a data set draws an ignored rim around each object, as VOC does, it measures hardly any boundary.

`bf_scores` measures those too: a rim hides a boundary that must run somewhere in it. Where a rim of up to 5 pixels
parts two classes, the boundary is taken to run along its middle, and a prediction anywhere in the rim agrees with it,
even where the tolerance is less than half the rim. It adds nothing to a tolerance that is larger (CamVid: 4.5 pixels).
A wider ignored region says nothing about boundaries: its edge is none. Predicted boundaries on ignored pixels count
where they agree with one of the ground truth, and are nowhere counted as wrong. Without ignored pixels both rules give
the same scores.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fcn_tf.metrics import confusion

TOLERANCE = 0.0075  # of the image's diagonal
WIDTHS = (1, 2, 4, 8, 16, 32)  # pixels on either side of a boundary
_RIM = 3  # pixels from the middle of a rim of 5 to the nearest labelled one
RULES = (
    "BF: Badrinarayanan, Kendall and Cipolla 2017 (SegNet), after Csurka et al. 2013: F1 of the boundary pixels "
    f"of a class that lie within {TOLERANCE:.2%} of the diagonal of the other map's; averaged over the classes in "
    "the ground truth of an image, then over images. Trimap IoU: Kraehenbuehl and Koltun 2011: mean IoU of the pixels "
    "nearer than the width to a boundary in the ground truth (1: the boundary's own pixels), summed over the split. An "
    f"ignored rim of up to {2 * _RIM - 1} pixels between two classes hides a boundary along its middle, and a "
    "prediction in the rim agrees with it; predicted boundaries on other ignored pixels are left out."
)
COMMON_RULES = (
    "BF, common rule: the same F1, but boundary pixels that are ignored or next to an ignored pixel are left out, in "
    "the ground truth and in the prediction; BF instead also scores the boundaries that thin ignored rims hide. "
    "Without ignored pixels the two are equal."
)


def boundaries(labels: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Marks the pixels with a neighbour of another class, on both sides.

    Args:
      labels: class ids (H, W).
      ignored: bool (H, W), pixels without a class, or None.

    Returns:
      bool (H, W).
    """
    down, across = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    if ignored is not None:
        down &= ~(ignored[1:] | ignored[:-1])
        across &= ~(ignored[:, 1:] | ignored[:, :-1])
    marked = np.zeros(labels.shape, bool)
    marked[1:] |= down
    marked[:-1] |= down
    marked[:, 1:] |= across
    marked[:, :-1] |= across
    return marked


def bf_scores(
    ground_truth: np.ndarray,
    prediction: np.ndarray,
    *,
    num_classes: int,
    ignore_label: int | None = None,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """The BF score of each class in one image (see `RULES`).

    Args:
      ground_truth: class ids (H, W), or `ignore_label`.
      prediction: class ids (H, W).
      num_classes: C.
      ignore_label: in the ground truth, or None.
      tolerance: how far a boundary may be off, as a share of the diagonal.

    Returns:
      float (C,) in [0, 1]; NaN for a class that is not in the ground truth, or has no boundary in either map.
    """
    ignored = _ignored(ground_truth, ignore_label)
    filled, slack = _hidden_boundaries(ground_truth, ignored)
    allowed = np.maximum(slack, tolerance * np.hypot(*ground_truth.shape))
    predicted, counted = boundaries(prediction), boundaries(prediction, ignored)
    scores = np.full(num_classes, np.nan)
    for label in np.unique(ground_truth if ignored is None else ground_truth[~ignored]):
        wanted, found = (slack >= 0) & (filled == label), predicted & (prediction == label)
        left, top, width, height = cv2.boundingRect((wanted | found).view(np.uint8))
        around = slice(top, top + height), slice(left, left + width)
        wanted, found = wanted[around], found[around]
        right = found & _near(wanted, allowed[around])
        judged = right | (found & counted[around])
        if not wanted.any() and not judged.any():
            continue
        precision = right.sum() / max(judged.sum(), 1)
        missed = _distances(found)[wanted] > allowed[around][wanted] if found.any() else np.ones(wanted.sum(), bool)
        recall = 1 - missed.mean() if missed.size else 0.0
        scores[label] = _f1(precision, recall)
    return scores


def common_bf_scores(
    ground_truth: np.ndarray,
    prediction: np.ndarray,
    *,
    num_classes: int,
    ignore_label: int | None = None,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """The BF score of each class in one image by the common rule (see `COMMON_RULES`); as `bf_scores`."""
    ignored = _ignored(ground_truth, ignore_label)
    wanted_edges, found_edges = boundaries(ground_truth, ignored), boundaries(prediction)
    labelled = ground_truth
    if ignored is not None:
        beside = cv2.dilate(ignored.view(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))).astype(bool)
        wanted_edges &= ~beside
        found_edges &= ~beside
        labelled = ground_truth[~ignored]
    reach = tolerance * np.hypot(*ground_truth.shape)
    scores = np.full(num_classes, np.nan)
    for label in np.unique(labelled):
        wanted, found = wanted_edges & (ground_truth == label), found_edges & (prediction == label)
        if wanted.any() or found.any():
            scores[label] = _f1(_share_within(found, wanted, reach), _share_within(wanted, found, reach))
    return scores


def trimap_counts(
    ground_truth: np.ndarray,
    prediction: np.ndarray,
    *,
    num_classes: int,
    ignore_label: int | None = None,
    widths: Sequence[int] = WIDTHS,
) -> np.ndarray:
    """Confusion of the pixels near the boundaries of the ground truth.

    Args:
      ground_truth: class ids (H, W), or `ignore_label`.
      prediction: class ids (H, W); anything outside [0, num_classes) is no class.
      num_classes: C.
      ignore_label: in the ground truth, or None.
      widths: in pixels, rising; pixels at a distance below it count.

    Returns:
      int64 (len(widths), C, C + 1), as from `confusion.confusion`.
    """
    _, slack = _hidden_boundaries(ground_truth, _ignored(ground_truth, ignore_label))
    edge = slack >= 0
    total = np.zeros((len(widths), num_classes, num_classes + 1), np.int64)
    if not edge.any():
        return total
    band = np.searchsorted(widths, _distances(edge), side="right")  # (H, W): the first width that reaches it
    for number in range(len(widths)):
        inside = band == number
        total[number] = confusion.confusion(
            ground_truth[inside], prediction[inside], num_classes=num_classes, ignore_label=ignore_label
        )
    return total.cumsum(axis=0)


class BoundaryScores:
    """Adds up images; divides when asked.

    Args:
      class_names: one a class.
      ignore_label: of the data set.
    """

    def __init__(self, class_names: Sequence[str], ignore_label: int | None = None):
        classes = len(class_names)
        self._names, self._ignore = class_names, ignore_label
        self._bf, self._common_bf = _Means(classes), _Means(classes)
        self._reaches: set[float] = set()  # the least and the largest tolerance so far, in pixels
        self._counts = np.zeros((len(WIDTHS), classes, classes + 1), np.int64)

    def add(self, ground_truth: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one image: class ids (H, W) each."""
        ground_truth, prediction = ground_truth.astype(np.int32), prediction.astype(np.int32)
        options: dict[str, Any] = {"num_classes": len(self._names), "ignore_label": self._ignore}
        self._bf.add(bf_scores(ground_truth, prediction, **options))
        self._common_bf.add(common_bf_scores(ground_truth, prediction, **options))
        self._reaches.add(TOLERANCE * float(np.hypot(*ground_truth.shape)))
        self._reaches = {min(self._reaches), max(self._reaches)}
        self._counts += trimap_counts(ground_truth, prediction, **options)

    def summary(self) -> dict[str, Any]:
        """Ready for JSON, None where nothing was measured.

        `bf` and `bf_common` with their `_per_class`, `trimap_iou` by width, the tolerance, and the rules of each.
        """
        ious = [confusion.mean_iou(counts, self._ignore) for counts in self._counts]
        return {
            "bf": self._bf.mean(),
            "bf_per_class": self._by_name(self._bf),
            "bf_common": self._common_bf.mean(),
            "bf_common_per_class": self._by_name(self._common_bf),
            "trimap_iou": {
                str(width): None if np.isnan(value) else value for width, value in zip(WIDTHS, ious, strict=True)
            },
            "tolerance": TOLERANCE,
            "tolerance_pixels": [min(self._reaches), max(self._reaches)] if self._reaches else None,
            "rules": RULES,
            "common_rules": COMMON_RULES,
        }

    def _by_name(self, means: "_Means") -> dict[str, float | None]:
        values = zip(self._names, means.per_class(), strict=True)
        return {name: value for number, (name, value) in enumerate(values) if number != self._ignore}


class _Means:
    """Scores averaged over the classes of an image, then over images; and of each class over its images."""

    def __init__(self, classes: int):
        self._sums, self._images = np.zeros(classes), np.zeros(classes, np.int64)
        self._image_scores: list[float] = []

    def add(self, scores: np.ndarray) -> None:
        """Adds the (C,) scores of one image; NaN: not measured."""
        measured = ~np.isnan(scores)
        self._sums[measured] += scores[measured]
        self._images += measured
        if measured.any():
            self._image_scores.append(float(scores[measured].mean()))

    def mean(self) -> float | None:
        return float(np.mean(self._image_scores)) if self._image_scores else None

    def per_class(self) -> list[float | None]:
        return [
            float(total / images) if images else None for total, images in zip(self._sums, self._images, strict=True)
        ]


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_within(marked: np.ndarray, others: np.ndarray, reach: float) -> float:
    """The share of the marked pixels that lie within `reach` pixels of one of the others; 0 without either."""
    if not marked.any() or not others.any():
        return 0.0
    return float((_distances(others)[marked] <= reach).mean())


def _ignored(ground_truth: np.ndarray, ignore_label: int | None) -> np.ndarray | None:
    return None if ignore_label is None else ground_truth == ignore_label


def _distances(marked: np.ndarray) -> np.ndarray:
    """Each pixel's Euclidean distance to the nearest marked one, exact."""
    return cv2.distanceTransform((~marked).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _near(marked: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Pixels whose distance to some marked one is at most what is allowed at that one."""
    near = np.zeros(marked.shape, bool)
    for reach in np.unique(allowed[marked]):  # one, or a handful where rims are wider than the tolerance
        near |= _distances(marked & (allowed == reach)) <= reach
    return near


def _hidden_boundaries(ground_truth: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The boundaries of the ground truth, those that rims hide included.

    Returns:
      Class ids (H, W), rims filled from the nearest labelled pixel; and float32 (H, W): how many pixels a boundary
      may run from here, 0 where it is not hidden, -1 where there is none.
    """
    depth = np.zeros(ground_truth.shape, np.float32)
    if ignored is not None and ignored.any():
        if ignored.all():
            return ground_truth, depth - 1
        # Numbers the labelled pixels, and gives every ignored one the number of the nearest.
        depth, nearest = cv2.distanceTransformWithLabels(
            ignored.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        class_of = np.zeros(nearest.max() + 1, ground_truth.dtype)
        class_of[nearest[~ignored]] = ground_truth[~ignored]
        ground_truth = class_of[nearest]
    slack = np.full(ground_truth.shape, -1, np.float32)
    neighbours: tuple[tuple[Any, Any], ...] = ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]))
    for one, next_to_it in neighbours:
        deepest = np.maximum(depth[one], depth[next_to_it])
        deepest[(ground_truth[one] == ground_truth[next_to_it]) | (deepest > _RIM)] = -1
        for side in (one, next_to_it):
            np.maximum(slack[side], deepest, out=slack[side])
    return ground_truth, slack
