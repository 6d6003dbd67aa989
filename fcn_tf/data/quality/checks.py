"""The checks of --mode=check: each makes findings, with the flag or command that fixes them."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_tf.data.base import DatasetSpec, Example
from fcn_tf.data.masks import infer, notation
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.rules import CountedFromOne, MaskRules, ids_among_colors
from fcn_tf.data.quality import screening
from fcn_tf.data.quality.findings import Commands, Finding, alternatives
from fcn_tf.data.quality.scan import FileScanCache, MaskInfo, PhotoInfo
from fcn_tf.errors import UserError
from fcn_tf.io import texts

_ALIKE = 6  # of 256 bits may differ between two copies of a picture, one of them compressed again or resized
_BLACK, _DIM = (1 << 12) - 1, (1 << 14) - 1  # the highest values of 12 and 14 bits, in files of 16
_PLAIN = 16  # a picture with fewer bits set is too plain to be told from others
_CLASSES_SHOWN = 8  # in a finding; the rest is counted

PixelCounts = dict[str, dict[str, dict[int, int]]]  # {split: {path of the mask: {class id or ignore label: pixels}}}


@dataclass(frozen=True)
class Split:
    """A split's examples and what was found in their files, by path."""

    examples: tuple[Example, ...]
    photos: dict[str, PhotoInfo]
    masks: dict[str, MaskInfo]


def scan(splits: Mapping[str, tuple[Example, ...]], cache: FileScanCache) -> dict[str, Split]:
    """Scans the files of every split."""
    return {name: Split(part, cache.photos(part), cache.masks(part)) for name, part in splits.items()}


def find(
    splits: dict[str, Split],
    rules: MaskRules | None,
    spec: DatasetSpec | None,
    *,
    commands: Commands,
    settable: bool = True,
    reseed: str = "",
) -> tuple[list[Finding], PixelCounts]:
    """Runs every check over the files.

    Args:
      splits: from `scan`.
      rules: what the masks mean, None if that is not known.
      spec: of the data set, None if that is not known.
      commands: makes what fixes files.
      settable: whether flags say what masks mean, because the classes are inferred.
      reseed: the flag that makes another split, "" where the split is given.

    Returns:
      The findings, errors first; and the pixels of each class in each mask, in order.
    """
    found = _files(splits, commands) + _dark(splits)
    pixel_counts: PixelCounts = {name: {} for name in splits}
    if rules is not None and spec is not None:
        pixel_counts, refused = _class_pixels(splits, rules)
        inexact = _inexact(splits, rules, pixel_counts)
        found += _strangers(splits, refused, rules, settable)
        found += _stored_values(rules, settable, inexact=bool(inexact))
        found += _blended(inexact, rules, settable)
        found += _never_zero(rules, pixel_counts, settable)
        found += _contents(splits, pixel_counts, spec, commands)
        found += _missing(pixel_counts, spec, reseed)
    found += _formats(splits, rules, settable) + _copies(splits, commands)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.severity]), pixel_counts


