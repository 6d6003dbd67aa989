"""Pictures side by side in one, with gaps and captions; and maps of numbers in colour."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from fcn_tf.io import fonts

_GAP, _FONT_SIZE, _CAPTION = 6, 12, 18  # pixels
_FAINT, _STRONG = 0.25, 0.8  # share of the colour where a map is 0 and where it is 1


def grid(rows: Sequence[Sequence[tuple[str, np.ndarray]]], *, height: int | None = None) -> np.ndarray:
    """Puts pictures in rows, each with its caption above.

    Args:
      rows: (caption, uint8 (H, W, 3)) each; a caption is cut where it is wider than its picture.
      height: pictures are brought to it, enlarged ones without blending; None leaves them as they are.

    Returns:
      uint8 (H', W', 3), white between the pictures.
    """
    cells = [[_cell(caption, picture, height) for caption, picture in row] for row in rows]
    widths = [sum(cell.shape[1] + _GAP for cell in row) + _GAP for row in cells]
    heights = [max(len(cell) for cell in row) + _GAP for row in cells]
    canvas = np.full((sum(heights) + _GAP, max(widths), 3), 255, np.uint8)
    top = _GAP
    for row, row_height in zip(cells, heights, strict=True):
        left = _GAP
        for cell in row:
            canvas[top : top + len(cell), left : left + cell.shape[1]] = cell
            left += cell.shape[1] + _GAP
        top += row_height
    return canvas


def heat(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A photo under a map of numbers, from blue (0) to red (1).

    Args:
      picture: uint8 (H, W, 3) RGB.
      values: float (H, W) in [0, 1].

    Returns:
      uint8 (H, W, 3).
    """
    share = (_FAINT + (_STRONG - _FAINT) * values)[..., None]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    return (grey * (1 - share) + _colors(values) * share).astype(np.uint8)


def scale(width: int = 256, height: int = 14) -> np.ndarray:
    """The colours of `heat` from 0 to 1: uint8 (height, width, 3)."""
    return _colors(np.tile(np.linspace(0, 1, width), (height, 1)))


def _colors(values: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.applyColorMap((255 * values).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)


def _cell(caption: str, picture: np.ndarray, height: int | None) -> np.ndarray:
    if height is not None and height != len(picture):
        size = max(1, round(picture.shape[1] * height / len(picture))), height
        kind = cv2.INTER_AREA if height < len(picture) else cv2.INTER_NEAREST
        picture = cv2.resize(picture, size, interpolation=kind)
    strip = Image.new("RGB", (picture.shape[1], _CAPTION), "white")
    text, font = fonts.lettering(caption, _FONT_SIZE)
    ImageDraw.Draw(strip).text((0, _CAPTION // 2), text, fill="black", font=font, anchor="lm")
    return np.concatenate([np.asarray(strip), picture])
