"""Data sets by name; a new one is a file here and a line in this table."""

import dataclasses
import functools

from fcn_tf.datasets import ade20k, camvid, pairs, shapes
from fcn_tf.datasets.base import Dataset
from fcn_tf.errors import UserError

# Each is load(data_dir, split) -> Dataset.
DATASETS = {
    "shapes": shapes.load,
    "ade20k": ade20k.load,
    "camvid": camvid.load,
}


def load(name: str, data_dir: str, split: str, *, ignore_label: str = "auto") -> Dataset:
    """Loads one split of a data set.

    Args:
      name: a key of `DATASETS`.
      data_dir: where the data set is.
      split: "train", "validation", "test" or "all".
      ignore_label: "auto" for the data set's own, "none", or the id that is neither trained nor scored.

    Raises:
      UserError: if the data set, the split or its files are not as they should be.
    """
    if name not in DATASETS:
        raise UserError(f"--dataset must be one of {', '.join(DATASETS)}, got {name!r}.")
    dataset = DATASETS[name](data_dir, split)
    if ignore_label == "auto":
        return dataset
    if name == "shapes":
        raise UserError(
            "--ignore_label is for data sets in files; the generated shapes ignore the rims of objects."
        )
    spec = dataclasses.replace(
        dataset.spec, ignore_label=None if ignore_label == "none" else int(ignore_label)
    )
    return dataclasses.replace(dataset, spec=spec, read=functools.partial(pairs.read_pair, spec))
