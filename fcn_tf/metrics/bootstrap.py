"""How sure a score is: intervals from resampling the images, and whether two runs really differ. NumPy only.

The images of a split are one sample of many that could have been taken. Drawing as many again from them, with
replacement, many times over, shows how far a score would move (Efron 1979). Two runs are compared on the same
draws, so that what is hard for both cancels out.

Scores add up areas before they divide, so all that is kept of an image is `metrics.areas`: the pixels of each
class that are hit, true and predicted.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

DRAWS = 2000
LEVEL = 0.95
RULES = f"{LEVEL:.0%} percentile interval over {DRAWS} draws of as many images, with replacement."
_CHUNK = 250  # draws at once: bounds the memory


def mean_iou(areas: np.ndarray) -> np.ndarray:
    """Mean IoU over the classes that occur.

    Args:
      areas: (..., 3, C): hit, true and predicted pixels.

    Returns:
      float (...); NaN where no class occurs.
    """
    hit, truth, predicted = _parts(areas)
    return _mean_of_ratios(hit, truth + predicted - hit)


def mean_accuracy(areas: np.ndarray) -> np.ndarray:
    """Mean share of a class's true pixels that are hit; as `mean_iou`."""
    hit, truth, _ = _parts(areas)
    return _mean_of_ratios(hit, truth)


def pixel_accuracy(areas: np.ndarray) -> np.ndarray:
    """Share of the pixels that are hit; as `mean_iou`."""
    hit, truth, _ = _parts(areas)
    return _ratio(hit.sum(-1), truth.sum(-1))


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean_iou": mean_iou,
    "mean_accuracy": mean_accuracy,
    "pixel_accuracy": pixel_accuracy,
}


def draw(areas: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Adds up resampled images.

    Args:
      areas: int (N, ...) of each image; equal N and seed draw the same images.
      draws: how often.
      seed: of the draws.

    Returns:
      float64 (draws, ...) sums, exact below 2 ** 53.
    """
    images = len(areas)
    rng = np.random.default_rng(seed)
    flat = areas.reshape(images, -1).astype(np.float64)
    sums = []
    for start in range(0, draws, _CHUNK):
        count = min(_CHUNK, draws - start)
        drawn = rng.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        # How often each image is drawn: (draws, N).
        often = np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)
        sums.append(often.astype(np.float64) @ flat)
    return np.concatenate(sums).reshape(draws, *areas.shape[1:])


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The range that holds the middle `level` of the values that are not NaN."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(areas: np.ndarray, *, seed: int = 0) -> dict[str, list[float] | None]:
    """[low, high] of each of `MEASURES`, None where there is nothing to measure.

    Args:
      areas: int (N, 3, C), see `metrics.areas`.
      seed: of the draws.
    """
    if not len(areas):
        return dict.fromkeys(MEASURES)
    sums = draw(areas, seed=seed)
    found = {name: interval(measure(sums)) for name, measure in MEASURES.items()}
    return {name: None if np.isnan(low) else [low, high] for name, (low, high) in found.items()}


def compare(areas: np.ndarray, others: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """Whether the mean IoU of two runs on the same images really differs.

    Args:
      areas: int (N, 3, C) of this run.
      others: int (N, 3, C) of the other one, images in the same order.
      seed: of the draws.

    Returns:
      Ready for JSON: both scores, `difference` (this minus other), its `interval`, and whether it `differs`:
      whether 0 lies outside the interval.

    Raises:
      ValueError: if the shapes differ or there are no images.
    """
    if areas.shape != others.shape or not len(areas):
        raise ValueError(f"areas are {areas.shape} and {others.shape}; give equal shapes with images in them.")
    both = np.stack([areas, others], axis=1)  # (N, 2, 3, C): one draw for both
    scores = mean_iou(draw(both, seed=seed))  # (draws, 2)
    low, high = interval(scores[:, 0] - scores[:, 1])
    mine, theirs = (float(score) for score in mean_iou(both.sum(0)))
    return {
        "mean_iou": mine,
        "other_mean_iou": theirs,
        "difference": mine - theirs,
        "interval": [low, high],
        "differs": bool(low > 0 or high < 0),
        "rules": f"Paired: both runs on the same draws. {RULES}",
    }


def _parts(areas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return areas[..., 0, :], areas[..., 1, :], areas[..., 2, :]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _mean_of_ratios(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratios = _ratio(part, whole)
    return _ratio(np.nansum(ratios, axis=-1), (~np.isnan(ratios)).sum(-1))