def _files(splits: dict[str, Split], commands: Commands) -> list[Finding]:
    photos = {path: photo for split in splits.values() for path, photo in split.photos.items()}
    labels = {path: mask for split in splits.values() for path, mask in split.masks.items()}
    unreadable = [path for path, info in photos.items() if info.error]
    unreadable += [path for path, info in labels.items() if info.error]
    unequal: list[str] = []
    turned: dict[int, list[str]] = {}  # by EXIF orientation
    unsure: dict[int, list[str]] = {}
    for split in splits.values():
        for example in split.examples:
            photo, mask = split.photos[example.image], split.masks.get(example.label or "", MaskInfo())
            if photo.error or mask.histogram is None or example.label is None:
                continue
            size, way = (mask.histogram.width, mask.histogram.height), photo.orientation
            if size == (photo.width, photo.height):
                # Upside down, mirrored or square: the size does not tell whether the mask was turned as well.
                if 2 <= way <= 4 or (way > 4 and photo.width == photo.height):
                    unsure.setdefault(way, []).append(example.label)
            elif way > 4 and size == (photo.height, photo.width):
                turned.setdefault(way, []).append(example.label)
            else:
                unequal.append(example.label)
    found = []
    if unreadable:
        first = photos[unreadable[0]].error if unreadable[0] in photos else labels[unreadable[0]].error
        what = "These files are damaged, truncated or no pictures"
        explanation, left_out = f"{what}: training refuses them. The first: {first}", f"{what}. The first: {first}"
        fix = "Copy them again, or leave their pairs out with --on_bad_example=skip"
        found.append(Finding("unreadable", "error", explanation, fix, tuple(unreadable), left_out=left_out))
    if turned:
        explanation = "The photos are turned by their EXIF data, their masks are not: labels lie on the wrong pixels."
        finding = _turning("exif_turned", "error", explanation, "Turn the masks as well", turned, commands)
        found.append(dataclasses.replace(finding, left_out=explanation))
    if unsure:
        explanation = (
            "The photos are turned by their EXIF data; whether their masks were turned too, their size does not say. "
            "index.html shows both."
        )
        fix = "Nothing where a mask fits as it is; where only the turned one fits, turn it, once"
        found.append(_turning("exif_unsure", "warning", explanation, fix, unsure, commands))
    if unequal:
        explanation = "These masks have another size than their photos, so their pixels do not belong together."
        fix = "Make them again at the photo's size without blending, or leave them out with --on_bad_example=skip"
        found.append(Finding("size_mismatch", "error", explanation, fix, tuple(unequal), left_out=explanation))
    return found


def _dark(splits: dict[str, Split]) -> list[Finding]:
    """Photos of 16 bits that have so small values that they become black, nearly so, or dim."""
    photos = {path: photo for split in splits.values() for path, photo in split.photos.items() if photo.highest}
    dark = {path: photo for path, photo in photos.items() if photo.darkness}
    if photos and _BLACK < (highest := max(photo.highest for photo in photos.values())) <= _DIM:
        # One such photo alone may be of dim light; where all are, it is worth saying, whatever the cause.
        explanation = (
            f"No photo of 16 bits has a value above {highest} of 65535: of the upper 8 bits, which count, no more than "
            f"{highest >> 8} of 255 is used. So the photos become dim, as those of 14 bits do."
        )
        fix = (
            "Nothing where they were taken in dim light; if they are of 14 bits, multiply all of them, and photos that "
            "are labelled later, by 4, and save them in 16 bits"
        )
        return [Finding("dim_photos", "warning" if dark else "note", explanation, fix, tuple(photos))]
    if not dark:
        return []
    # The brightest says how many bits they have: a factor of its own for each would make dark photos bright.
    brightest = max(dark, key=lambda path: dark[path].highest)
    explanation = (
        "Of 16 bits the upper 8 count, and these photos leave them (nearly) empty: little can be learned from them. "
        f"The brightest, {brightest}, has {dark[brightest].darkness}."
    )
    fix = (
        "Nothing where they were taken in the dark; else multiply all of them, and photos that are labelled later, by "
        "that one number, and save them in 16 bits"
    )
    return [Finding("dark_photos", "warning", explanation, fix, tuple(dark))]


def _turning(
    kind: str, severity: str, explanation: str, fix: str, by_way: dict[int, list[str]], commands: Commands
) -> Finding:
    """A finding about masks that are fixed by turning, a command for each way."""
    turns = tuple(commands.turn(paths, way, name=kind) for way, paths in by_way.items())
    paths = tuple(path for group in by_way.values() for path in group)
    return Finding(kind, severity, explanation, fix, paths, turns)


def _class_pixels(splits: dict[str, Split], rules: MaskRules) -> tuple[PixelCounts, dict[str, UserError]]:
    """The pixels of each class in each mask; and by the paths of masks that hold what is no class, what that is."""
    pixel_counts: PixelCounts = {name: {} for name in splits}
    refused: dict[str, UserError] = {}
    for name, split in splits.items():
        for path, mask in split.masks.items():
            if mask.histogram is None:
                continue
            try:
                pixel_counts[name][path] = screening.class_pixels(mask.histogram, rules, name=path)
            except UserError as error:
                refused[path] = error
    return pixel_counts, refused


