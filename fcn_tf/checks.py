"""What is wrong with a data set, what that means, and the flag or command that mends it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fcn_tf.datasets import masks, screening
from fcn_tf.datasets.base import DatasetSpec, Example
from fcn_tf.datasets.facts import Facts, Mask, Photo
from fcn_tf.errors import UserError

_ALIKE = 6  # of 256 bits may differ between two copies of a picture, one of them compressed again or resized
_PLAIN = 16  # a picture with fewer bits set is too plain to be told from others
# EXIF's orientation -> the Pillow transposition that turns a mask as its photo is turned.
_TURNS = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about a data set.

    Attributes:
      kind: one word, such as "unreadable".
      severity: "error" (training would go wrong), "warning" or "note".
      means: what it is and what it leads to.
      mend: the flag or command that mends it; "" where nothing needs to be done.
      files: the files that it is about.
    """

    kind: str
    severity: str
    means: str
    mend: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """A split's examples and the facts about their files."""

    examples: tuple[Example, ...]
    photos: dict[str, Photo]
    masks: dict[str, Mask]


def look(splits: dict[str, tuple[Example, ...]], facts: Facts) -> dict[str, Split]:
    """Looks at every file."""
    return {name: Split(part, facts.photos(part), facts.masks(part)) for name, part in splits.items()}


def find(
    splits: dict[str, Split], rules: masks.MaskRules | None, spec: DatasetSpec | None
) -> tuple[list[Finding], dict[str, dict[str, dict[int, int]]]]:
    """Everything that is to be said about the files.

    Args:
      splits: from `look`.
      rules: what the masks mean, None if that is not known.
      spec: of the data set, None if that is not known.

    Returns:
      The findings, errors first; and {split: {mask: {class id or ignored label: pixels}}} of the masks in order.
    """
    found = _files(splits)
    shares: dict[str, dict[str, dict[int, int]]] = {name: {} for name in splits}
    if rules is not None and spec is not None:
        found += _values(splits, rules, shares) + _classes(shares, spec)
    found += _formats(splits) + _copies(splits)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.severity]), shares


def _files(splits: dict[str, Split]) -> list[Finding]:
    photos = {path: photo for split in splits.values() for path, photo in split.photos.items()}
    labels = {path: mask for split in splits.values() for path, mask in split.masks.items()}
    unreadable = [path for path, fact in photos.items() if fact.error]
    unreadable += [path for path, fact in labels.items() if fact.error]
    turned, unequal, commands = [], [], []
    for split in splits.values():
        for example in split.examples:
            photo, mask = split.photos[example.image], split.masks.get(example.label or "", Mask())
            if photo.error or mask.histogram is None:
                continue
            size = (mask.histogram.width, mask.histogram.height)
            if size == (photo.width, photo.height):
                continue
            if photo.orientation in _TURNS and size == (photo.height, photo.width):
                turned.append(example.label or "")
                commands.append(
                    f"python -c \"from PIL import Image; p = '{example.label}'; "
                    f'Image.open(p).transpose(Image.Transpose.{_TURNS[photo.orientation]}).save(p)"'
                )
            else:
                unequal.append(example.label or "")
    found = []
    if unreadable:
        found.append(
            Finding(
                "unreadable",
                "error",
                "These files are damaged, truncated or no pictures: training stops when it meets one.",
                "Copy them again, or leave their pairs out with --on_bad_example=skip",
                tuple(unreadable),
            )
        )
    if turned:
        found.append(
            Finding(
                "exif_turned",
                "error",
                "The photos are turned by their EXIF data, their masks are not: labels lie on the wrong pixels.",
                "Turn the masks as well: " + "; ".join(commands),
                tuple(turned),
            )
        )
    if unequal:
        found.append(
            Finding(
                "size_mismatch",
                "error",
                "These masks have another size than their photos, so their pixels do not belong together.",
                "Make them again at the photo's size without blending, or leave them out with --on_bad_example=skip",
                tuple(unequal),
            )
        )
    return found


