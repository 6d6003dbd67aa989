"""The trials of --mode=search as a table, a CSV file and a picture. No TensorFlow."""

import csv
import io
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from fcn_tf.reports import charts

_COLORS = ("#1f5fbf", "#b0761a", "#2f8f5b", "#8a5a9e")
_MARKERS = "os^Dvp"


class Trial(NamedTuple):
    """One training.

    Attributes:
      folder: its --logs_dir.
      score: the best mean IoU of its validations, in [0, 1]; None where it failed.
      values: of the flags that were tried, by name.
    """

    folder: str
    score: float | None
    values: dict[str, Any]


def table(trials: Sequence[Trial]) -> str:
    """Aligned text, the best first."""
    order = sorted(trials, key=lambda trial: -1.0 if trial.score is None else trial.score, reverse=True)
    names = list(dict.fromkeys(name for trial in order for name in trial.values))
    cells = [["mean IoU", *names, "trial"]]
    for trial in order:
        score = "failed" if trial.score is None else f"{trial.score:.4f}"
        cells.append([score, *(_text(trial.values.get(name, "")) for name in names), os.path.basename(trial.folder)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells)


def csv_of(trials: Sequence[Trial]) -> bytes:
    """search.csv: a row a trial, in their order; no score where it failed."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "mean_iou", *names])
    for trial in trials:
        score = "" if trial.score is None else trial.score
        writer.writerow([os.path.basename(trial.folder), score, *(trial.values.get(name, "") for name in names)])
    return file.getvalue().encode()


def chart(trials: Sequence[Trial]) -> bytes:
    """search.png: the scores in the order of the trials, and over the learning rate by crop and class weights."""
    figure, encode = charts.new_figure(12, 3.8)
    history, rates = figure.subplots(1, 2)
    scored = [(number, trial) for number, trial in enumerate(trials, 1) if trial.score is not None]
    scores = [trial.score for _, trial in scored]
    history.plot([number for number, _ in scored], scores, "o", color=_COLORS[0], label="trial")
    best = [max(scores[: place + 1]) for place in range(len(scores))]  # type: ignore[type-var]
    history.step([number for number, _ in scored], best, where="post", color=_COLORS[1], label="best so far")
    history.set_xlabel("trial")
    kinds = {
        name: sorted({trial.values[name] for _, trial in scored}, key=str) for name in ("image_size", "class_weights")
    }
    for size_place, size in enumerate(kinds["image_size"]):
        for weights_place, weights in enumerate(kinds["class_weights"]):
            points = [
                (trial.values["learning_rate"], trial.score)
                for _, trial in scored
                if (trial.values["image_size"], trial.values["class_weights"]) == (size, weights)
            ]
            if points:
                marker = _MARKERS[size_place % len(_MARKERS)]
                color = _COLORS[weights_place % len(_COLORS)]
                label = f"crop {size}, class weights {weights}"
                rates.plot(*zip(*points, strict=True), marker, color=color, label=label)
    rates.set_xlabel("learning rate")
    rates.set_xscale("log")
    history.xaxis.get_major_locator().set_params(integer=True)
    for axes, place in ((history, {}), (rates, {"loc": "upper left", "bbox_to_anchor": (1, 1)})):
        axes.set_ylabel("best mean IoU on validation")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small", **place)
    return encode()


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
