"""Looks through a data set before its first use, so that training never meets a file it cannot use."""

import dataclasses

from fcn_tf.datasets.base import Dataset, Example
from fcn_tf.datasets.facts import Facts
from fcn_tf.datasets.masks import MaskRules
from fcn_tf.datasets.stored import Histogram
from fcn_tf.errors import UserError

_SHOWN = 5


def rules_of(dataset: Dataset) -> MaskRules:
    """What the masks of a data set mean: its own rules, or ids as they are."""
    if isinstance(dataset.rules, MaskRules):
        return dataset.rules
    return MaskRules(values=tuple(range(dataset.spec.num_classes)), ignore=dataset.spec.ignore_label)


def in_files(dataset: Dataset) -> bool:
    """Whether the examples are files, and not generated."""
    return bool(dataset.examples) and dataset.examples[0].label is not None


def unusable(examples: tuple[Example, ...], facts: Facts) -> dict[str, str]:
    """{name of an example: why it cannot be used}, whatever its classes: unreadable, truncated, of unequal sizes."""
    photos, labels = facts.photos(examples), facts.masks(examples)
    bad = {}
    for example in examples:
        photo, mask = photos[example.image], labels.get(example.label or "")
        if photo.error or mask is None or mask.histogram is None:
            bad[example.name] = photo.error or (mask.error if mask else f"{example.image}: has no mask")
        elif (photo.width, photo.height) != (mask.histogram.width, mask.histogram.height):
            bad[example.name] = (
                f"{example.label}: the mask is {mask.histogram.width}x{mask.histogram.height}, its photo "
                f"{photo.width}x{photo.height}"
            )
    return bad


def skip_unusable(dataset: Dataset, facts: Facts) -> Dataset:
    """The data set without the examples that cannot be used, which are counted and named on the terminal.

    Raises:
      UserError: if nothing is left.
    """
    bad = unusable(dataset.examples, facts)
    if not bad:
        return dataset
    reasons = "; ".join(list(bad.values())[:_SHOWN]) + (f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
    print(f"skipped {len(bad)} of {len(dataset)} examples of {dataset.spec.name} {dataset.split}: {reasons}")
    left = tuple(example for example in dataset.examples if example.name not in bad)
    if not left:
        raise UserError(
            f"{dataset.spec.name} {dataset.split}: no example is left after skipping; --mode=check says why."
        )
    return dataclasses.replace(dataset, examples=left)


def check_masks(dataset: Dataset, facts: Facts) -> dict[str, dict[int, int]]:
    """Checks every mask before its first use.

    Returns:
      {path of the mask: {class id or ignore label: pixels}}.

    Raises:
      UserError: naming the file, the value and the flag, if one cannot be read or holds a value out of range.
    """
    rules = rules_of(dataset)
    shares = {}
    for path, mask in facts.masks(dataset.examples).items():
        if mask.histogram is None:
            raise UserError(f"{mask.error} Or leave such files out: --on_bad_example=skip.")
        shares[path] = class_pixels(mask.histogram, rules, name=path)
    return shares


def class_pixels(histogram: Histogram, rules: MaskRules, *, name: str) -> dict[int, int]:
    """{class id or ignore label: pixels} of a mask.

    Raises:
      UserError: if a value is out of range.
    """
    pixels: dict[int, int] = {}
    for value, label in rules.translate(histogram, name=name).items():
        pixels[label] = pixels.get(label, 0) + histogram.counts[value]
    return pixels
