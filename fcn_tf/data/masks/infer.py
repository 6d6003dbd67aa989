"""Infers how the masks of a data set encode their classes from what they store."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fcn_tf.data.masks import color_peaks, mixed, notation
from fcn_tf.data.masks.color_peaks import Peaks
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.rules import APART, MaskRules
from fcn_tf.data.palette import Color
from fcn_tf.errors import UserError

_USUAL_IGNORE = 255  # what most data sets store for "not labelled"
_SHARPNESS = 0.2  # of the pixels around a true value, at least this share has exactly that value
_LEAST = 0.0002  # share of all pixels that a value in lossy masks must have to be one
_MANY_COLORS = 256
_EXPLAINED = 12  # classes in one line; the rest is counted
_FEW_COLORS = 8  # classes of which blended edges are told; of more, legitimate colours lie between others, too
# What tells masks from photos. The most frequent colours have over 0.65 of the pixels of CamVid's masks, if these are
# coloured and saved as JPEGs, and under 0.6 of those of its photos.
_MOST_VALUES = 100  # of grey in one mask
_LEAST_FREQUENT = 0.6  # share of the pixels of a mask that have one of its most frequent colours
_LEAST_NEAR = 0.75  # share of the pixels of lossy masks that have nearly a value that stands out


@dataclass(frozen=True)
class DeclaredClasses:
    """What flags and files declare about the classes; each may be left open.

    Attributes:
      num_classes: 0 if not declared.
      values: value of class 0, 1, ... from --mask_values.
      colors: colour of class 0, 1, ... from --mask_colors or classes.csv.
      ignore: "auto", "none" or the stored value to be ignored.
      names_file: path of the file that `num_classes` was counted in; "" if a flag gave it.
    """

    num_classes: int = 0
    values: tuple[int, ...] = ()
    colors: tuple[Color, ...] = ()
    ignore: str = "auto"
    names_file: str = ""

    @property
    def count_source(self) -> str:
        """Where the number of classes comes from, to begin or end a clause with."""
        if self.names_file:
            return f"{self.names_file} names {self.num_classes} classes"
        return f"--num_classes={self.num_classes}"


def infer_mask_rules(masks: Mapping[str, Histogram], declared: DeclaredClasses, *, name: str) -> MaskRules:
    """Makes the rules that fit the masks.

    Args:
      masks: what every mask of the data set stores, by its path.
      declared: by the user; the masks decide the rest.
      name: of the data set's folder, for errors.

    Raises:
      UserError: if they allow more than one reading, or contradict what is declared; it names the flags.
    """
    found = list(masks.values())
    if not found:
        raise UserError(
            f"{name}: no mask can be read, so nothing is known about classes; --mode=check names the files."
        )
    ignore = None if declared.ignore in ("auto", "none") else int(declared.ignore)
    in_color = [histogram for histogram in found if histogram.in_color]
    in_values = [histogram for histogram in found if not histogram.in_color]
    if declared.values:
        values: tuple[int, ...] = declared.values
        if declared.ignore == "auto":
            ignore = _usual_ignore(_seen(in_values, values), values)
    elif in_color:
        values = ()  # others among coloured ones are no values: greys and palettes are colours as well
    else:
        values, ignore = _values(in_values, declared, ignore, name)
    colors = declared.colors
    if not values and not colors:
        as_colors = [histogram.in_colors for histogram in found]
        _require_no_photos(as_colors, name)
        mixed.require_one_reading(masks, name=name)
        colors = _colors(as_colors, declared, name)
    count = len(values) or len(colors)
    if declared.num_classes and declared.num_classes != count:
        flag = "--mask_values" if values else "--mask_colors"
        raise UserError(
            f"{declared.count_source}, but there are {count} values or colours of classes ({flag}"
            f"={notation.format_values(values) if values else notation.format_colors(colors)}); give as many.",
            flags=(f"--num_classes={count}",),
        )
    return MaskRules(values, colors if not values or len(colors) == count else (), ignore)


def explain(rules: MaskRules) -> str:
    """One line on which stored value is which class."""
    if rules.values and rules.values == tuple(range(rules.num_classes)):
        line = f"masks hold class ids 0 to {rules.num_classes - 1}"
    else:
        kind = "masks" if rules.values else "masks in colours"
        first, *others = rules.values or rules.colors
        stored = [f"{first} becomes class 0", *(f"{each} class {place}" for place, each in enumerate(others, 1))]
        more = f", ... ({len(stored)} classes)" if len(stored) > _EXPLAINED else ""
        line = f"{kind}: {', '.join(stored[:_EXPLAINED])}{more}"
    return line + ("" if rules.ignore is None else f"; {rules.ignore} is ignored")


def explain_transparent(rules: MaskRules, histograms: Iterable[Histogram]) -> str:
    """One line on what transparent pixels are; "" where there are none, or classes are told by values."""
    found = [] if rules.values else list(histograms)
    transparent = sum(each.transparent for each in found)
    if not transparent:
        return ""
    share = transparent / sum(each.width * each.height for each in found)
    return f"{share:.1%} of the pixels of masks are transparent: they count as black, (0, 0, 0)"


def _values(
    histograms: list[Histogram], declared: DeclaredClasses, ignore: int | None, name: str
) -> tuple[tuple[int, ...], int | None]:
    """The values of the classes, and the ignored one."""
    seen = _meant(histograms, declared, name)
    classes = seen - {ignore}
    if not classes:
        raise UserError(
            f"{name}: masks hold nothing but the ignored value {ignore}; set --ignore_label=none.",
            flags=("--ignore_label=none",),
        )
    wanted = declared.num_classes or len(declared.colors)
    auto = declared.ignore == "auto" and _USUAL_IGNORE in classes
    rest = classes - {_USUAL_IGNORE}
    if wanted:
        identity = tuple(range(wanted))
        if auto and len(rest) > 1 and rest <= set(identity):
            return identity, _USUAL_IGNORE
        if classes <= set(identity) or _gap(classes) < APART:
            return identity, ignore  # reading a file with a value out of range will say so
        if len(classes) == wanted:
            return tuple(sorted(classes)), ignore
        named, others = notation.format_values(tuple(sorted(classes))), tuple(sorted(classes))[:-1]
        flags = [f"--num_classes={len(classes)} --mask_values={named}"]
        if len(others) == wanted:
            flags.append(f"--mask_values={notation.format_values(others)} --ignore_label={max(classes)}")
        raise UserError(
            f"{name}: masks hold {_some(classes)}, but {declared.count_source}; name the value of each class with "
            f"--mask_values={named} and --num_classes={len(classes)}, or say which one is not labelled with "
            "--ignore_label.",
            flags=tuple(flags),
        )
    if auto and len(rest) > 1 and max(rest) < 2 * len(rest):  # ids without many gaps
        return tuple(range(max(rest) + 1)), _USUAL_IGNORE
    top = max(classes)
    if len(classes) > 1 and top < 2 * len(classes):
        return tuple(range(top + 1)), ignore
    if len(classes) > 1 and _gap(classes) >= APART:
        return tuple(sorted(classes)), ignore
    if len(classes) == 1:
        raise UserError(
            f"{name}: every mask holds nothing but {top}, so there is nothing to learn; are these the masks? Say "
            f"--num_classes={max(top + 1, 2)} if they are.",
            flags=(f"--num_classes={max(top + 1, 2)}",),
        )
    raise UserError(
        f"{name}: masks hold {_some(classes)}, which can be read in two ways; say --num_classes={top + 1} if these are "
        f"ids, or --mask_values={notation.format_values(tuple(sorted(classes)[:50]))} if each is a class.",
        flags=(f"--num_classes={top + 1}", f"--mask_values={notation.format_values(tuple(sorted(classes)))}"),
    )


def _meant(histograms: list[Histogram], declared: DeclaredClasses, name: str) -> set[int]:
    """The values that were meant: without compression noise, and without the blended edges of resized masks."""
    seen = {value for histogram in histograms for value in histogram.counts}
    peaks = set(_peaks(histograms))
    if any(histogram.lossy for histogram in histograms):
        if len(seen) > 1 and max(seen) < APART:
            raise UserError(
                f"{name}: masks are JPEGs with values up to {max(seen)}, which compression has blurred into each "
                "other; save them as PNG, or with values far apart such as 0 and 255."
            )
        if _share_near(peaks, histograms) < _LEAST_NEAR:
            raise _photos(name, "they are JPEGs of all greys, in which no values stand out")
        return peaks
    spread = _are_spread(seen - peaks, max(seen, default=0))
    blended = spread and len(seen) > 16 and _gap(peaks) >= APART and _expected(peaks, declared)
    if spread and not blended and max(seen, default=0) < 256:
        # The steps of an edge may stand out as classes do; where they are thin lines in every mask, they are none.
        greys, clear = _of_blended_greys(histograms)
        if greys and _expected(greys, declared):
            if not (clear or declared.num_classes):
                raise _few_steps(name, seen, greys)
            peaks, blended = greys, True
    many = sum(histogram.distinct > _MOST_VALUES for histogram in histograms)
    if not (blended or declared.num_classes) and 2 * many > len(histograms):
        count = max(seen) + 1
        why = (
            f"{many} of {len(histograms)} have over {_MOST_VALUES} values (--num_classes={count} if these are classes)"
        )
        raise _photos(name, why, f"--num_classes={count}")
    return peaks if blended else seen


def _expected(values: set[int], declared: DeclaredClasses) -> bool:
    """Whether these would be no surprise: 0 and 255, or as many as are declared."""
    return values == {0, 255} or len(values) == declared.num_classes


def _are_spread(values: set[int], top: int) -> bool:
    """Whether values lie in the upper half of the range as well, as those of edges do; ids beside 0 and 255 do not."""
    return 4 * sum(2 * value > top for value in values) >= len(values)


def _few_steps(name: str, seen: set[int], peaks: set[int]) -> UserError:
    """What to say of values between 0 and 255 that may be steps of edges, or classes."""
    values = notation.format_values(tuple(sorted(peaks)))
    flags = (f"--num_classes={len(peaks)} --mask_values={values}", f"--num_classes={max(seen) + 1}")
    return UserError(
        f"{name}: masks hold {len(seen)} values, all but {values} in thin lines, as where such masks were resized with "
        f"blending; say so: {flags[0]}; or {flags[1]} if each value is a class.",
        flags=flags,
    )


def _of_blended_greys(histograms: list[Histogram]) -> tuple[set[int], bool]:
    """The values of the classes where the others may be those of blended edges, as of colours; whether they must be."""
    grey = [
        dataclasses.replace(each, in_color=True, counts={v * 0x010101: count for v, count in each.counts.items()})
        for each in histograms
    ]
    found = color_peaks.find(_together(grey), lossy=False)
    blended = color_peaks.are_blended(grey, found)
    return {color[0] for color in found.sure} if blended else set(), color_peaks.are_clear(grey, found)


def _together(histograms: list[Histogram]) -> Counter[int]:
    """{packed colour: pixels} of all masks, greys among them."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        for value, count in histogram.counts.items():
            total[value if histogram.in_color else notation.pack((value & 255,) * 3)] += count
    return total


