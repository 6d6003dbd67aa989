"""How well outlines are met: the BF score, and IoU in a narrow band around the true outlines. NumPy and OpenCV.

Skips of a network exist for its outlines, which whole areas hardly show.

A pixel lies on an outline where one of its four neighbours is of another class. The edge of the picture is none.

Ignored pixels have no class, and the papers do not say what becomes of outlines there. Here: a rim, as VOC draws one
around each object, hides an outline that must run somewhere in it. Where a rim of up to 5 pixels parts two classes,
the outline is taken to run along its middle, and a prediction anywhere in the rim agrees with it, even where the
tolerance is less than half the rim. It adds nothing to a tolerance that is larger (CamVid: 4.5 pixels). A wider
ignored region says nothing about outlines: its edge is none. Predicted outlines on ignored pixels count where they
agree with a true one, and are nowhere counted as wrong. Without ignored pixels all this changes nothing.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fcn_tf.metrics import confusion

TOLERANCE = 0.0075  # of the picture's diagonal
WIDTHS = (1, 2, 4, 8, 16, 32)  # pixels on either side of an outline
_RIM = 3  # pixels from the middle of a rim of 5 to the nearest labelled one
RULES = (
    "BF: Badrinarayanan, Kendall and Cipolla 2017 (SegNet), after Csurka et al. 2013: F1 of the outline pixels "
    f"of a class that lie within {TOLERANCE:.2%} of the diagonal of the other map's; averaged over the classes in "
    "the truth of an image, then over images. Trimap IoU: Kraehenbuehl and Koltun 2011: mean IoU of the pixels "
    "nearer than the width to an outline in the truth (1: the outline's own pixels), summed over the split. An ignored "
    f"rim of up to {2 * _RIM - 1} pixels between two classes hides an outline along its middle, and a prediction in "
    "the rim agrees with it; predicted outlines on other ignored pixels are left out."
)


def outlines(labels: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
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
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    num_classes: int,
    ignore_label: int | None = None,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """The BF score of each class in one picture (see `RULES`).

    Args:
      truth: class ids (H, W), or `ignore_label`.
      prediction: class ids (H, W).
      num_classes: C.
      ignore_label: in the truth, or None.
      tolerance: how far an outline may be off, as a share of the diagonal.

    Returns:
      float (C,) in [0, 1]; NaN for a class that is not in the truth, or has no outline in either map.
    """
    ignored = _ignored(truth, ignore_label)
    filled, slack = _hidden_outlines(truth, ignored)
    allowed = np.maximum(slack, tolerance * np.hypot(*truth.shape))
    guessed, counted = outlines(prediction), outlines(prediction, ignored)
    scores = np.full(num_classes, np.nan)
    for label in np.unique(truth if ignored is None else truth[~ignored]):
        wanted, found = (slack >= 0) & (filled == label), guessed & (prediction == label)
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
        scores[label] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def trimap_counts(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    num_classes: int,
    ignore_label: int | None = None,
    widths: Sequence[int] = WIDTHS,
) -> np.ndarray:
    """Confusion of the pixels near the true outlines.

    Args:
      truth: class ids (H, W), or `ignore_label`.
      prediction: class ids (H, W); anything outside [0, num_classes) is a miss.
      num_classes: C.
      ignore_label: in the truth, or None.
      widths: in pixels, rising; pixels at a distance below it count.

    Returns:
      int64 (len(widths), C, C + 1), as from `metrics.confusion`.
    """
    _, slack = _hidden_outlines(truth, _ignored(truth, ignore_label))
    edge = slack >= 0
    total = np.zeros((len(widths), num_classes, num_classes + 1), np.int64)
    if not edge.any():
        return total
    band = np.searchsorted(widths, _distances(edge), side="right")  # (H, W): the first width that reaches it
    for number in range(len(widths)):
        inside = band == number
        total[number] = confusion.confusion(
            truth[inside], prediction[inside], num_classes=num_classes, ignore_label=ignore_label
        )
    return total.cumsum(axis=0)


class BoundaryScores:
    """Adds up pictures; divides when asked.

    Args:
      class_names: one a class.
      ignore_label: of the data set.
    """

    def __init__(self, class_names: Sequence[str], ignore_label: int | None = None):
        classes = len(class_names)
        self._names, self._ignore = class_names, ignore_label
        self._sums, self._images = np.zeros(classes), np.zeros(classes, np.int64)
        self._image_scores: list[float] = []
        self._reaches: set[float] = set()  # the least and the largest tolerance so far, in pixels
        self._counts = np.zeros((len(WIDTHS), classes, classes + 1), np.int64)

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one picture: class ids (H, W) twice."""
        truth, prediction = truth.astype(np.int32), prediction.astype(np.int32)
        options: dict[str, Any] = {"num_classes": len(self._names), "ignore_label": self._ignore}
        scores = bf_scores(truth, prediction, **options)
        measured = ~np.isnan(scores)
        self._sums[measured] += scores[measured]
        self._images += measured
        if measured.any():
            self._image_scores.append(float(scores[measured].mean()))
        self._reaches.add(TOLERANCE * float(np.hypot(*truth.shape)))
        self._reaches = {min(self._reaches), max(self._reaches)}
        self._counts += trimap_counts(truth, prediction, **options)

    def summary(self) -> dict[str, Any]:
        """Ready for JSON: `bf`, `bf_per_class` and `trimap_iou` by width, None where nothing was measured."""
        ious = [confusion.mean_iou(counts, self._ignore) for counts in self._counts]
        return {
            "bf": float(np.mean(self._image_scores)) if self._image_scores else None,
            "bf_per_class": {
                name: float(total / images) if images else None
                for number, (name, total, images) in enumerate(zip(self._names, self._sums, self._images, strict=True))
                if number != self._ignore
            },
            "trimap_iou": {
                str(width): None if np.isnan(value) else value for width, value in zip(WIDTHS, ious, strict=True)
            },
            "tolerance": TOLERANCE,
            "tolerance_pixels": [min(self._reaches), max(self._reaches)] if self._reaches else None,
            "rules": RULES,
        }


