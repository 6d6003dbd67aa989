"""Checks a data set before its first use, so that training never meets a file it cannot use."""

import dataclasses

from fcn_tf.data.base import Dataset, Example
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.data.quality.scan import FileScanCache, MaskInfo, PhotoInfo
from fcn_tf.errors import UserError
from fcn_tf.io import run_log

_SHOWN = 5


def rules_of(dataset: Dataset) -> MaskRules:
    """What the masks of a data set mean: its own rules, or ids as they are."""
    if isinstance(dataset.rules, MaskRules):
        return dataset.rules
    return MaskRules(values=tuple(range(dataset.spec.num_classes)), ignore=dataset.spec.ignore_label)


def in_files(dataset: Dataset) -> bool:
    """Whether the examples are files, and not generated."""
    return bool(dataset.examples) and dataset.examples[0].label is not None


def unusable(examples: tuple[Example, ...], cache: FileScanCache) -> dict[str, str]:
    """{name of an example: why it cannot be used}, whatever its classes: unreadable, truncated, of unequal sizes."""
    photos, labels = cache.photos(examples), cache.masks(examples)
    bad = {}
    for example in examples:
        why = why_unusable(example, photos[example.image], labels.get(example.label or "", MaskInfo()))
        if why:
            bad[example.name] = why
    return bad


def why_unusable(example: Example, photo: PhotoInfo, mask: MaskInfo) -> str:
    """Why an example cannot be used, whatever its classes; "" if it can."""
    if photo.error or mask.histogram is None:
        return photo.error or mask.error or f"{example.image}: has no mask"
    if (photo.width, photo.height) != (mask.histogram.width, mask.histogram.height):
        return (
            f"{example.label}: the mask is {mask.histogram.width}x{mask.histogram.height}, its photo "
            f"{photo.width}x{photo.height}"
        )
    return ""


def skip_unusable(dataset: Dataset, cache: FileScanCache) -> Dataset:
    """The data set without the examples that cannot be used, which are counted and named on the terminal.

    Raises:
      UserError: if nothing is left.
    """
    bad = unusable(dataset.examples, cache)
    if not bad:
        return dataset
    reasons = "; ".join(list(bad.values())[:_SHOWN]) + (f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
    what = f"skipped {len(bad)} of {len(dataset)} examples of {dataset.spec.name} {dataset.split}"
    print(f"{what}: {reasons}")
    run_log.note(f"{what}: {'; '.join(bad.values())}")
    left = tuple(example for example in dataset.examples if example.name not in bad)
    if not left:
        raise UserError(
            f"{dataset.spec.name} {dataset.split}: no example is left after skipping; --mode=check says why."
        )
    return dataclasses.replace(dataset, examples=left, shards=1)  # they no longer lie in turn


def check_masks(dataset: Dataset, cache: FileScanCache) -> dict[str, dict[int, int]]:
    """Checks every mask before its first use.

    Those of prepared records were checked when they were written, and every read compares a checksum: what was true
    of them still is, and nothing is read here.

    Returns:
      {path of the mask: {class id or ignore label: pixels}}.

    Raises:
      UserError: naming the file, the value and the flag, if one cannot be read or holds a value out of range.
    """
    if dataset.checked is not None:
        return {label: dict(dataset.checked[label]) for label in (e.label for e in dataset.examples) if label}
    rules = rules_of(dataset)
    found = {}
    for path, mask in cache.masks(dataset.examples).items():
        if mask.histogram is None:
            raise UserError(f"{mask.error} Or leave such files out: --on_bad_example=skip.")
        found[path] = class_pixels(mask.histogram, rules, name=path)
    return found


def class_pixels(histogram: Histogram, rules: MaskRules, *, name: str) -> dict[int, int]:
    """How many pixels of a mask are of which class.

    Args:
      histogram: what it stores.
      rules: what that means.
      name: of the file, for the error.

    Returns:
      {class id or ignore label: pixels}.

    Raises:
      UserError: if a value is out of range.
    """
    pixels: dict[int, int] = {}
    for value, label in rules.translate(histogram, name=name).items():
        pixels[label] = pixels.get(label, 0) + histogram.counts[value]
    return pixels