def _photos(name: str, why: str, *flags: str) -> UserError:
    return UserError(
        f"{name}: the masks look like photos: {why}; have photos and masks changed places, or were masks resized with "
        "blending? Expected one value or one colour for each class.",
        flags=flags,
    )


def _share_near(peaks: set[int], histograms: list[Histogram]) -> float:
    """The share of all pixels that have one of these values, but for noise."""
    counts = [item for histogram in histograms for item in histogram.counts.items()]
    near = sum(count for value, count in counts if any(abs(value - peak) <= APART // 2 for peak in peaks))
    return near / max(sum(count for _, count in counts), 1)


def _gap(values: set[int]) -> int:
    """The least distance between two of the values."""
    ordered = sorted(values)
    return min((second - first for first, second in zip(ordered, ordered[1:], strict=False)), default=0)


def _peaks(histograms: list[Histogram]) -> tuple[int, ...]:
    """The values that stand out of the noise, in order."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update(histogram.counts)
    pixels = sum(total.values())
    peaks: list[int] = []
    for value, count in total.most_common():
        around = sum(total[near] for near in range(value - APART // 2, value + APART // 2 + 1))
        if around < _LEAST * pixels or any(abs(value - peak) < APART for peak in peaks):
            continue
        if count >= _SHARPNESS * around:
            peaks.append(value)
    return tuple(sorted(peaks))


def _require_no_photos(histograms: list[Histogram], name: str) -> None:
    """Raises UserError where most masks in colours have too many of them."""
    frequent = (sum(sorted(each.counts.values())[-_MANY_COLORS:]) / (each.width * each.height) for each in histograms)
    rare = sum(share < _LEAST_FREQUENT for share in frequent)
    if 2 * rare > len(histograms):
        raise _photos(
            name,
            f"in {rare} of {len(histograms)} the {_MANY_COLORS} most frequent colours cover few of the pixels "
            "(--mask_colors names those of the classes)",
        )


def _colors(histograms: list[Histogram], declared: DeclaredClasses, name: str) -> tuple[Color, ...]:
    """The colours of the classes, sorted; black first.

    Those of blended edges are left out where it is clear which these are, as with the values of 0/255 masks.
    """
    total, lossy = _together(histograms), any(histogram.lossy for histogram in histograms)
    wanted = declared.num_classes
    peaks = color_peaks.find(total, lossy=lossy)
    found = peaks.sure if lossy else tuple(sorted(map(notation.unpack, total)))
    if lossy and len(found) < 2:
        raise UserError(
            f"{name}: masks are JPEGs in colours, of which {len(found)} stands out of what compression has blurred; "
            "expected 2 or more. Name the colour of each class (--mask_colors=000000,ff0000), or save masks as PNG."
        )
    few = len(peaks.sure) <= _FEW_COLORS
    if (few or len(found) > _MANY_COLORS) and not lossy and len(found) != wanted:
        if color_peaks.are_blended(histograms, peaks):
            if few and wanted in (0, len(peaks.sure)) and color_peaks.are_clear(histograms, peaks):
                return peaks.sure
            raise _blended(name, len(found), peaks, declared)
    if len(found) > _MANY_COLORS or (wanted and len(found) != wanted):
        chosen = sorted(found, key=lambda color: -total[notation.pack(color)])[: wanted or 6]
        shown = notation.format_colors(tuple(sorted(chosen)))
        raise UserError(
            f"{name}: masks are coded in {len(found)} colours"
            + (f", but {declared.count_source}" if wanted else "")
            + f"; name the colour of each class: --mask_colors={shown}, or in classes.csv (name,r,g,b) in --data_dir.",
            flags=(f"--mask_colors={shown}",) if wanted and len(found) > wanted else (),
        )
    return found


def _blended(name: str, count: int, peaks: Peaks, declared: DeclaredClasses) -> UserError:
    """What to say of `count` colours where counts do not tell classes from blended edges."""
    readings = [peaks.sure] + ([tuple(sorted({*peaks.sure, *peaks.unsure}))] if peaks.unsure else [])
    flags = [f"--num_classes={len(each)} --mask_colors={notation.format_colors(each)}" for each in readings]
    if count <= _MANY_COLORS:
        flags.append(f"--num_classes={count}")  # as many as there are: each is a class
    return UserError(
        f"{name}: masks are coded in {count} colours"
        + (f", but {declared.count_source}" if declared.num_classes else "")
        + ". Most are rare, as where masks were resized with blending or saved as JPEG; name the colours of the "
        "classes: " + "; or ".join(flags) + (" if each colour is a class." if count <= _MANY_COLORS else "."),
        flags=tuple(flags),
    )


def _seen(histograms: list[Histogram], values: tuple[int, ...]) -> set[int]:
    return {value for histogram in histograms if not histogram.lossy for value in histogram.counts} - set(values)


def _usual_ignore(others: set[int], values: tuple[int, ...]) -> int | None:
    """255 where it occurs beside ids that are not it."""
    return _USUAL_IGNORE if _USUAL_IGNORE in others and _USUAL_IGNORE not in values else None


def _some(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values)[:8])) + (", ..." if len(values) > 8 else "")