def _ignored(truth: np.ndarray, ignore_label: int | None) -> np.ndarray | None:
    return None if ignore_label is None else truth == ignore_label


def _distances(marked: np.ndarray) -> np.ndarray:
    """Each pixel's Euclidean distance to the nearest marked one, exact."""
    return cv2.distanceTransform((~marked).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _near(marked: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Pixels whose distance to some marked one is at most what is allowed at that one."""
    near = np.zeros(marked.shape, bool)
    for reach in np.unique(allowed[marked]):  # one, or a handful where rims are wider than the tolerance
        near |= _distances(marked & (allowed == reach)) <= reach
    return near


def _hidden_outlines(truth: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The outlines of the truth, those that rims hide included.

    Returns:
      Class ids (H, W), rims filled from the nearest labelled pixel; and float32 (H, W): how many pixels an outline
      may run from here, 0 where it is not hidden, -1 where there is none.
    """
    depth = np.zeros(truth.shape, np.float32)
    if ignored is not None and ignored.any():
        if ignored.all():
            return truth, depth - 1
        # Numbers the labelled pixels, and gives every ignored one the number of the nearest.
        depth, nearest = cv2.distanceTransformWithLabels(
            ignored.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        class_of = np.zeros(nearest.max() + 1, truth.dtype)
        class_of[nearest[~ignored]] = truth[~ignored]
        truth = class_of[nearest]
    slack = np.full(truth.shape, -1, np.float32)
    neighbours: tuple[tuple[Any, Any], ...] = ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]))
    for one, next_to_it in neighbours:
        deepest = np.maximum(depth[one], depth[next_to_it])
        deepest[(truth[one] == truth[next_to_it]) | (deepest > _RIM)] = -1
        for side in (one, next_to_it):
            np.maximum(slack[side], deepest, out=slack[side])
    return truth, slack
