"""report.html: an evaluation as one page that needs no server, no network and no other file."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn_tf.data.base import DatasetSpec
from fcn_tf.io import images
from fcn_tf.metrics import bootstrap, confusion
from fcn_tf.metrics.per_image import Shown
from fcn_tf.reports import charts, html, tables

_TILES = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "scene_parsing_score")
_LARGEST_TABLE = 25  # classes; beyond, the confusion matrix is a picture
_CONFUSIONS = 12  # rows of the table of confusions
_OPEN = 2  # images of a group that are shown at once; the rest is folded
_NO_CLASS = "(no class)"


def build(
    summary: dict[str, Any],
    counts: np.ndarray,
    spec: DatasetSpec,
    *,
    best: Sequence[Shown] = (),
    worst: Sequence[Shown] = (),
    flags: dict[str, Any] | None = None,
) -> bytes:
    """Makes the page.

    Args:
      summary: the content of metrics.json.
      counts: int64 (C, C) or (C, C + 1), rows = ground truth.
      spec: of the data set.
      best: images to show, most extreme first.
      worst: likewise; those are not shown again among the best.
      flags: of the run's training, by name.

    Returns:
      UTF-8 HTML.
    """
    named = {shown.name for shown in worst}
    boundary = summary.get("boundary")
    shown = counts.copy()
    if spec.ignore_label is not None and 0 <= spec.ignore_label < len(shown):
        shown[spec.ignore_label] = 0
    classes = _classes(summary, spec)
    present = np.flatnonzero(shown.sum(1) + shown[:, : len(shown)].sum(0))
    small = len(present) <= _LARGEST_TABLE
    return html.render(
        "report.html",
        title=f"{spec.name} {summary['split']}: {summary['images']} images",
        subtitle=tables.scored(summary),
        headline=_headline(summary),
        level=bootstrap.LEVEL,
        comparison=summary.get("comparison"),
        classes=classes,
        absent=sum(row["absent"] for row in classes),
        trimap=boundary["trimap_iou"] if boundary else None,
        matrix=_matrix(shown, spec, present) if small else None,
        matrix_picture=None if small else _matrix_picture(shown, spec, present),
        confusions=_confusions(shown, spec),
        groups=[
            {"title": "Worst images", "cards": [_card(each) for each in worst]},
            {"title": "Best images", "cards": [_card(each) for each in best if each.name not in named]},
        ],
        open=_OPEN,
        rules=_rules(summary),
        facts={**_facts(summary), **{f"--{name}": value for name, value in (flags or {}).items()}},
    )


def _headline(summary: dict[str, Any]) -> list[dict[str, Any]]:
    footnotes = confusion.metric_footnotes(summary)
    tiles = [
        {
            "name": tables.HEADLINE[key],
            "value": summary[key],
            "interval": summary["intervals"].get(key),
            "footnote": footnotes[key],
        }
        for key in _TILES
    ]
    if summary.get("boundary"):
        tiles += [
            {"name": name, "value": summary["boundary"][key], "interval": None, "footnote": footnotes[key]}
            for key, name in tables.BOUNDARY.items()
        ]
    return tiles


def _classes(summary: dict[str, Any], spec: DatasetSpec) -> list[dict[str, Any]]:
    """A row a class; shares are of all counted pixels."""
    pixels = max(summary["pixels"], 1)
    boundary = summary.get("boundary")
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "color": tuple(map(int, spec.colors[row["id"]])),
            "absent": not row["pixels"] and not row["predicted_pixels"],
            "values": {
                "iou": row["iou"],
                "accuracy": row["accuracy"],
                "dice": row["dice"],
                **({key: boundary[f"{key}_per_class"][row["name"]] for key in tables.BOUNDARY} if boundary else {}),
                "ground_truth": row["pixels"] / pixels,
                "predicted": row["predicted_pixels"] / pixels,
            },
        }
        for row in summary["per_class"]
    ]


def _matrix(counts: np.ndarray, spec: DatasetSpec, present: np.ndarray) -> dict[str, Any]:
    """Of the classes that occur: rows of shares of the class's ground truth, None where it has none."""
    names = [*spec.class_names, _NO_CLASS]
    columns = [*present, *([len(counts)] if counts[:, len(counts) :].any() else [])]
    totals = counts.sum(1)
    rows = [
        {"name": names[i], "shares": (counts[i, columns] / totals[i]).tolist() if totals[i] else None, "number": place}
        for place, i in enumerate(present)
        if i != spec.ignore_label
    ]
    return {"columns": [names[i] for i in columns], "rows": rows}


def _matrix_picture(counts: np.ndarray, spec: DatasetSpec, present: np.ndarray) -> str:
    picture = charts.confusion_image(counts[np.ix_(present, present)], [spec.class_names[i] for i in present])
    return _uri(images.encode_png(picture), "png")


def _confusions(counts: np.ndarray, spec: DatasetSpec) -> list[dict[str, Any]]:
    """The cells off the diagonal with most pixels."""
    names = [*spec.class_names, _NO_CLASS]
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    return [
        {
            "ground_truth": names[row],
            "prediction": names[column],
            "pixels": int(wrong[row, column]),
            "share": wrong[row, column] / counts[row].sum(),
            "of_errors": wrong[row, column] / wrong.sum(),
        }
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column]
    ]


def _card(shown: Shown) -> dict[str, Any]:
    return {
        "name": shown.name,
        "caption": f"mean IoU {shown.mean_iou:.1%}, pixel accuracy {shown.pixel_accuracy:.1%}",
        "width": shown.size[0],
        "height": shown.size[1],
        "pictures": [
            {"caption": caption, "uri": _uri(data, "png" if data.startswith(b"\x89PNG") else "jpeg")}
            for caption, data in shown.pictures.items()
        ],
    }


def _rules(summary: dict[str, Any]) -> list[str]:
    """How the numbers came about."""
    rules = [summary["rules"], f"Intervals: {summary['intervals']['rules']}"]
    rules += [summary["boundary"]["rules"], summary["boundary"]["common_rules"]] if summary.get("boundary") else []
    return rules + [each["rules"] for each in summary["conventions"].values()]


def _facts(summary: dict[str, Any]) -> dict[str, Any]:
    """What this evaluation was asked, and what it took."""
    facts = {**summary.get("settings", {})}
    for key in ("loss", "seconds", "images_per_second"):
        if summary.get(key) is not None:
            facts[key.replace("_", " ")] = f"{summary[key]:.4g}"
    return facts | {"ignored label": summary["ignore_label"], "counted pixels": f"{summary['pixels']:,}"}


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
