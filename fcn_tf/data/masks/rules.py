"""Masks as they occur -> class ids: indices, palettes, 0/255, colours, JPEG noise; or one clear line.

`MaskRules` says which stored value or colour is which class.
"""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fcn_tf.data.masks import notation
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.palette import Color
from fcn_tf.errors import UserError
from fcn_tf.io import texts

# Values at least this far apart can be told apart in spite of compression noise.
APART = 32
_NOISE = APART // 2  # how far noise moves a value
_FEW = 8  # this many unknown values or fewer are classes that nobody declared; more are blended edges
_LINES, _FEW_LINES = 2, 0.25  # a step of an edge has at most so many pixels a row and a column; one of a few steps
_SHOWN = 3  # values in a message
_SHARE = 0.05  # a single unknown value that fills more of a mask is no blended edge


class CountedFromOne(UserError):
    """The values of a mask are out of range in such a way that its ids seem to start at 1."""


@dataclass(frozen=True)
class MaskRules:
    """What a data set's masks mean.

    Attributes:
      values: the value stored for class 0, 1, ..., in masks of one channel; empty: masks are in colours.
      colors: the colour stored for class 0, 1, ..., in masks of three channels; empty: none are taken.
      ignore: the stored value (of masks in colours: the place in `colors`) that is neither trained nor
        scored, or None.
      ignore_color: the colour that is neither trained nor scored, or None.
    """

    values: tuple[int, ...] = ()
    colors: tuple[Color, ...] = ()
    ignore: int | None = None
    ignore_color: Color | None = None

    def __post_init__(self):
        notation.check_values(self.values)
        notation.check_colors(self.colors)
        if self.values and self.colors and len(self.values) != len(self.colors):
            raise UserError(
                f"--mask_values names {len(self.values)} classes but there are {len(self.colors)} colours; "
                "give as many."
            )

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.values) or len(self.colors)

    @property
    def ignore_label(self) -> int | None:
        """The id that ignored pixels get: their class's where they have one, else a number that is no class."""
        if self.ignore is None:
            return None if self.ignore_color is None else self._beyond
        if self.values and self.ignore in self.values:
            return self.values.index(self.ignore)
        if not self.values and self.ignore < len(self.colors):
            return self.ignore
        return self.ignore if self.ignore >= self.num_classes else self._beyond

    @property
    def _beyond(self) -> int:
        return 255 if self.num_classes <= 255 else 65535

    @functools.cached_property
    def known(self) -> dict[bool, dict[int, int]]:
        """{whether in colours: {stored value: class id or `ignore_label`}}."""
        values = {value: place for place, value in enumerate(self.values)}
        if not values:  # a mask of greys alone is decoded to values; greys are colours as well
            values = {color[0]: place for place, color in enumerate(self.colors) if len(set(color)) == 1}
        colors = {notation.pack(color): place for place, color in enumerate(self.colors)}
        if self.values and self.ignore is not None and self.ignore_label is not None:
            values.setdefault(self.ignore, self.ignore_label)
        if self.ignore_color is not None and self.ignore_label is not None:
            colors.setdefault(notation.pack(self.ignore_color), self.ignore_label)
        return {False: values, True: colors}

    def as_read(self, histogram: Histogram) -> Histogram:
        """What counts of a mask: where classes are told by colours, those of a palette image, and black for nothing."""
        return histogram if self.values else histogram.in_colors

    def exact(self, histogram: Histogram) -> dict[int, int]:
        """{stored value: class id or `ignore_label`} for what a mask holds exactly as it was declared."""
        known = self.known[self.as_read(histogram).in_color]
        meant = {} if self.values else histogram.colors
        return {v: known[meant.get(v, v)] for v in histogram.counts if meant.get(v, v) in known}

    def translate(self, histogram: Histogram, *, name: str) -> dict[int, int]:
        """{stored value: class id or `ignore_label`} for everything in a mask.

        Noise and blended edges go to the nearest value, where values are far enough apart for that.

        Raises:
          UserError: naming the file, the value and the flag, if a value is none of these.
        """
        if not self.values and (ids := ids_among_colors(histogram, self.colors)):
            raise UserError(
                f"{name}: the mask holds {texts.some([str(each) for each in ids], _SHOWN)}, which seem to be class ids"
                f"{', and its palette has no colours for them' if histogram.palette else ''}, but the other masks are "
                f"coded in colours; expected {notation.format_colors(self.colors)}. Save it in these colours, or every "
                "mask as class ids."
            )
        if (colored := self.as_read(histogram)) is not histogram:
            kind = " (a palette image, read by its colours)" if histogram.palette else ""
            by_color = self.translate(colored, name=f"{name}{kind}")
            return {value: by_color[color] for value, color in histogram.colors.items()}
        known = self.known[histogram.in_color]
        unknown = {value: count for value, count in histogram.counts.items() if value not in known}
        if not known:
            raise self._wrong_kind(histogram, name)
        if unknown:
            strangers = self._strangers(histogram, unknown)
            if strangers:
                raise self._out_of_range(histogram, strangers, name)
        nearest, _ = _nearest(tuple(unknown), tuple(known), histogram.in_color)
        return {**{v: known[v] for v in histogram.counts if v in known}, **{v: known[n] for v, n in nearest.items()}}

    def _strangers(self, histogram: Histogram, unknown: dict[int, int]) -> dict[int, int]:
        """Those of the unknown values that are neither noise nor blended edges."""
        known = self.known[histogram.in_color]
        if _gap(tuple(known), histogram.in_color) < APART:
            return unknown
        _, distances = _nearest(tuple(unknown), tuple(known), histogram.in_color)
        far = {value: count for value, count in unknown.items() if distances[value] > _NOISE}
        if not histogram.lossy and len(far) <= _FEW:
            # One or two between two others may be classes that nobody declared; several are steps of edges.
            lines = _LINES if len(far) > 2 else _FEW_LINES * histogram.in_color
            most = lines * (histogram.width + histogram.height)
            return {v: count for v, count in far.items() if count > most or not self._on_an_edge(v, histogram)}
        least = max(_SHARE * histogram.width * histogram.height, 16)
        return {value: count for value, count in far.items() if count > least and distances[value] > APART}

    def _on_an_edge(self, value: int, histogram: Histogram) -> bool:
        """Whether a value is what a resize makes of an edge: between two that the mask has."""
        here = tuple(each for each in self.known[histogram.in_color] if each in histogram.counts)
        return between(_points((value,), histogram.in_color)[0], _points(here, histogram.in_color))

    def _wrong_kind(self, histogram: Histogram, name: str) -> UserError:
        shown = ", ".join(notation.show(value, histogram.in_color) for value in list(histogram.counts)[:_SHOWN])
        if histogram.in_color:
            return UserError(
                f"{name}: the mask is coded in colours (such as {shown}), but no colours were given; name one for "
                "each class: --mask_colors=000000,ff0000, or classes.csv with name,r,g,b in --data_dir."
            )
        return UserError(
            f"{name}: the mask holds values (such as {shown}), but only colours were given; name the value of each "
            "class: --mask_values=0,255."
        )

    def _out_of_range(self, histogram: Histogram, strangers: dict[int, int], name: str) -> UserError:
        values = sorted(strangers, key=strangers.__getitem__, reverse=True)
        shown = texts.some([notation.show(value, histogram.in_color) for value in values], _SHOWN)
        pixels = sum(strangers.values())
        what = f"{name}: the mask holds {shown} in {pixels} of {histogram.width * histogram.height} pixels; "
        if histogram.in_color or not self.values:
            colors = notation.format_colors(self.colors)
            if not histogram.in_color and values[0] > 255:
                return UserError(f"{what}expected the colours {colors}, whose channels end at 255. Correct the file.")
            if histogram.transparent and 0 in values:
                what = f"{what}transparent pixels count as (0, 0, 0); "
            first = values[0] if histogram.in_color else notation.pack((values[0],) * 3)  # a grey
            more_colors = f"--mask_colors={colors},{first:06x}"
            return UserError(
                f"{what}expected the colours {colors}. If it is a class of its own, add it: {more_colors}; else "
                "correct the file.",
                flags=(f"--num_classes={len(self.colors) + 1} {more_colors}",),
            )
        expected = notation.format_values(self.values) + ("" if self.ignore is None else f" or {self.ignore} (ignored)")
        if histogram.lossy:
            return UserError(f"{what}expected {expected}. JPEG blurs values that lie so close: save masks as PNG.")
        if max(values) == self.num_classes and self.values == tuple(range(self.num_classes)):
            from_one, one_more = f"--mask_values=1-{self.num_classes}", f"--num_classes={self.num_classes + 1}"
            return CountedFromOne(
                f"{what}expected {expected}. Ids seem to start at 1: set {from_one}, with --ignore_label=0 if 0 means "
                f"'not labelled'; or {one_more}.",
                flags=(from_one, one_more),
            )
        some = notation.format_values(tuple(sorted({*self.values, *values[:8]})))
        every = tuple(sorted({*self.values, *values}))
        flags: tuple[str, ...] = (f"--num_classes={len(every)} --mask_values={notation.format_values(every)}",)
        if len(values) == 1:  # it fixes no more than one value
            flags = (f"--ignore_label={values[0]}", *flags)
        return UserError(
            f"{what}expected {expected}. If {max(values)} means 'not labelled', set --ignore_label={max(values)}; if "
            f"it is a class, name every value: --mask_values={some}.",
            flags=flags,
        )

    def apply(self, pixels: np.ndarray, histogram: Histogram, *, name: str) -> np.ndarray:
        """Stored pixels, as `histogram.decode` gives them -> int32 (H, W) class ids or `ignore_label`.

        Raises:
          UserError: as `translate`.
        """
        if histogram.in_color and histogram.distinct > len(histogram.counts):
            # Too many colours to count: what is left out is rare, and goes to its nearest too.
            self.translate(histogram, name=name)
            known = self.known[True]
            packed, places = np.unique(pixels, return_inverse=True)
            nearest, _ = _nearest(tuple(packed.tolist()), tuple(known), True)
            ids = np.array([known[nearest[value]] for value in packed.tolist()], np.int32)
            return ids[places.reshape(pixels.shape)]
        ids_by_value = self.translate(histogram, name=name)
        values = np.array(sorted(ids_by_value))
        ids = np.array([ids_by_value[value] for value in values.tolist()], np.int32)
        if not values.size:
            return pixels.astype(np.int32)
        if not histogram.in_color and values[-1] < 65536:
            table = np.zeros(values[-1] + 1, np.int32)
            table[values] = ids
            return table[pixels]
        return ids[np.searchsorted(values, pixels)]