def _values(
    splits: dict[str, Split], rules: masks.MaskRules, shares: dict[str, dict[str, dict[int, int]]]
) -> list[Finding]:
    wrong: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for name, split in splits.items():
        for path, mask in split.masks.items():
            if mask.histogram is None:
                continue
            try:
                shares[name][path] = screening.class_pixels(mask.histogram, rules, name=path)
            except UserError as error:
                kind = "off_by_one" if "start at 1" in str(error) else "out_of_range"
                wrong.setdefault(kind, []).append(path)
                first.setdefault(kind, str(error))
    meanings = {
        "off_by_one": "These masks count classes from 1: the last one is out of range.",
        "out_of_range": "These masks hold values that are no class: training stops when it meets one.",
    }
    found = [
        Finding(kind, "error", meanings[kind], first[kind].partition(": ")[2], tuple(paths))
        for kind, paths in wrong.items()
    ]
    plain = tuple(range(len(rules.values)))
    if rules.values and rules.values != plain:
        value = masks.format_values(rules.values)
        binary = rules.values == (0, 255)
        found.append(
            Finding(
                "zero_255" if binary else "values",
                "note",
                f"Masks hold {value}: the first becomes class 0, the next class 1, and so on.",
                f"--num_classes={len(rules.values)} --mask_values={value}",
            )
        )
    seen = {label for split in shares.values() for share in split.values() for label in share}
    if rules.values == plain and rules.ignore != 0 and seen and 0 not in seen and 1 in seen:
        found.append(
            Finding(
                "off_by_one",
                "warning",
                "No mask holds a 0: classes seem to be counted from 1, and class 0 would never be learned.",
                f"--num_classes={len(plain) - 1} --mask_values=1-{len(plain) - 1}",
            )
        )
    return found


def _classes(shares: dict[str, dict[str, dict[int, int]]], spec: DatasetSpec) -> list[Finding]:
    found = []
    empty = [
        path
        for split in shares.values()
        for path, share in split.items()
        if not any(label != spec.ignore_label for label in share)
    ]
    single = [
        path
        for split in shares.values()
        for path, share in split.items()
        if set(share) == {0} and spec.ignore_label != 0
    ]
    for kind, paths, means in (
        ("empty", empty, "In these masks every pixel is ignored: they teach nothing, and do no harm."),
        (
            "one_class",
            single,
            "These masks hold nothing but class 0: right for a photo without objects, else unfinished.",
        ),
    ):
        if paths:
            mend = "rm " + " ".join(paths[:3]) + (" ..." if len(paths) > 3 else "") + " and their photos, if unintended"
            found.append(Finding(kind, "warning", means, mend, tuple(paths)))
    present = {name: {label for share in split.values() for label in share} for name, split in shares.items() if split}
    for name, labels in present.items():
        missing = [
            spec.class_names[label]
            for label in range(spec.num_classes)
            if label not in labels and label != spec.ignore_label
        ]
        if missing:
            shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            means = f"{len(missing)} classes never occur in {name}: {shown}."
            found.append(
                Finding(
                    "missing_class", "warning", means, "Move examples of them there, or try another split: --seed=1"
                )
            )
    return found


def _formats(splits: dict[str, Split]) -> list[Finding]:
    known = [
        (path, mask.histogram) for split in splits.values() for path, mask in split.masks.items() if mask.histogram
    ]
    found = []
    lossy = tuple(path for path, histogram in known if histogram.lossy)
    if lossy:
        means = "These masks are JPEGs: compression blurs their values, which are taken for the nearest class."
        found.append(Finding("jpeg_masks", "note", means, "Nothing to do; save new masks as PNG", lossy))
    colored = tuple(path for path, histogram in known if histogram.in_color)
    if colored:
        means = "These masks are coded in colours."
        mend = "--mask_colors names the colour of class 0, 1, ..., or classes.csv in --data_dir (name,r,g,b)"
        found.append(Finding("color_masks", "note", means, mend, colored))
    return found


def _copies(splits: dict[str, Split]) -> list[Finding]:
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
    means = "The same picture is in train and in validation: the score will look better than it is."
    return [
        Finding("duplicates", "warning", means, f"Remove one of each pair and its mask: rm {pairs[1]}", tuple(pairs))
    ]


def report(findings: list[Finding], write: Callable[[str], object] = print) -> None:
    """Prints the findings, errors first."""
    for finding in findings:
        names = ", ".join(finding.files[:5]) + (f" and {len(finding.files) - 5} more" if len(finding.files) > 5 else "")
        write(
            f"{finding.severity} [{finding.kind}] {finding.means}"
            + (f" Files ({len(finding.files)}): {names}." if names else "")
        )
        if finding.mend:
            write(f"    mend: {finding.mend}")
