"""Lists every split of a data set for --mode=check, though files are missing or classes are not clear."""

from dataclasses import dataclass
from typing import Any

from fcn_tf.data import datasets, validation_split
from fcn_tf.data.base import SPLITS, ClassInference, Dataset, Example, Options
from fcn_tf.data.datasets import holdout
from fcn_tf.data.quality.findings import Finding, alternatives
from fcn_tf.errors import MissingSplit, UserError

_PURPOSES = {"train": "to train on", "validation": "to choose the best model by"}  # of the splits that training needs


@dataclass(frozen=True)
class Survey:
    """What can be listed of a data set before any file is scanned.

    Attributes:
      findings: what is wrong with that.
      splits: the examples of each split.
      dataset: a split that can be loaded; None if the classes are not clear.
      resolved: flags about classes, completed by what the masks hold; {} where the classes are known.
      reseed: the flag that makes another validation split, "" where the split is given.
    """

    findings: list[Finding]
    splits: dict[str, tuple[Example, ...]]
    dataset: Dataset | None
    resolved: dict[str, Any]
    reseed: str = ""


def survey(name: str, data_dir: str, split: str, *, cache: str, **flags: Any) -> Survey:
    """Lists a split of a data set, or all of them.

    Args:
      name: a key of `registry.DATASETS`.
      data_dir: where the data set is.
      split: "train", "validation", "test", or "all" for those that are there.
      cache: as in `Options`.
      **flags: further fields of `Options`.

    Raises:
      UserError: if there is nothing to list.
    """
    wanted = SPLITS if split == "all" else (split,)
    classes = datasets.entry(name).classes
    if classes:
        return _of_inferred(classes, name, data_dir, split, wanted, {**flags, "on_bad_example": "skip"}, cache)
    return _of_known(name, data_dir, wanted, {**flags, "on_bad_example": "fail"})


def _of_known(name: str, data_dir: str, wanted: tuple[str, ...], flags: dict[str, Any]) -> Survey:
    """Of a data set whose classes are known."""
    found: list[Finding] = []
    sets: dict[str, Dataset] = {}
    errors: list[UserError] = []
    for split in wanted:
        try:
            sets[split] = datasets.load(name, data_dir, split, **flags)
        except MissingSplit as error:
            errors.append(error)
            if split in _PURPOSES:
                found.append(_missing(split, error.lacks or str(error)))
        except UserError as error:
            errors.append(error)
            found.append(Finding("files", "error", str(error)))
    if not sets:
        raise errors[0]
    return Survey(found, {split: part.examples for split, part in sets.items()}, next(iter(sets.values())), {})


def _of_inferred(
    classes: ClassInference,
    name: str,
    data_dir: str,
    split: str,
    wanted: tuple[str, ...],
    flags: dict[str, Any],
    cache: str,
) -> Survey:
    """Of a data set whose masks say what its classes are; `flags` skip files without a partner, which are a finding."""
    options = Options(**flags)
    prefixes = holdout.parse(options.holdout)
    listing = classes.list_files(data_dir, options)
    listed = dict(listing.splits)
    if prefixes and "train" in listed:
        listed |= holdout.part(listed["train"], prefixes)
    splits = {name: listed[name] for name in wanted if name in listed}
    if not splits:  # this raises the error that says what is there
        datasets.load(name, data_dir, split, **flags, cache=cache)
    found: list[Finding] = []
    if listing.unpaired:
        what = "These files have no partner of the same name"
        fix = "Add or remove them, or leave them out with --on_bad_example=skip"
        explanation, left_out = f"{what}: training refuses them.", f"{what}."
        found.append(Finding("unpaired", "error", explanation, fix, listing.unpaired, left_out=left_out))
    if listing.unread:
        explanation = "These photos take no part: their formats, HEIC and AVIF, are not read."
        fix = "Save each as JPEG, under the name of its mask"
        found.append(Finding("unread", "warning", explanation, fix, listing.unread))
    if split == "all":
        found += [_missing(each, f"no examples in {data_dir}") for each in _PURPOSES if each not in splits]
    if listing.seeded:
        examples = [e for name in ("train", "validation") for e in listed.get(name, ())]
        if few := validation_split.too_few([validation_split.key(e, data_dir) for e in examples], options.seed):
            what, fix = few
            found.append(Finding("few_validation", "warning", f"{what[0].upper()}{what[1:]}.", f"Add {fix}"))
    reseed = f"--seed={options.seed + 1}" if listing.seeded else ""
    try:
        resolved = datasets.resolve(name, data_dir, **flags, cache=cache)
        # Unreadable files are findings of their own: nothing is left out but what has no partner.
        options = Options(**{**flags, **resolved})
        dataset = datasets.in_colors(datasets.entry(name).load(data_dir, "all", options=options), options.palette)
    except UserError as error:
        found.append(Finding("classes", "error", str(error), alternatives(error.flags)))
        return Survey(found, splits, None, {}, reseed)
    return Survey(found, splits, dataset, resolved, reseed)


def _missing(split: str, lacks: str) -> Finding:
    explanation = f"There is no {split} split ({lacks}); training needs one {_PURPOSES[split]}."
    fix = "Put it there"
    if split == "train":
        fix += "; or, to evaluate only, check just what that needs with --split=validation"
    return Finding("split", "error", explanation, fix)
