"""Every published score, computed from one confusion matrix of integers.

Counts are int64, rows are the ground truth, columns the prediction: (C, C), or (C, C + 1) where the last column
holds predictions that are no class at all. Those are false negatives of the class that was there. Pixels whose ground
truth is the ignored label are in no count. Counts of several images, batches or replicas add up; each measure
divides once. NumPy only.

An ignored label may be one of the classes (ADE20K: 0 of 151). Predicting it on a labelled pixel is a false
negative of the class that was there, but the ignored class is no class to be measured: every measure leaves it out.
"""

from typing import Any

import numpy as np

RULES = (
    "One confusion matrix over the whole split, each image at its own size. Pixels of the ignored label "
    "count nowhere; predicting it, or no class, on a labelled pixel is a miss. Means skip the ignored class "
    "and classes without a value: IoU and Dice where a class is in neither ground truth nor prediction, "
    "accuracy where it is not in the ground truth. frequency_weighted_iou weighs IoU by the class's share of the "
    "ground truth."
)
_FCN_RULES = (
    "Long, Shelhamer and Darrell 2015, section 5, summed over the set as in label_accuracy_score: n_ii / t_i "
    "and n_ii / (t_i + sum_j n_ji - n_ii); means skip classes without a value."
)
_SCENE_PARSING_RULES = (
    "MIT SceneParsing benchmark: pixels summed over the set, the ignored label left out, predictions of it on "
    "labelled pixels are misses, IoU averaged over all other classes with 0 for one absent everywhere; "
    "score = (pixel accuracy + mean IoU) / 2."
)
_MMSEGMENTATION_RULES = (
    "MMSegmentation's IoUMetric, in percent: aAcc over all labelled pixels; mAcc and mIoU skip classes without a value."
)


def confusion(
    labels: np.ndarray, predictions: np.ndarray, *, num_classes: int, ignore_label: int | None = None
) -> np.ndarray:
    """Counts pixels by ground truth and prediction.

    Args:
      labels: integers of any shape: class ids, or `ignore_label`.
      predictions: integers of the same shape; anything outside [0, num_classes) is no class.
      num_classes: C.
      ignore_label: pixels with this label are left out; inside or outside [0, C), or None.

    Returns:
      int64 (C, C + 1), rows = ground truth; the last column counts predictions that are no class.

    Raises:
      ValueError: if the shapes differ, or a label is neither a class nor ignored.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"labels are {labels.shape} but predictions are {predictions.shape}; give equal shapes.")
    counted = np.ones(labels.shape, bool) if ignore_label is None else labels != ignore_label
    ground_truth = labels[counted].astype(np.int64)
    predicted = predictions[counted].astype(np.int64)
    if ground_truth.size and not 0 <= ground_truth.min() <= ground_truth.max() < num_classes:
        worst = ground_truth.min() if ground_truth.min() < 0 else ground_truth.max()
        raise ValueError(
            f"label {worst} is neither one of {num_classes} classes nor the ignored label ({ignore_label})."
        )
    predicted[(predicted < 0) | (predicted >= num_classes)] = num_classes
    cells = np.bincount(ground_truth * (num_classes + 1) + predicted, minlength=num_classes * (num_classes + 1))
    return cells.astype(np.int64).reshape(num_classes, num_classes + 1)


def class_pixel_counts(
    counts: np.ndarray, ignore_label: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, ground truth and predicted pixels of each class.

    Args:
      counts: (C, C) or (C, C + 1).
      ignore_label: if it is one of the classes, its row is left out and its own counts are 0.

    Returns:
      Three int64 (C,).
    """
    counts = np.array(counts, np.int64)
    classes = len(counts)
    inside = ignore_label is not None and 0 <= ignore_label < classes
    if inside:
        counts[ignore_label] = 0
    true_positives, ground_truth, predicted = np.diagonal(counts).copy(), counts.sum(1), counts[:, :classes].sum(0)
    if inside:
        predicted[ignore_label] = 0
    return true_positives, ground_truth, predicted


def pixel_accuracy(counts: np.ndarray, ignore_label: int | None = None) -> float:
    """Share of the counted pixels that are right; NaN where none is counted."""
    true_positives, ground_truth, _ = class_pixel_counts(counts, ignore_label)
    return float(_ratio(true_positives.sum(), ground_truth.sum()))


def class_accuracy(counts: np.ndarray, ignore_label: int | None = None) -> np.ndarray:
    """(C,) recall of each class: the share of its ground truth that is predicted; NaN where it has none."""
    true_positives, ground_truth, _ = class_pixel_counts(counts, ignore_label)
    return _ratio(true_positives, ground_truth)


def mean_accuracy(counts: np.ndarray, ignore_label: int | None = None) -> float:
    """Mean of `class_accuracy` over the classes in the ground truth."""
    return _mean(class_accuracy(counts, ignore_label))


def iou(counts: np.ndarray, ignore_label: int | None = None) -> np.ndarray:
    """(C,) intersection over union; NaN where a class is in neither ground truth nor prediction."""
    true_positives, ground_truth, predicted = class_pixel_counts(counts, ignore_label)
    return _ratio(true_positives, ground_truth + predicted - true_positives)


