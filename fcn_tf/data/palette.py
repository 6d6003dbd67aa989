"""Label ids -> colours, and the pictures made for looking at. No TensorFlow.

A raw label PNG looks black, because class ids are small numbers: everything meant for eyes goes through here.
"""

import colorsys
import functools
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from fcn_tf.io import fonts

Color = tuple[int, int, int]  # red, green and blue in [0, 255]

IGNORED = (224, 224, 224)  # light grey
OPACITY = 0.5  # of the colours in an overlay, unless something else is asked for
_ALIKE = 6.0  # distance in CIE L*a*b* below which colours look the same side by side
_GRID = 18  # levels of each channel that `told_apart` chooses from
_GOLDEN_RATIO = 0.618033988749895
_ROW, _MARGIN, _SWATCH, _FONT_SIZE = 22, 8, 16, 13  # pixels


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Colours for `count` classes, neighbours far apart in hue; the same ones every time.

    Hues step by the golden ratio, which keeps new ones far from old ones; brightness takes three levels.
    """
    colors = []
    for i in range(count):
        colors.append(_rounded(colorsys.hsv_to_rgb((0.58 + i * _GOLDEN_RATIO) % 1, 0.75, (0.95, 0.7, 0.5)[i % 3])))
    return tuple(colors)


def hls_colors(count: int) -> tuple[Color, ...]:
    """Evenly spaced hues for `count` classes, of one lightness and saturation: those of seaborn's hls palette."""
    hues = ((0.01 + place / count) % 1 for place in range(count))
    return tuple(_rounded(colorsys.hls_to_rgb(hue, 0.6, 0.65)) for hue in hues)


def extended(colors: Sequence[Color], count: int) -> tuple[Color, ...]:
    """The first `count` of the colours, and distinct ones where there are not so many."""
    return (*colors[:count], *distinct_colors(count)[len(colors) :])


@functools.lru_cache(maxsize=64)
def told_apart(colors: tuple[Color, ...]) -> tuple[Color, ...]:
    """The same colours, but that no two of them look the same, nor one as what is ignored.

    A class keeps its colour unless one before it has nearly the same; then it gets the most similar one that nobody
    has. The same colours give the same result every time.
    """
    known = [_lab([IGNORED])[0]]
    moved = []
    for place, color in enumerate(_lab(colors)):
        if _apart(color[None], known)[0] < _ALIKE:
            moved.append(place)
        else:
            known.append(color)
    result = list(colors)
    if moved:
        steps = np.linspace(0, 255, _GRID).round().astype(np.uint8)
        free = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        free_lab = _lab(free)
        nearest = _apart(free_lab, known)  # to a colour that is taken
        for place in moved:
            off = np.linalg.norm(free_lab - _lab(colors[place : place + 1]), axis=-1)
            # Where colours run out, the one that is told from the others best.
            best = np.where(nearest >= _ALIKE, off, np.inf).argmin() if (nearest >= _ALIKE).any() else nearest.argmax()
            red, green, blue = free[best].tolist()
            result[place] = (red, green, blue)
            nearest = np.minimum(nearest, np.linalg.norm(free_lab - free_lab[best], axis=-1))
    return tuple(result)


def _lab(colors: Sequence[Color] | np.ndarray) -> np.ndarray:
    """RGB in [0, 255] (N, 3) -> CIE L*a*b* float32 (N, 3), in which distances are as seen."""
    return cv2.cvtColor(np.asarray(colors, np.float32).reshape(1, -1, 3) / 255, cv2.COLOR_RGB2Lab)[0]


def _apart(colors: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """The distance of each colour (N, 3) to the nearest of the others."""
    return np.linalg.norm(colors[:, None] - np.asarray(others)[None], axis=-1).min(axis=1)


def _rounded(shares: tuple[float, float, float]) -> Color:
    red, green, blue = (round(255 * share) for share in shares)
    return red, green, blue


def colorize(labels: np.ndarray, colors: Sequence[Color], ignore_label: int | None = None) -> np.ndarray:
    """Paints every pixel in the colour of its class.

    Args:
      labels: class ids (H, W) of any integer dtype.
      colors: (r, g, b) in [0, 255] a class.
      ignore_label: painted light grey, as is every id without a colour.

    Returns:
      uint8 (H, W, 3) RGB.
    """
    table = np.array([*colors, IGNORED], np.uint8)
    if ignore_label is not None and 0 <= ignore_label < len(colors):
        table[ignore_label] = IGNORED
    ids = np.asarray(labels)
    if ids.dtype == np.uint8:  # most are: looked up as they are
        return np.take(np.concatenate([table, np.full((256, 3), IGNORED, np.uint8)])[:256], ids, axis=0)
    ids = ids.astype(np.int64)
    return table[np.where((ids < 0) | (ids > len(colors)), len(colors), ids)]


def overlay(image: np.ndarray, labels: np.ndarray, colors: Sequence[Color], *, opacity: float = OPACITY) -> np.ndarray:
    """A photo under its classes' colours.

    Args:
      image: uint8 (H, W, 3) RGB.
      labels: class ids (H, W).
      colors: one a class.
      opacity: share of the colour, in [0, 1].

    Returns:
      uint8 (H, W, 3).
    """
    return cv2.addWeighted(image, 1 - opacity, colorize(labels, colors), opacity, 0)


def errors_image(
    image: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray, ignore_label: int | None = None
) -> np.ndarray:
    """The photo in pale grey, wrong pixels red, ignored ones white.

    Args:
      image: uint8 (H, W, 3) RGB.
      ground_truth: class ids (H, W).
      prediction: class ids (H, W).
      ignore_label: the id in `ground_truth` that is not scored, or None.

    Returns:
      uint8 (H, W, 3).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    picture = np.repeat((128 + grey // 3)[..., None], 3, axis=2).astype(np.uint8)
    ground_truth = np.asarray(ground_truth).astype(np.int64)
    picture[ground_truth != np.asarray(prediction).astype(np.int64)] = (220, 30, 30)
    if ignore_label is not None:
        picture[ground_truth == ignore_label] = (255, 255, 255)
    return picture


def legend(names: Sequence[str], colors: Sequence[Color], *, width: int = 640) -> np.ndarray:
    """A table of colours and class names, in as many columns as fit.

    Args:
      names: of the classes to show.
      colors: one a name.
      width: of the result in pixels, at least.

    Returns:
      uint8 (H, W, 3) RGB, black on white.
    """
    lettering = [fonts.lettering(name, _FONT_SIZE) for name in names]
    cell = _SWATCH + 3 * _MARGIN + max((round(font.getlength(text)) for text, font in lettering), default=0)
    columns = max(1, width // cell)
    rows = -(-len(names) // columns)
    picture = Image.new("RGB", (max(width, cell), max(1, rows) * _ROW + _MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for i, ((text, font), color) in enumerate(zip(lettering, colors, strict=True)):
        row, column = divmod(i, columns)
        left, top = column * cell + _MARGIN, row * _ROW + _MARGIN
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH - 2), fill=tuple(map(int, color)))
        middle = top + _SWATCH // 2 - 1
        draw.text((left + _SWATCH + _MARGIN, middle), text, fill="black", font=font, anchor="lm")
    return np.asarray(picture)