def ids_among_colors(histogram: Histogram, colors: Collection[Color]) -> tuple[int, ...]:
    """The values of a mask that must be class ids, so that nearly black greys are not taken for noise around black.

    Args:
      histogram: of a mask of a data set whose classes are told by colours.
      colors: of the classes.

    Returns:
      Its values; () where they may be greys, or a palette gives them colours.
    """
    if histogram.in_color or histogram.lossy:
        return ()
    greys = {value: notation.pack((value, value, value)) for value in histogram.counts if 0 <= value <= _NOISE}
    known = set(map(notation.pack, colors))
    same = all(histogram.colors.get(value, grey) == grey for value, grey in greys.items())
    strange = any(value and grey not in known for value, grey in greys.items())
    return tuple(sorted(greys)) if same and strange and set(histogram.counts) - {255} == set(greys) else ()


def between(color: Color | np.ndarray, others: Sequence[Color] | np.ndarray, tolerance: float = 3.0) -> bool:
    """Whether a colour lies between two others: within `tolerance` of the line from one to the other, off its ends.

    A resize that blends makes such colours of the edge between two areas; rounding moves them by less than 3.

    Args:
      color: (C,), of any number of channels.
      others: (N, C).
      tolerance: in steps of a channel.
    """
    if len(others) < 2:
        return False
    point, known = np.array(color, np.float32), np.array(others, np.float32)
    first, second = np.triu_indices(len(known), 1)
    start, way = known[first], known[second] - known[first]
    place = ((point - start) * way).sum(axis=1) / np.maximum((way**2).sum(axis=1), 1.0)
    off = np.linalg.norm(start + place[:, None] * way - point, axis=1)
    return bool(((place > 0) & (place < 1) & (off <= tolerance)).any())


