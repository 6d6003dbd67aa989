"""Masks as pictures for looking at: the same colour for the same class everywhere, and a legend of what is stored."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from fcn_tf.data import palette
from fcn_tf.data.base import Dataset
from fcn_tf.data.masks import histogram, notation
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.palette import Color
from fcn_tf.data.quality import screening
from fcn_tf.errors import UserError
from fcn_tf.io import texts

_LISTED = 8  # entries of a legend; the rest is counted
_NAMED = 3  # stored values of one entry
_STRANGERS = 256  # colours for what is no class, by value


class Entry(NamedTuple):
    """A line of a mask's legend.

    Attributes:
      color: as painted.
      text: what is stored, and which class it is.
    """

    color: Color
    text: str


class MaskPainter:
    """Paints the masks of one data set.

    A class has its own colour, ignored pixels are light grey. A value that is no class has a colour by its number, the
    same in every mask; a stored colour that is no class is shown as it is.

    Args:
      dataset: whose classes they show; None where these are not known.
    """

    def __init__(self, dataset: Dataset | None):
        self._spec = None if dataset is None else dataset.spec
        self._rules = None if dataset is None else screening.rules_of(dataset)
        classes = len(self._spec.colors) if self._spec else 0
        self._strangers = palette.distinct_colors(classes + _STRANGERS)[classes:]

    def paint(self, data: bytes) -> tuple[np.ndarray, list[Entry]]:
        """A mask file -> uint8 (H, W, 3) RGB and its legend, most pixels first.

        Raises:
          UserError: if it cannot be decoded.
        """
        pixels, stored = histogram.decode(data, name="")
        values, places = np.unique(pixels, return_inverse=True)
        classes = self._classes(stored)
        table = [self._color(int(value), classes, stored.in_color) for value in values]
        painted = np.array(table, np.uint8)[places.reshape(pixels.shape)]
        return painted, self._legend(stored, classes)

    def stored_as(self, label: int) -> str:
        """What masks hold for a class: its value, its colour, or either."""
        if self._rules is None:
            return ""
        values, colors = self._rules.values[label : label + 1], self._rules.colors[label : label + 1]
        return " or ".join([*map(str, values), *(notation.show(notation.pack(color), True) for color in colors)])

    def _classes(self, stored: Histogram) -> dict[int, int]:
        """{stored value: class id or ignored label}, without those that are neither."""
        if self._rules is None:
            return {}
        try:
            return self._rules.translate(stored, name="")
        except UserError:  # a finding says so
            return self._rules.exact(stored)

    def _color(self, value: int, classes: dict[int, int], in_color: bool) -> Color:
        label = classes.get(value)
        if label is None:
            return notation.unpack(value) if in_color else self._strangers[value % _STRANGERS]
        if self._spec is None or label == self._spec.ignore_label or label >= len(self._spec.colors):
            return palette.IGNORED
        red, green, blue = self._spec.colors[label]
        return int(red), int(green), int(blue)

    def _legend(self, stored: Histogram, classes: dict[int, int]) -> list[Entry]:
        groups: dict[tuple[bool, int], list[int]] = {}  # (whether a class, class or value): stored values
        for value in stored.counts:
            key = (True, classes[value]) if value in classes else (False, value)
            groups.setdefault(key, []).append(value)
        order = sorted(groups.items(), key=lambda group: -sum(stored.counts[value] for value in group[1]))
        entries = []
        for (known, number), values in order[:_LISTED]:
            text = _some(values, stored.in_color)
            if self._rules is not None:
                text += f": {self._name(number) if known else 'no class'}"
            entries.append(Entry(self._color(values[0], classes, stored.in_color), text))
        more = len(order) - _LISTED
        return entries + ([Entry(palette.IGNORED, f"and {more} more")] if more > 0 else [])

    def _name(self, label: int) -> str:
        if self._spec is None or label == self._spec.ignore_label or label >= self._spec.num_classes:
            return "ignored"
        return self._spec.class_names[label]


def _some(values: Collection[int], in_color: bool) -> str:
    ordered = sorted(values)
    if in_color or len(ordered) <= _NAMED:
        return texts.some([notation.show(value, in_color) for value in ordered], _NAMED)
    return f"{ordered[0]} to {ordered[-1]} ({len(ordered)} values)"