def mean_iou(counts: np.ndarray, ignore_label: int | None = None) -> float:
    """Mean of `iou` over the classes that occur."""
    return _mean(iou(counts, ignore_label))


def dice(counts: np.ndarray, ignore_label: int | None = None) -> np.ndarray:
    """(C,) twice the intersection over the sum of both (F1); NaN where a class is in neither."""
    true_positives, ground_truth, predicted = class_pixel_counts(counts, ignore_label)
    return _ratio(2 * true_positives, ground_truth + predicted)


def frequency_weighted_iou(counts: np.ndarray, ignore_label: int | None = None) -> float:
    """IoU weighted by each class's share of the ground truth; NaN where no pixel is counted."""
    _, ground_truth, _ = class_pixel_counts(counts, ignore_label)
    return float(_ratio(np.nansum(ground_truth * iou(counts, ignore_label)), ground_truth.sum()))


def scene_parsing_iou(counts: np.ndarray, ignore_label: int | None = None) -> float:
    """SceneParsing's mean IoU: over all classes but the ignored one, 0 for one that is absent everywhere."""
    kept = np.arange(len(counts)) != ignore_label
    return float(np.nan_to_num(iou(counts, ignore_label)[kept]).mean())


def scene_parsing_score(counts: np.ndarray, ignore_label: int | None = None) -> float:
    """SceneParsing's score: the mean of pixel accuracy and its mean IoU."""
    return (pixel_accuracy(counts, ignore_label) + scene_parsing_iou(counts, ignore_label)) / 2


def summarize(counts: np.ndarray, class_names: tuple[str, ...], ignore_label: int | None = None) -> dict[str, Any]:
    """All measures, ready for JSON: values in [0, 1] as float, None where there is nothing to measure.

    Args:
      counts: (C, C) or (C, C + 1).
      class_names: one a class.
      ignore_label: as it was when counting.

    Returns:
      The headline numbers, `per_class` (without the ignored class) and `conventions`, each with its rules.
    """
    accuracies, ious, dices = (f(counts, ignore_label) for f in (class_accuracy, iou, dice))
    _, ground_truth, predicted = class_pixel_counts(counts, ignore_label)
    headline = {
        value.__name__: _none_for_nan(value(counts, ignore_label))
        for value in (pixel_accuracy, mean_accuracy, mean_iou, frequency_weighted_iou)
    }
    score = _none_for_nan(scene_parsing_score(counts, ignore_label))
    percent = {
        key: _none_for_nan(100 * value(counts, ignore_label))
        for key, value in (("aAcc", pixel_accuracy), ("mAcc", mean_accuracy), ("mIoU", mean_iou))
    }
    return {
        **headline,
        "scene_parsing_score": score,
        "rules": RULES,
        "ignore_label": ignore_label,
        "pixels": int(ground_truth.sum()),
        "per_class": [
            {
                "id": index,
                "name": name,
                "iou": _none_for_nan(ious[index]),
                "accuracy": _none_for_nan(accuracies[index]),
                "dice": _none_for_nan(dices[index]),
                "pixels": int(ground_truth[index]),
                "predicted_pixels": int(predicted[index]),
            }
            for index, name in enumerate(class_names)
            if index != ignore_label
        ],
        "conventions": {
            "fcn": {"rules": _FCN_RULES, **headline},
            "scene_parsing": {
                "rules": _SCENE_PARSING_RULES,
                "pixel_accuracy": headline["pixel_accuracy"],
                "mean_iou": _none_for_nan(scene_parsing_iou(counts, ignore_label)),
                "score": score,
            },
            "mmsegmentation": {"rules": _MMSEGMENTATION_RULES, **percent},
        },
    }


def metric_footnotes(summary: dict[str, Any]) -> dict[str, str]:
    """A few words on how each headline number of metrics.json is defined, to stand beside it.

    Args:
      summary: from `summarize`; with "boundary" from `BoundaryScores.summary` where boundaries were scored.

    Returns:
      {key of the number: its footnote}.
    """
    absent = sum(row["iou"] is None for row in summary["per_class"])
    zeros = f", {absent} absent as 0" if absent else ""
    footnotes = {
        "mean_iou": "over the classes that occur",
        "mean_accuracy": "over the classes in the ground truth",
        "pixel_accuracy": "of all labelled pixels",
        "frequency_weighted_iou": "weighted by area in the ground truth",
        "scene_parsing_score": f"(pixel accuracy + IoU over all {len(summary['per_class'])} classes{zeros}) / 2",
    }
    if summary.get("boundary"):
        boundary = summary["boundary"]
        pixels = " to ".join(dict.fromkeys(f"{each:.1f}" for each in boundary["tolerance_pixels"] or []))
        footnotes["bf"] = f"within {boundary['tolerance']:.2%} of the diagonal" + (f", {pixels} px" if pixels else "")
        footnotes["bf_common"] = "the same, without boundaries on or next to ignored pixels"
    return footnotes


def _ratio(part: Any, whole: Any) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    """Mean of what is not NaN, without NumPy's warning where nothing is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _none_for_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
