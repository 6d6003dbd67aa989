"""Pictures of numbers: the curves of a run, and a confusion matrix. No TensorFlow."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcn_tf.io import files, fonts
from fcn_tf.io.run_dir import TRAINING_COLUMNS, Run

_PANELS = (
    ("loss (nats)", (("train_loss", "train"), ("val_loss", "cross-entropy, validation"))),
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
    "cross-entropy, validation": "#1f5fbf",  # whatever --loss trains
    "class mean, train": "#8a5a9e",
    "class mean, validation": "#2f8f5b",
}
_MOST_MARKED = 50  # points: more dots than that hide each other
_LARGEST_NAMED = 40  # classes: more names than that cannot be read
_FONT_SIZE, _CELL, _GAP, _SCALE_STEP = 12, 22, 6, 58  # pixels
_SCALE = (0.0, 0.01, 0.05, 0.25, 0.5, 1.0)  # shares whose tones are named below a confusion matrix
_PAPER, _INK = np.array([255, 255, 255]), np.array([8, 48, 107])


def write_curves(run: Run) -> None:
    """Draws history.csv and training.csv to curves.png: loss, accuracy and mean IoU over steps; nothing without rows.

    The training's curves have a point for each of training.csv, and before the first of those, for each validation.
    """
    history, training = run.read_history(), run.read_training()
    if not history:
        return
    earlier = [row for row in history if not training or row["step"] < training[0]["step"]]
    figure, encode = new_figure(12, 3.6)
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
        axes.set_ylim(0, None if title == "loss (nats)" else 1)  # from 0: heights compare
    files.write_bytes(run.curves, encode())


def new_figure(width: float, height: float) -> tuple[Any, Callable[[], bytes]]:
    """An empty figure of matplotlib's, which is imported here, because it takes a while.

    Args:
      width: in inches, of 100 pixels each.
      height: likewise.

    Returns:
      The figure, and what makes a PNG of it once it is drawn.
    """
    # Figure and canvas without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    canvas = FigureCanvasAgg(figure)

    def encode() -> bytes:
        png = io.BytesIO()
        canvas.print_png(png)
        return png.getvalue()

    return figure, encode


def confusion_image(counts: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """A confusion matrix as a picture: each row is a class of the ground truth, dark where its pixels were predicted.

    Args:
      counts: int (C, C) or (C, C + 1), rows = ground truth; a row is shown as shares of its sum.
      class_names: written beside rows and above columns, where there are few enough to read.

    Returns:
      uint8 (H, W, 3) RGB; below the matrix a scale of its tones.
    """
    counts = np.asarray(counts)[:, : len(counts)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cells = _tones(shares)
    named = len(class_names) <= _LARGEST_NAMED
    cell = _CELL if named else max(2, 640 // len(class_names))
    matrix = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    if named:
        matrix[::cell] = matrix[:, ::cell] = 225
        matrix = _with_names(matrix, class_names)
    return _above(matrix, _scale())


def _tones(shares: np.ndarray) -> np.ndarray:
    # Square root: a confusion of a few percent should be seen.
    return (_PAPER + np.sqrt(shares)[..., None] * (_INK - _PAPER)).astype(np.uint8)


def _scale() -> np.ndarray:
    """The tones of `_SCALE` and what they stand for: uint8 (H, W, 3)."""
    texts = [f"{share:.0%}" for share in _SCALE]
    picture = Image.new("RGB", (len(texts) * _SCALE_STEP + _GAP, _CELL + 2 * _GAP), "white")
    draw = ImageDraw.Draw(picture)
    for place, (text, tone) in enumerate(zip(texts, _tones(np.array(_SCALE)).tolist(), strict=True)):
        left = _GAP + place * _SCALE_STEP
        draw.rectangle((left, _GAP, left + _FONT_SIZE, _GAP + _FONT_SIZE), fill=tuple(tone), outline=(160, 160, 160))
        shown, font = fonts.lettering(text, _FONT_SIZE)
        middle = _GAP + _FONT_SIZE // 2 + 1
        draw.text((left + _FONT_SIZE + 4, middle), shown, fill="black", font=font, anchor="lm")
    return np.asarray(picture)


def _above(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Two pictures below each other, white beside the narrower one."""
    canvas = np.full((len(upper) + len(lower), max(upper.shape[1], lower.shape[1]), 3), 255, np.uint8)
    canvas[: len(upper), : upper.shape[1]] = upper
    canvas[len(upper) :, : lower.shape[1]] = lower
    return canvas


def _with_names(matrix: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """A matrix of cells with its names to the left and above."""
    cell = _CELL
    lettering = [fonts.lettering(name, _FONT_SIZE) for name in class_names]
    margin = max(round(font.getlength(text)) for text, font in lettering) + 2 * _GAP
    rows = Image.new("RGB", (margin, len(class_names) * cell), "white")
    columns = rows.copy()
    for number, (text, font) in enumerate(lettering):
        middle = number * cell + cell // 2
        ImageDraw.Draw(rows).text((margin - _GAP, middle), text, fill="black", font=font, anchor="rm")
        ImageDraw.Draw(columns).text((_GAP, middle), text, fill="black", font=font, anchor="lm")
    # Turned to the left, the rows of names become columns in the same order, and are read upwards.
    top = np.rot90(np.asarray(columns))
    corner = np.full((margin, margin, 3), 255, np.uint8)
    return np.concatenate([np.concatenate([corner, top], 1), np.concatenate([np.asarray(rows), matrix], 1)], axis=0)