def _points(values: tuple[int, ...], in_color: bool) -> np.ndarray:
    """Values -> float32 (N, 1) or, of colours, (N, 3)."""
    points = [notation.unpack(value) if in_color else (value,) for value in values]
    return np.array(points, np.float32).reshape(len(values), 3 if in_color else 1)


def _nearest(
    values: tuple[int, ...], known: tuple[int, ...], in_color: bool
) -> tuple[dict[int, int], dict[int, float]]:
    """{value: nearest known value} and {value: distance to it}."""
    if not values:
        return {}, {}
    nearest: dict[int, int] = {}
    distances: dict[int, float] = {}
    targets = _points(known, in_color)
    for start in range(0, len(values), 4096):  # bounds the memory
        part = values[start : start + 4096]
        apart = np.linalg.norm(_points(part, in_color)[:, None] - targets[None], axis=-1)
        places = apart.argmin(axis=1)
        nearest.update(zip(part, [known[place] for place in places], strict=True))
        distances.update(zip(part, apart.min(axis=1).tolist(), strict=True))
    return nearest, distances


def _gap(known: tuple[int, ...], in_color: bool) -> float:
    """The least distance between two known values."""
    if len(known) < 2:
        return 0.0
    points = _points(known, in_color)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(apart[~np.eye(len(known), dtype=bool)].min())
