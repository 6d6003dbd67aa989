"""Data sets by name: a new one is a file here with an `ENTRY`, and a line in `registry.DATASETS`."""

import dataclasses
from typing import Any

from fcn_tf import registry
from fcn_tf.data import palette
from fcn_tf.data.base import Dataset, DatasetEntry, DatasetSpec, Options, are_numbers
from fcn_tf.data.datasets import holdout
from fcn_tf.data.masks.read import reader
from fcn_tf.data.quality import screening
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, run_log, texts

_CLASS_FLAGS = ("num_classes", "mask_values", "mask_colors")  # for data sets that infer their classes


def entry(name: str) -> DatasetEntry:
    """The entry of a data set.

    Raises:
      UserError: if there is none of this name.
    """
    if name not in registry.DATASETS:
        raise UserError(f"--dataset must be one of {', '.join(registry.DATASETS)}, got {name!r}.")
    return registry.resolve(registry.DATASETS[name])


def load(name: str, data_dir: str, split: str, **flags: Any) -> Dataset:
    """Loads one split of a data set.

    Args:
      name: a key of `registry.DATASETS`.
      data_dir: where the data set is.
      split: "train", "validation", "test" or "all".
      **flags: fields of `Options`.

    Raises:
      UserError: if the data set, the split or its files are not as they should be.
    """
    options = _options(name, flags)
    prefixes = holdout.parse(options.holdout)
    if prefixes and split in ("train", "validation"):
        whole = _load(name, data_dir, "train", options)
        examples = holdout.part(whole.examples, prefixes)[split]
        dataset = dataclasses.replace(whole, split=split, examples=examples, shards=1)  # they no longer lie in turn
    else:
        dataset = _load(name, data_dir, split, options)
    dataset = in_colors(dataset, options.palette)
    if options.on_bad_example == "skip" and screening.in_files(dataset):
        dataset = screening.skip_unusable(dataset, FileScanCache(options.cache))
    return dataset


def name_skipped(name: str, data_dir: str, **flags: Any) -> None:
    """Names the files that --on_bad_example=skip leaves out of every split, because they have no partner.

    A few of them are printed, all are in run.log. What is left out of one split, `load` names.

    Args:
      name: a key of `registry.DATASETS`.
      data_dir: where the data set is.
      **flags: fields of `Options`.

    Raises:
      UserError: if the data set is not there.
    """
    classes, options = entry(name).classes, _options(name, flags)
    if not classes or options.on_bad_example != "skip":
        return
    listing = classes.list_files(data_dir, options)
    if alone := listing.unpaired:
        what = f"skipped {len(alone)} file{'s' * (len(alone) > 1)} without a partner of the same name"
        print(f"{what}: {texts.some(alone)}{images.describe_unread(listing.unread)}")
        run_log.note(f"{what}: {', '.join(alone)}")


def in_colors(dataset: Dataset, wanted: str) -> Dataset:
    """The same data set in the colours of a palette, no two of which look the same.

    Args:
      dataset: any.
      wanted: a key of `registry.PALETTES`, or "auto" for its own colours.
    """
    spec = dataset.spec
    own = spec.colors if wanted == "auto" else registry.resolve(registry.PALETTES[wanted])(spec.num_classes)
    return dataset.recolored(palette.told_apart(own))


def _load(name: str, data_dir: str, split: str, options: Options) -> Dataset:
    """A split as the data set has it."""
    known = entry(name)
    if known.classes:
        return known.load(data_dir, split, options=options)
    dataset = known.load(data_dir, split)
    return dataset if options.ignore_label == "auto" else _ignoring(dataset, options.ignore_label)


def resolve(name: str, data_dir: str, **flags: Any) -> dict[str, Any]:
    """Completes the flags about classes by what the masks hold, where the data set infers its classes.

    Returns:
      num_classes, mask_values, mask_colors and ignore_label to go on with; {} where the classes are known.

    Raises:
      UserError: if the masks allow more than one reading, or contradict the flags.
    """
    classes, options = entry(name).classes, _options(name, flags)
    if not classes:
        return {}
    options = classes.resolve(data_dir, options)
    return {each: getattr(options, each) for each in (*_CLASS_FLAGS, "ignore_label")}


def naming_hint(name: str, data_dir: str, spec: DatasetSpec) -> str:
    """One line on how to name classes that are called by their ids; "" where they have names."""
    if not entry(name).classes or not are_numbers(spec.class_names):
        return ""
    path = files.join(data_dir, "classes.txt")
    return f"classes have numbers for names; to name them, write {path}: one name a line, class 0 first"


def require_files(name: str, mode: str) -> None:
    """Raises UserError if a data set is generated, so that `mode` has no files to work on."""
    if not entry(name).in_files:
        raise UserError(
            f"--mode={mode} reads files; {name} are generated. Give --dataset=folder --data_dir=DIR, for one."
        )


def _options(name: str, flags: dict[str, Any]) -> Options:
    options = Options(**flags)
    for flag in _CLASS_FLAGS:
        if getattr(options, flag) and not entry(name).classes:
            inferred = " or ".join(each for each in registry.DATASETS if entry(each).classes)
            raise UserError(f"--{flag} is for --dataset={inferred}; the classes of {name} are known. Leave it out.")
    if options.holdout and not entry(name).in_files:
        raise UserError(f"--holdout goes by the names of files; {name} are generated. Leave it out.")
    return options


def _ignoring(dataset: Dataset, ignore_label: str) -> Dataset:
    """The same data set with another ignored label."""
    if not screening.in_files(dataset):
        raise UserError("--ignore_label is for data sets in files; the generated shapes ignore the rims of objects.")
    wanted = None if ignore_label == "none" else int(ignore_label)
    if wanted == dataset.spec.ignore_label:
        return dataset
    if dataset.checked is not None:
        raise UserError(
            f"--ignore_label={ignore_label}, but that was decided when the records were prepared; leave it out, "
            "or prepare them again with it."
        )
    spec = dataclasses.replace(dataset.spec, ignore_label=wanted)
    return dataclasses.replace(dataset, spec=spec, read=reader(spec, None), rules=None)