def _strangers(
    splits: dict[str, Split], refused: dict[str, UserError], rules: MaskRules, settable: bool
) -> list[Finding]:
    """Masks that hold what is no class."""
    from_one = [path for path, error in refused.items() if isinstance(error, CountedFromOne)]
    others = [path for path, error in refused.items() if not isinstance(error, CountedFromOne)]
    found = []
    for kind, paths, explanation in (
        ("off_by_one", from_one, "These masks count classes from 1: the last one is out of range."),
        ("out_of_range", others, "These masks hold values that are no class: training stops when it meets one."),
    ):
        if not paths:
            continue
        first = str(refused[paths[0]]).removeprefix(f"{paths[0]}: ")
        flags = refused[paths[0]].flags if paths is from_one else _flags_for_all(splits, paths, rules)
        # Where classes are known, what is left to say is what is not labelled.
        flags = tuple(each for each in flags if settable or each.startswith("--ignore_label"))
        fix = alternatives(flags) or "Correct the files"
        found.append(Finding(kind, "error", f"{explanation} The first: {first}", fix, tuple(paths)))
    return found


def _stored_values(rules: MaskRules, settable: bool, *, inexact: bool) -> list[Finding]:
    """Which value is which class, where that is not its own number; `inexact`: some values lie between these."""
    if not rules.values or _are_ids(rules):
        return []
    value = notation.format_values(rules.values)
    others = "; values between go to the nearest" if inexact else ""
    explanation = f"Masks hold {value}: the first becomes class 0, the next class 1, and so on{others}."
    fix = f"--num_classes={len(rules.values)} --mask_values={value}" if settable else ""
    return [Finding("zero_255" if rules.values == (0, 255) else "values", "note", explanation, fix)]


def _never_zero(rules: MaskRules, pixel_counts: PixelCounts, settable: bool) -> list[Finding]:
    """Masks whose values are class ids, without a 0 in any of them."""
    seen = {label for split in pixel_counts.values() for counts in split.values() for label in counts}
    if not _are_ids(rules) or rules.ignore == 0 or 0 in seen or 1 not in seen:
        return []
    explanation = "No mask holds a 0: classes seem to be counted from 1, and class 0 would never be learned."
    last = len(rules.values) - 1
    fix = f"--num_classes={last} --mask_values=1-{last}" if settable else "Subtract 1 from every mask, if that is so"
    return [Finding("off_by_one", "warning", explanation, fix)]


def _are_ids(rules: MaskRules) -> bool:
    """Whether masks store class ids as they are."""
    return bool(rules.values) and rules.values == tuple(range(rules.num_classes))


def _inexact(splits: dict[str, Split], rules: MaskRules, pixel_counts: PixelCounts) -> dict[str, tuple[Histogram, int]]:
    """{path of a mask: what it stores, and how many of its pixels are not exactly of a class, but nearest to one}."""
    found = {}
    for name, split in splits.items():
        for path, mask in split.masks.items():
            if mask.histogram is not None and path in pixel_counts[name]:
                exact = sum(mask.histogram.counts[value] for value in rules.exact(mask.histogram))
                if off := mask.histogram.width * mask.histogram.height - exact:
                    found[path] = mask.histogram, off
    return found


def _blended(inexact: dict[str, tuple[Histogram, int]], rules: MaskRules, settable: bool) -> list[Finding]:
    """Masks whose edges were blended; those of JPEGs have a finding of their own."""
    blended = {path: each for path, each in inexact.items() if not each[0].lossy}
    if not blended:
        return []
    share = sum(off for _, off in blended.values()) / sum(each.width * each.height for each, _ in blended.values())
    explanation = (
        f"{share:.2%} of the pixels of these masks have other values or colours than the classes, as edges do that a "
        "resize has blended. Each goes to the nearest class."
    )
    fix = "Make the masks again without blending (nearest neighbour) where edges matter"
    if settable:
        stored = "values" if rules.values else "colors"
        named = notation.format_values(rules.values) if rules.values else notation.format_colors(rules.colors)
        fix += f"; to keep this reading, add --num_classes={rules.num_classes} --mask_{stored}={named}"
    return [Finding("blended_edges", "warning", explanation, fix, tuple(blended))]


