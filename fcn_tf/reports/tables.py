"""The scores of an evaluation as text, CSV and NPZ."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcn_tf.metrics import confusion

HEADLINE = {  # what the scores of a whole split are called, by their keys in metrics.json
    "mean_iou": "mean IoU",
    "mean_accuracy": "mean accuracy",
    "pixel_accuracy": "pixel accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "scene_parsing_score": "SceneParsing score",
}
BOUNDARY = {"bf": "boundary F1 (BF)", "bf_common": "BF, common rule"}  # the same of its "boundary"
_CSV_COLUMNS = ("id", "name", "iou", "accuracy", "dice", "pixels", "predicted_pixels")


def text(summary: dict[str, Any]) -> str:
    """The content of metrics.json as an aligned table, in percent.

    Args:
      summary: from `confusion.summarize`; "intervals", "boundary" and "comparison" are shown where they are there.
    """
    rows = summary["per_class"]
    width = max(map(len, (*HEADLINE.values(), *(row["name"] for row in rows))))
    pixels = max(summary["pixels"], 1)
    lines = [f"{'class':<{width}}  {'IoU %':>6}  {'acc %':>6}  {'Dice %':>6}  {'area %':>6}"]
    for row in rows:
        values = (row["iou"], row["accuracy"], row["dice"], row["pixels"] / pixels)
        lines.append(f"{row['name']:<{width}}  " + "  ".join(map(_percent, values)))
    lines.append("")
    footnotes = confusion.metric_footnotes(summary)
    for key, name in HEADLINE.items():
        interval = summary.get("intervals", {}).get(key)
        bounds = f"{_percent(interval[0])} to {_percent(interval[1]).strip()}" if interval else ""
        lines.append(f"{name:<{width}}  {_percent(summary[key])}  {bounds:<16}  {footnotes[key]}")
    if summary.get("boundary"):
        lines.extend(_boundary(summary["boundary"], footnotes, width))
    if summary.get("comparison"):
        found = summary["comparison"]
        low, high = (100 * bound for bound in found["interval"])
        verdict = "the two runs differ" if found["differs"] else "no difference beyond chance"
        difference = f"{100 * found['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
        lines.append(
            f"mean IoU of {found['scored']} minus that of {found['other_scored']} (--compare={found['other']}): "
            f"{difference}: {verdict}"
        )
    return "\n".join(lines)


def scored(summary: Mapping[str, Any]) -> str:
    """What an evaluation is of: the path of a model, or label images in a folder.

    Args:
      summary: the content of its metrics.json, or nothing where that is not known.
    """
    if not summary:
        return "the evaluation there"
    return str(summary.get("model") or f"label images in {summary.get('predictions')}")


def _boundary(boundary: dict[str, Any], footnotes: dict[str, str], width: int) -> list[str]:
    lines = [f"{name:<{width}}  {_percent(boundary[key])}  {'':16}  {footnotes[key]}" for key, name in BOUNDARY.items()]
    for pixels, value in boundary["trimap_iou"].items():
        lines.append(f"{f'mean IoU within {pixels} px':<{width}}  {_percent(value)}")
    return lines


def per_class_csv(rows: list[dict[str, Any]]) -> bytes:
    """per_class.csv: the "per_class" rows of metrics.json."""
    file = io.StringIO()
    writer = csv.DictWriter(file, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def confusion_npz(counts: np.ndarray, class_names: tuple[str, ...], ignore_label: int | None) -> bytes:
    """confusion.npz.

    Args:
      counts: int64 (C, C), rows = ground truth; or (C, C + 1), whose last column counts predictions that are no class.
      class_names: one a class.
      ignore_label: saved as -1 where nothing is ignored.
    """
    file = io.BytesIO()
    np.savez_compressed(
        file,
        counts=counts,
        class_names=np.array(class_names),
        ignore_label=np.int64(-1 if ignore_label is None else ignore_label),
    )
    return file.getvalue()


def _percent(value: float | None) -> str:
    return f"{'-':>6}" if value is None else f"{100 * value:6.2f}"
