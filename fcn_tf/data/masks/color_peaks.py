"""Which colours of coloured masks are classes: those that stand out of compression noise and of blended edges."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fcn_tf.data.masks import notation
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.rules import APART, between
from fcn_tf.data.palette import Color

_LEAST = 0.0002  # share of all pixels that a colour must have to be a class
_CLOSE = 4  # per channel: how far noise moves most of the pixels of a flat area
# Of the pixels within APART // 2 of a class, so many are within _CLOSE of it: over 0.65 in JPEGs of 200x150 at Pillow's
# quality, and under 0.55 around a colour that edges pass through.
_SHARP = 0.6
# In smaller JPEGs classes have over 0.4, too: then their share tells, or that they lie between no two others.
_FAIRLY_SHARP, _SAFE = 0.4, 0.001
_ON_THE_WAY = 24.0  # distance to the line between two colours below which compressed edges between them pass
_MOST = 1024  # colours that are looked at, the most frequent
_OTHERS = 2  # times as many other colours as classes: the edges of the mask are blended
_ON_LINES = 0.8  # share of their pixels that lie between two classes; where three meet, and by sharpening, some do not
_MANY_STEPS = 32  # other colours or more are no classes; fewer may be, and are asked for
_LEAST_CLEAR = 0.75  # share of the pixels that must have the colour of a class


@dataclass(frozen=True)
class Peaks:
    """The colours that stand out.

    Attributes:
      sure: those that must be classes; sorted, black first.
      unsure: those that lie exactly between two more frequent ones: classes, or steps of blended edges.
      share: of the pixels that have exactly a colour of `sure`.
    """

    sure: tuple[Color, ...]
    unsure: tuple[Color, ...]
    share: float


def find(total: Counter[int], *, lossy: bool) -> Peaks:
    """Finds the colours that stand out.

    Args:
      total: {packed colour: pixels} of all masks.
      lossy: whether compression has changed colours.
    """
    packed = np.array(list(total), np.int64)
    counts = np.array(list(total.values()), np.int64)
    points = np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=1).astype(np.int16)
    pixels = counts.sum()
    sure: list[int] = []
    unsure: list[int] = []
    for place in np.argsort(-counts, kind="stable")[:_MOST].tolist():
        if counts[place] < _LEAST * pixels:
            break
        if any(np.abs(points[place] - points[other]).max() < APART for other in (*sure, *unsure)):
            continue
        apart = np.abs(points - points[place]).max(axis=1)
        sharp = counts[apart <= _CLOSE].sum() / counts[apart <= APART // 2].sum()
        known = [notation.unpack(int(packed[other])) for other in sure]
        color = notation.unpack(int(packed[place]))
        if lossy:
            rare = counts[place] < _SAFE * pixels and between(color, known, _ON_THE_WAY)
            if sharp >= _SHARP or (sharp >= _FAIRLY_SHARP and not rare):
                sure.append(place)
        elif sharp >= _SHARP:
            heavy = [each for each, other in zip(known, sure, strict=True) if counts[other] > 2 * counts[place]]
            (unsure if between(color, heavy) else sure).append(place)
    return Peaks(
        tuple(sorted(notation.unpack(int(packed[place])) for place in sure)),
        tuple(sorted(notation.unpack(int(packed[place])) for place in unsure)),
        float(counts[sure].sum() / pixels) if sure else 0.0,
    )


def are_blended(histograms: Sequence[Histogram], found: Peaks) -> bool:
    """Whether the edges of most masks are blended.

    They hold many more colours than classes, each as thin as a line, and most of them lie between two of the classes.
    """
    mixed = [each for each in histograms if each.in_color and each.distinct > 1]
    if len(found.sure) < 2 or 2 * sum(_is_blended(each, found) for each in mixed) <= len(mixed):
        return False
    others = _others(mixed, found).most_common(_MOST)
    on_lines = sum(count for value, count in others if between(notation.unpack(value), found.sure))
    return on_lines >= _ON_LINES * sum(count for _, count in others)


def _others(histograms: Iterable[Histogram], found: Peaks) -> Counter[int]:
    """{packed colour: pixels} of all masks but of the classes."""
    total: Counter[int] = Counter()
    for each in histograms:
        total.update(each.counts)
    for color in found.sure:
        total.pop(notation.pack(color), None)
    return total


def _is_blended(mask: Histogram, found: Peaks) -> bool:
    known = sum(notation.pack(color) in mask.counts for color in found.sure)
    lines = _are_lines(mask, (*found.sure, *found.unsure), noise=_CLOSE)
    return lines and mask.distinct - known > _OTHERS * max(known, 2)


def _are_lines(mask: Histogram, classes: tuple[Color, ...], *, noise: int) -> bool:
    """Whether each other colour has no more pixels than the mask has rows and columns, but for noise around classes."""
    wide = [value for value, count in mask.counts.items() if count > mask.width + mask.height]
    return all(
        any(max(abs(a - b) for a, b in zip(notation.unpack(value), color, strict=True)) <= noise for color in classes)
        for value in wide
    )


def are_clear(histograms: Sequence[Histogram], found: Peaks) -> bool:
    """Whether the colours of `found.sure` are the classes of blended masks, as far as counts can tell.

    They must have most of the pixels, every other colour must be a thin line in every mask, and there must be more
    others than anyone would draw.
    """
    masks = [each for each in histograms if each.in_color]
    many = len(_others(masks, found)) >= _MANY_STEPS
    return many and found.share >= _LEAST_CLEAR and all(_are_lines(each, found.sure, noise=0) for each in masks)