def _flags_for_all(splits: dict[str, Split], paths: list[str], rules: MaskRules) -> tuple[str, ...]:
    """The flags that fix the values of all of these masks together; () where there are none."""
    held = {path: mask.histogram for split in splits.values() for path, mask in split.masks.items()}
    found = [rules.as_read(histogram) for path in paths if (histogram := held[path])]
    counts: Counter[int] = Counter()
    for histogram in found:
        counts.update(histogram.counts)
    if len({histogram.in_color for histogram in found}) > 1:
        return ()  # values and colours have no flag in common
    smallest = min(found, key=lambda histogram: histogram.width * histogram.height)
    together = dataclasses.replace(smallest, counts=dict(counts), lossy=any(histogram.lossy for histogram in found))
    try:
        rules.translate(together, name="")
    except UserError as error:
        return error.flags
    return ()


def _contents(
    splits: dict[str, Split],
    pixel_counts: PixelCounts,
    spec: DatasetSpec,
    commands: Commands,
) -> list[Finding]:
    """Masks without a labelled pixel, or with class 0 alone."""
    held = [(path, set(counts)) for split in pixel_counts.values() for path, counts in split.items()]
    empty = [path for path, labels in held if not labels - {spec.ignore_label}]
    single = [path for path, labels in held if labels == {0} and spec.ignore_label != 0]
    photos = {example.label: example.image for split in splits.values() for example in split.examples}
    found = []
    for kind, paths, explanation in (
        ("empty", empty, "In these masks every pixel is ignored: they add nothing to the loss, and do no harm."),
        (
            "one_class",
            single,
            "These masks hold nothing but class 0: right for a photo without objects, else unfinished.",
        ),
    ):
        if paths:
            pairs = [each for path in paths for each in (path, photos[path])]
            fix = "Nothing if that is meant, else remove them with their photos"
            found.append(Finding(kind, "warning", explanation, fix, tuple(paths), (commands.remove(pairs, name=kind),)))
    return found


def _missing(pixel_counts: PixelCounts, spec: DatasetSpec, reseed: str) -> list[Finding]:
    """Classes that a split is without."""
    found = []
    present = {
        name: {label for counts in split.values() for label in counts} for name, split in pixel_counts.items() if split
    }
    for name, labels in present.items():
        missing = [
            spec.class_names[label]
            for label in range(spec.num_classes)
            if label not in labels and label != spec.ignore_label
        ]
        if missing:
            shown = texts.some(missing, _CLASSES_SHOWN)
            explanation = f"{len(missing)} of {spec.num_classes} classes never occur in {name}: {shown}."
            fix = f"Another split may have them: {reseed}; or add" if reseed else "Nothing if that is meant, else add"
            found.append(Finding("missing_class", "warning", explanation, f"{fix} examples of them to {name}"))
    return found


def _formats(splits: dict[str, Split], rules: MaskRules | None, settable: bool) -> list[Finding]:
    known = [
        (path, mask.histogram) for split in splits.values() for path, mask in split.masks.items() if mask.histogram
    ]
    found = []
    lossy = tuple(path for path, histogram in known if histogram.lossy)
    if lossy:
        explanation, fix = "These masks are JPEGs: compression blurs their values", "Save them as PNG"
        if rules:  # without, an error says what is wrong with them
            explanation, fix = (
                f"{explanation}, which are taken for the nearest class",
                "Nothing to do; save new masks as PNG",
            )
        found.append(Finding("jpeg_masks", "note", f"{explanation}.", fix, lossy))
    colors = rules.colors if rules and not rules.values else ()
    by_palette = tuple(path for path, each in known if colors and each.palette and not ids_among_colors(each, colors))
    if by_palette:
        explanation = "These masks are palette images among masks in colours: read by the colours of their palettes."
        found.append(Finding("palette_masks", "note", explanation, "", by_palette))
    transparent = tuple(path for path, each in known if colors and each.transparent)
    if rules and (line := infer.explain_transparent(rules, [histogram for _, histogram in known])):
        found.append(Finding("transparent_masks", "note", f"{line}.", "", transparent))
    colored = tuple(path for path, histogram in known if histogram.in_color)
    if colored:
        explanation = "These masks are coded in colours."
        colors = rules.colors if rules and settable else ()
        fix = f"Nothing; this says the same: --mask_colors={notation.format_colors(colors)}" if colors else ""
        found.append(Finding("color_masks", "note", explanation, fix, colored))
    return found


