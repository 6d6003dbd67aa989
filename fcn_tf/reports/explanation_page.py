"""The page of --mode=explain: Grad-CAM and receptive fields over the photo, and the fields of all layers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from fcn_tf.data import palette
from fcn_tf.data.palette import Color
from fcn_tf.io import files, images
from fcn_tf.reports import html, panels

THEORETICAL, MEASURED, _POINT = (255, 255, 255), (0, 230, 230), (255, 40, 160)
_BEYOND = (110, 110, 110)  # grey of what lies outside the picture
_MARGIN = 0.5  # of the picture's sides, at most, is shown of what lies beyond
_LIKELY = 5  # classes whose probability at the point is listed
_PANEL_HEIGHT = 200  # pixels


class ShownField(NamedTuple):
    """What one unit sees, ready to be drawn.

    Attributes:
      layer: its name.
      theoretical, measured: (top, left, bottom, right) in pixels, possibly beyond the picture.
      effective_side: see `inference.explanations.Field`.
      gradient: float (H, W) in [0, 1].
    """

    layer: str
    theoretical: tuple[int, int, int, int]
    measured: tuple[int, int, int, int]
    effective_side: float
    gradient: np.ndarray


class LayerRow(NamedTuple):
    """A row of the table of layers.

    Attributes:
      name: of the layer.
      rows, columns: of its map of this picture.
      stride: pixels between neighbouring units.
      side: of the theoretical receptive field, in pixels.
    """

    name: str
    rows: int
    columns: int
    stride: float
    side: int


def write(
    folder: str,
    picture: np.ndarray,
    *,
    name: str,
    model: str,
    class_id: int,
    class_names: Sequence[str],
    colors: Sequence[Color],
    point: tuple[int, int],
    labels: np.ndarray,
    region: np.ndarray,
    probabilities: np.ndarray,
    cams: Mapping[str, np.ndarray],
    fields: Sequence[ShownField],
    layers: Sequence[LayerRow],
) -> str:
    """Writes index.html and its pictures, in place of those of an earlier explanation.

    Args:
      folder: where to.
      picture: uint8 (H, W, 3) RGB.
      name: of the picture.
      model: its path.
      class_id: the class explained.
      class_names: one a class.
      colors: one a class.
      point: row and column.
      labels: predicted class ids (H, W).
      region: bool (H, W), the pixels explained.
      probabilities: (C,) at the point.
      cams: float (H, W) in [0, 1] by layer.
      fields: one a layer.
      layers: the table of layers.

    Returns:
      The path of the page.
    """
    for pattern in ("gradcam_*.png", "field_*.png"):
        for path in files.glob(files.join(folder, pattern)):
            files.remove(path)
    likely = np.argsort(-probabilities, kind="stable")[:_LIKELY]
    pixels = np.bincount(labels.ravel(), minlength=len(class_names))
    present = [int(i) for i in np.argsort(-pixels, kind="stable") if pixels[i]]
    groups = _pictures(picture, point, labels, region, colors, cams, fields)
    drawn = {file: pixels for group in groups.values() for file, (_, pixels) in group.items()}
    rows = [[(caption.split(":")[0], pixels) for caption, pixels in group.values()] for group in groups.values()]
    drawn |= {"scale.png": panels.scale(), "panel.png": panels.grid(rows, height=_PANEL_HEIGHT)}
    for file, pixels in drawn.items():
        files.write_bytes(files.join(folder, file), images.encode_png(pixels))
    page = html.render(
        "explanation.html",
        title=f"{class_names[class_id]} in {name}",
        model=model,
        point=point,
        legend=[{"name": class_names[i], "color": tuple(map(int, colors[i]))} for i in present],
        region=int(region.sum()),
        share=float(region.mean()),
        groups=[
            {"title": title, "pictures": [{"file": file, "caption": text} for file, (text, _) in group.items()]}
            for title, group in groups.items()
        ],
        lines={"theoretical": THEORETICAL, "measured": MEASURED, "point": _POINT},
        likely=[{"name": class_names[i], "probability": float(probabilities[i])} for i in likely],
        layers=layers,
    )
    index = files.join(folder, "index.html")
    files.write_bytes(index, page)
    return index


def write_index(folder: str, names: Mapping[str, str], *, model: str) -> str:
    """Writes index.html, which leads to the explanations of several pictures.

    Args:
      folder: of it.
      names: the folder below it of each picture's explanation, by the picture's name.
      model: its path.

    Returns:
      Its path.
    """
    index = files.join(folder, "index.html")
    entries = [{"name": shown, "folder": name} for shown, name in names.items()]
    files.write_bytes(index, html.render("explanations.html", title="Explanations", model=model, entries=entries))
    return index


def _pictures(picture, point, labels, region, colors, cams, fields) -> dict[str, dict[str, tuple[str, Any]]]:
    """{title: {file: (caption, pixels)}}."""
    outside = np.where(region[..., None], picture, picture // 4)
    return {
        "The prediction": {
            "photo.png": ("photo", _cross(picture, point)),
            "prediction.png": ("prediction", _cross(palette.overlay(picture, labels, colors), point)),
            "region.png": ("explained pixels", _cross(outside, point)),
        },
        "Grad-CAM": {
            f"gradcam_{_safe(layer)}.png": (layer, panels.heat(picture, values)) for layer, values in cams.items()
        },
        "Receptive fields at the point": {
            f"field_{_safe(field.layer)}.png": (_sizes(field), draw_field(picture, point, field)) for field in fields
        },
    }


def draw_field(picture: np.ndarray, point: tuple[int, int], field: ShownField) -> np.ndarray:
    """The photo under the gradient of a unit, with the theoretical and the measured field around it.

    Args:
      picture: uint8 (H, W, 3) RGB.
      point: row and column.
      field: what to draw; where it reaches beyond the picture, so does the drawing, by half the sides at most.

    Returns:
      uint8 (H', W', 3).
    """
    height, width = picture.shape[:2]
    top, left, bottom, right = field.theoretical
    limit = round(height * _MARGIN), round(width * _MARGIN)
    above, before = (min(max(-edge, 0) + 2, most) for edge, most in zip((top, left), limit, strict=True))
    below, after = (
        min(max(edge - side + 1, 0) + 2, most)
        for edge, side, most in zip((bottom, right), (height, width), limit, strict=True)
    )
    # Square root: what counts a little should be seen.
    shown = panels.heat(picture, np.sqrt(field.gradient))
    canvas = cv2.copyMakeBorder(shown, above, below, before, after, cv2.BORDER_CONSTANT, value=_BEYOND)
    thick = max(1, round(max(height, width) / 250))
    for (first, west, last, east), color in ((field.theoretical, THEORETICAL), (field.measured, MEASURED)):
        cv2.rectangle(canvas, (west + before, first + above), (east + before, last + above), color, thick)
    return _cross(canvas, (point[0] + above, point[1] + before))


def _cross(picture: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    size = max(5, round(max(picture.shape[:2]) / 40))
    marked = np.ascontiguousarray(picture)
    marked = marked.copy() if marked is picture else marked
    cv2.drawMarker(marked, (point[1], point[0]), _POINT, cv2.MARKER_CROSS, size, max(1, size // 6))
    return marked


def format_sides(box: tuple[int, int, int, int]) -> str:
    """WIDTHxHEIGHT in pixels of (top, left, bottom, right), the first and the last rows and columns."""
    top, left, bottom, right = box
    return f"{right - left + 1}x{bottom - top + 1}"


def _sizes(field: ShownField) -> str:
    return (
        f"{field.layer}: theoretical {format_sides(field.theoretical)}, measured {format_sides(field.measured)}, "
        f"effective {field.effective_side:.0f}x{field.effective_side:.0f} pixels"
    )


def _safe(layer: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in layer)
