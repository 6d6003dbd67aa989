"""Pictures of numbers: the curves of a run, and a confusion matrix. No TensorFlow."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcn_tf.data import palette
from fcn_tf.io import files
from fcn_tf.io.run_dir import TRAINING_COLUMNS, Run

_PANELS = (
    ("loss (nats)", (("train_loss", "train"), ("val_loss", "validation"))),
    (
        "accuracy",
        (
            ("train_pixel_accuracy", "pixels, train"),
            ("val_pixel_accuracy", "pixels, validation"),
            ("train_mean_accuracy", "class mean, train"),
            ("val_mean_accuracy", "class mean, validation"),
        ),
    ),
    ("mean IoU", (("train_mean_iou", "train"), ("val_mean_iou", "validation"))),
)
_STYLES = {"train": ".--", "validation": ".-"}
_COLORS = {
    "train": "#b0761a",
    "validation": "#1f5fbf",
    "class mean, train": "#8a5a9e",
    "class mean, validation": "#2f8f5b",
}
_MOST_MARKED = 50  # points: more dots than that hide each other
_LARGEST_NAMED = 40  # classes: more names than that cannot be read
_FONT_SIZE, _CELL, _GAP = 12, 22, 6  # pixels


def write_curves(run: Run) -> None:
    """Draws history.csv and training.csv to curves.png: loss, accuracy and mean IoU over steps; nothing without rows.

    The training's curves have a point for each of training.csv, and before the first of those, for each validation.
    """
    history, training = run.read_history(), run.read_training()
    if not history:
        return
    earlier = [row for row in history if not training or row["step"] < training[0]["step"]]
    # Here, because it takes a while. Figure and canvas without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, (title, curves) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for column, label in curves:
            rows = [*earlier, *training] if column in TRAINING_COLUMNS else history
            points = [(row["step"], row[column]) for row in rows if row[column] is not None]
            if points:
                part = label.removeprefix("pixels, ")
                style = _STYLES[label.split(", ")[-1]].removeprefix("." if len(points) > _MOST_MARKED else "")
                axes.plot(*zip(*points, strict=True), style, label=label, color=_COLORS[part])
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        if title != "loss (nats)":
            axes.set_ylim(0, 1)
    png = io.BytesIO()
    canvas.print_png(png)
    files.write_bytes(run.curves, png.getvalue())


def confusion_image(counts: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """A confusion matrix as a picture: each row is a class of the ground truth, dark where its pixels were predicted.

    Args:
      counts: int (C, C) or (C, C + 1), rows = ground truth; a row is shown as shares of its sum.
      class_names: written beside rows and above columns, where there are few enough to read.

    Returns:
      uint8 (H, W, 3) RGB.
    """
    counts = np.asarray(counts)[:, : len(counts)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Square root: a confusion of a few percent should be seen.
    tone = np.sqrt(shares)[..., None]
    cells = (255 + tone * (np.array([8, 48, 107]) - 255)).astype(np.uint8)
    named = len(class_names) <= _LARGEST_NAMED
    cell = _CELL if named else max(2, 640 // len(class_names))
    matrix = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    if not named:
        return matrix
    matrix[::cell] = matrix[:, ::cell] = 225
    lettering = palette.font(_FONT_SIZE)
    margin = max(round(lettering.getlength(name)) for name in class_names) + 2 * _GAP
    rows = Image.new("RGB", (margin, len(class_names) * cell), "white")
    columns = rows.copy()
    for number, name in enumerate(class_names):
        middle = number * cell + cell // 2
        ImageDraw.Draw(rows).text((margin - _GAP, middle), name, fill="black", font=lettering, anchor="rm")
        ImageDraw.Draw(columns).text((_GAP, middle), name, fill="black", font=lettering, anchor="lm")
    # Turned to the left, the rows of names become columns in the same order, and are read upwards.
    top = np.rot90(np.asarray(columns))
    corner = np.full((margin, margin, 3), 255, np.uint8)
    return np.concatenate([np.concatenate([corner, top], 1), np.concatenate([np.asarray(rows), matrix], 1)], axis=0)