def _copies(splits: dict[str, Split], commands: Commands) -> list[Finding]:
    """Pictures of the training split that are in the validation split as well."""
    if not {"train", "validation"} <= splits.keys():
        return []
    sides = []
    for name in ("train", "validation"):
        known = [(path, photo.fingerprint) for path, photo in splits[name].photos.items() if photo.fingerprint]
        bits = [np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for _, text in known]
        sides.append(([path for path, _ in known], np.array(bits, np.float32).reshape(len(known), 256)))
    (paths, train_bits), (others, other_bits) = sides
    pairs: list[str] = []
    for start in range(0, len(paths), 2048):  # bounds the memory
        part = train_bits[start : start + 2048]
        apart = part.sum(1)[:, None] + other_bits.sum(1)[None] - 2 * part @ other_bits.T
        alike = (apart <= _ALIKE) & (part.sum(1)[:, None] >= _PLAIN)
        for row, column in np.argwhere(alike):
            pairs += [paths[start + row], others[column]]
    if not pairs:
        return []
    labels = {example.image: example.label for example in splits["validation"].examples}
    doomed = [each for path in dict.fromkeys(pairs[1::2]) for each in (path, labels[path]) if each]
    explanation = "The same picture is in train and in validation: the score will look better than it is."
    fix = "Remove those of validation with their masks"
    return [
        Finding("duplicates", "warning", explanation, fix, tuple(pairs), (commands.remove(doomed, name="duplicates"),))
    ]


def without_skipped(found: list[Finding], splits: Mapping[str, Split]) -> list[Finding]:
    """The findings under --on_bad_example=skip: no errors, unless a split would be left without examples."""
    bad = {path for finding in found if finding.left_out for path in finding.files}
    if any(all({e.image, e.label} & bad for e in split.examples) for split in splits.values()):
        return found
    fix = "Nothing: --on_bad_example=skip leaves them out with their pairs"
    return [
        dataclasses.replace(finding, severity="warning", explanation=finding.left_out, fix=fix)
        if finding.left_out
        else finding
        for finding in found
    ]


def image_sizes(split: Split) -> dict[str, list[int]]:
    """{"smallest": [width, height], "largest": ...} of the photos, by pixels; {} if none can be read."""
    sizes = [(info.width * info.height, info.width, info.height) for info in split.photos.values() if not info.error]
    return {"smallest": list(min(sizes)[1:]), "largest": list(max(sizes)[1:])} if sizes else {}


def class_table(
    pixel_counts: PixelCounts, spec: DatasetSpec, weights: tuple[float, ...] | None
) -> list[dict[str, Any]]:
    """A row a class for check.json: id, name, weight, and by split its share of the pixels and its number of images.

    Args:
      pixel_counts: from `find`.
      spec: of the data set.
      weights: one a class, as `class_weights.balanced` makes them; None to leave them out.
    """
    rows: list[dict[str, Any]] = [
        {"id": number, "name": name, **({"weight": weights[number]} if weights else {})}
        for number, name in enumerate(spec.class_names)
    ]
    for split, by_mask in pixel_counts.items():
        labelled = sum(n for counts in by_mask.values() for label, n in counts.items() if label != spec.ignore_label)
        for row in rows:
            pixels = sum(counts.get(row["id"], 0) for counts in by_mask.values())
            holding = sum(row["id"] in counts for counts in by_mask.values())
            row[split] = {"share": pixels / max(labelled, 1), "images": holding}
    return rows
