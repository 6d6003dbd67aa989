"""Bootstrap confidence intervals of the scores, and a paired comparison of two runs. NumPy only.

The images of a split are one sample of many that could have been taken. Resampling them with replacement shows how far
a score would move (Efron 1979). Two runs are compared on the same resamples, so that what is hard for both cancels out.

Scores add up pixels before they divide, so all that is needed of an image is `confusion.class_pixel_counts`: true
positives, ground truth and predicted pixels of each class.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
RULES = f"{LEVEL:.0%} percentile bootstrap interval: {RESAMPLES} resamples of as many images, with replacement."
_CHUNK = 250  # resamples at once: bounds the memory


def mean_iou(pixel_counts: np.ndarray) -> np.ndarray:
    """Mean IoU over the classes that occur.

    Args:
      pixel_counts: (..., 3, C): true positives, ground truth and predicted pixels.

    Returns:
      float (...); NaN where no class occurs.
    """
    true_positives, ground_truth, predicted = _parts(pixel_counts)
    return _mean_of_ratios(true_positives, ground_truth + predicted - true_positives)


def mean_accuracy(pixel_counts: np.ndarray) -> np.ndarray:
    """Mean recall over the classes in the ground truth; as `mean_iou`."""
    true_positives, ground_truth, _ = _parts(pixel_counts)
    return _mean_of_ratios(true_positives, ground_truth)


def pixel_accuracy(pixel_counts: np.ndarray) -> np.ndarray:
    """Share of the pixels that are right; as `mean_iou`."""
    true_positives, ground_truth, _ = _parts(pixel_counts)
    return _ratio(true_positives.sum(-1), ground_truth.sum(-1))


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean_iou": mean_iou,
    "mean_accuracy": mean_accuracy,
    "pixel_accuracy": pixel_accuracy,
}


def resample(pixel_counts: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Adds up the images of each resample.

    Args:
      pixel_counts: int (N, ...) of each image; equal N and seed draw the same images.
      resamples: how many.
      seed: of the random draws.

    Returns:
      float64 (resamples, ...) sums, exact below 2 ** 53.
    """
    images = len(pixel_counts)
    rng = np.random.default_rng(seed)
    flat = pixel_counts.reshape(images, -1).astype(np.float64)
    sums = []
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        drawn = rng.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        # How often each image is drawn: (count, N).
        weights = np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)
        sums.append(weights.astype(np.float64) @ flat)
    return np.concatenate(sums).reshape(resamples, *pixel_counts.shape[1:])


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The range that holds the middle `level` of the values that are not NaN."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(pixel_counts: np.ndarray, *, seed: int = 0) -> dict[str, list[float] | None]:
    """[low, high] of each of `MEASURES`, None where there is nothing to measure.

    Args:
      pixel_counts: int (N, 3, C), see `confusion.class_pixel_counts`.
      seed: of the random draws.
    """
    if not len(pixel_counts):
        return dict.fromkeys(MEASURES)
    sums = resample(pixel_counts, seed=seed)
    found = {name: interval(measure(sums)) for name, measure in MEASURES.items()}
    return {name: None if np.isnan(low) else [low, high] for name, (low, high) in found.items()}


def compare(pixel_counts: np.ndarray, others: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """Whether the mean IoU of two runs on the same images really differs.

    Args:
      pixel_counts: int (N, 3, C) of this run.
      others: int (N, 3, C) of the other one, images in the same order.
      seed: of the random draws.

    Returns:
      Ready for JSON: both scores, `difference` (this minus other), its `interval`, and whether it `differs`:
      whether 0 lies outside the interval.

    Raises:
      ValueError: if the shapes differ or there are no images.
    """
    if pixel_counts.shape != others.shape or not len(pixel_counts):
        raise ValueError(f"shapes are {pixel_counts.shape} and {others.shape}; give equal shapes with images in them.")
    both = np.stack([pixel_counts, others], axis=1)  # (N, 2, 3, C): the same resamples
    scores = mean_iou(resample(both, seed=seed))  # (resamples, 2)
    low, high = interval(scores[:, 0] - scores[:, 1])
    mine, theirs = (float(score) for score in mean_iou(both.sum(0)))
    return {
        "mean_iou": mine,
        "other_mean_iou": theirs,
        "difference": mine - theirs,
        "interval": [low, high],
        "differs": bool(low > 0 or high < 0),
        "rules": f"Paired: both runs on the same resamples. {RULES}",
    }


def _parts(pixel_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return pixel_counts[..., 0, :], pixel_counts[..., 1, :], pixel_counts[..., 2, :]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _mean_of_ratios(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratios = _ratio(part, whole)
    return _ratio(np.nansum(ratios, axis=-1), (~np.isnan(ratios)).sum(-1))
