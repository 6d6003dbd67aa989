"""Data sets by name; a new one is a file here and a line in this table."""

import dataclasses
import functools
from typing import Any

from fcn_tf.data.base import Dataset, Options
from fcn_tf.data.datasets import ade20k, camvid, folder, records, shapes, voc
from fcn_tf.data.masks.read import read_pair
from fcn_tf.data.quality import screening
from fcn_tf.data.quality.scan import Facts
from fcn_tf.errors import UserError

# Each is load(data_dir, split) -> Dataset; folder's takes options as well.
DATASETS = {
    "shapes": shapes.load,
    "ade20k": ade20k.load,
    "camvid": camvid.load,
    "voc": voc.load,
    "folder": folder.load,
    "records": records.load,
}


def load(name: str, data_dir: str, split: str, **said: Any) -> Dataset:
    """Loads one split of a data set.

    Args:
      name: a key of `DATASETS`.
      data_dir: where the data set is.
      split: "train", "validation", "test" or "all".
      **said: fields of `Options`.

    Raises:
      UserError: if the data set, the split or its files are not as they should be.
    """
    options = _options(name, said)
    if name == "folder":
        dataset = folder.load(data_dir, split, options=options)
    else:
        dataset = DATASETS[name](data_dir, split)
        if options.ignore_label != "auto":
            dataset = _ignoring(dataset, options.ignore_label)
    if options.on_bad_example == "skip" and screening.in_files(dataset):
        dataset = screening.skip_unusable(dataset, Facts(options.cache))
    return dataset


def resolve(name: str, data_dir: str, **said: Any) -> dict[str, Any]:
    """Completes what was said about classes by what the masks of `--dataset=folder` hold.

    Returns:
      num_classes, mask_values, mask_colors and ignore_label to go on with; {} for other data sets.

    Raises:
      UserError: if the masks allow more than one reading, or contradict what was said.
    """
    options = _options(name, said)
    if name != "folder":
        return {}
    options = folder.resolve(data_dir, options)
    names = ("num_classes", "mask_values", "mask_colors", "ignore_label")
    return {each: getattr(options, each) for each in names}


def _options(name: str, said: dict[str, Any]) -> Options:
    if name not in DATASETS:
        raise UserError(f"--dataset must be one of {', '.join(DATASETS)}, got {name!r}.")
    options = Options(**said)
    for flag in ("num_classes", "mask_values", "mask_colors"):
        if name != "folder" and getattr(options, flag):
            raise UserError(f"--{flag} is for --dataset=folder; the classes of {name} are known. Leave it out.")
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
    return dataclasses.replace(dataset, spec=spec, read=functools.partial(read_pair, spec, None), rules=None)
