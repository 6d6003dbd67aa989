"""What a data set is: its classes (`DatasetSpec`), items (`Example`), a way to read one (`Dataset`), its entry."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fcn_tf.data import crops
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import texts

SPLITS = ("train", "validation", "test")  # --split=all is all of these that there are


@dataclass(frozen=True)
class DatasetSpec:
    """The classes of a data set.

    Attributes:
      name: as given to `--dataset`; of prepared records, that of the data set they were made from.
      class_names: one name a class id, so `len(class_names)` logits are learned.
      colors: one (r, g, b) in [0, 255] a class id.
      ignore_label: the id in label maps that is neither trained nor scored, or None. It may lie inside the
        range of the classes (ADE20K: 0) or outside it (CamVid: 11, VOC: 255).
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        if len(self.class_names) != len(self.colors):
            raise ValueError(
                f"{self.name}: {len(self.class_names)} class names but {len(self.colors)} colours; "
                "give one colour a class."
            )
        for name in filter(texts.has_controls, self.class_names):
            raise UserError(
                f"{self.name}: the class name {texts.printable(name)!r} holds control characters; correct it "
                "where the classes are named."
            )

    @property
    def num_classes(self) -> int:
        """How many classes the model tells apart."""
        return len(self.class_names)


@dataclass(frozen=True)
class Example:
    """One picture and its label map.

    Attributes:
      name: unique in the data set; becomes part of file names written about it.
      image: path of the photo, or its address in a shard (see io/shards.py); empty for generated scenes.
      label: path or address of the label map, or None where there is no ground truth.
    """

    name: str
    image: str = ""
    label: str | None = None


@dataclass(frozen=True)
class Options:
    """The flags about a data set, each named as its flag; --help explains them.

    Attributes:
      num_classes: 0 if not given.
      ignore_label: "auto", "none" or a number.
      mask_values: such as "0,255" or "0-20"; "" if not given.
      mask_colors: such as "000000,ff0000"; "" if not given.
      seed: decides the split where there is none.
      holdout: prefixes of file names, with commas between: the training examples to validate on; "" if not given.
      palette: a key of `registry.PALETTES`, or "auto".
      on_bad_example: "fail" or "skip".
      cache: path of the file that keeps what scans of files found; "" for none.
      split_rule: how it is split there, see data/validation_split.py; None for the rule that needs but `seed`.
    """

    num_classes: int = 0
    ignore_label: str = "auto"
    mask_values: str = ""
    mask_colors: str = ""
    seed: int = 0
    holdout: str = ""
    palette: str = "auto"
    on_bad_example: str = "fail"
    cache: str = ""
    split_rule: Callable[[Sequence[str]], frozenset[str]] | None = None


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
      spec: its classes.
      split: "train", "validation", "test" or "all".
      examples: in a fixed order.
      read: example -> (image, label): uint8 (H, W, 3) RGB and int32 (H, W) class ids of the same size.
        Thread-safe, without TensorFlow; raises UserError naming the file when it cannot be read.
      rules: what the masks mean, a `MaskRules`; None where they hold class ids as they are.
      shards: number of files that hold the examples: example i is in file i % shards; 1 where that is not known.
      checked: {label of an example: {class id or ignored label: pixels}} of masks that were checked when they were
        written, and whose checksums tell if they change; None where masks have yet to be scanned.
    """

    spec: DatasetSpec
    split: str
    examples: tuple[Example, ...]
    read: Callable[[Example], tuple[np.ndarray, np.ndarray]]
    rules: object = None
    shards: int = 1
    checked: Mapping[str, Mapping[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def recolored(self, colors: tuple[tuple[int, int, int], ...]) -> "Dataset":
        """The same, with one (r, g, b) in [0, 255] a class."""
        return replace(self, spec=replace(self.spec, colors=colors))


@dataclass(frozen=True)
class Listing:
    """The files of a data set, whether or not their classes are known.

    Attributes:
      splits: {"train" | "validation" | "test": examples} of those that are there.
      unpaired: photos and masks that have no partner.
      unread: photos in formats that are not read.
      seeded: whether `Options.seed` decides which examples are held out for validation.
    """

    splits: dict[str, tuple[Example, ...]]
    unpaired: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    seeded: bool = False


@dataclass(frozen=True)
class ClassInference:
    """How a data set tells its classes from its masks, as far as --num_classes and its like leave them open.

    Attributes:
      resolve: (data_dir, options) -> the options, completed by what the masks hold.
      list_files: (data_dir, options) -> the examples of each split; needs no classes.
    """

    resolve: Callable[[str, Options], Options]
    list_files: Callable[[str, Options], Listing]


@dataclass(frozen=True)
class DatasetEntry:
    """What `--dataset=NAME` stands for; the table is `registry.DATASETS`.

    Attributes:
      load: (data_dir, split) -> Dataset; with `classes`, (data_dir, split, options=Options).
      image_size, batch_size, max_steps, eval_every, save_every: these flags' values where they are not given.
      in_files: whether its examples are files below --data_dir; if not, they are generated.
      classes: how its classes are inferred; None where they are known. Only with it are --num_classes, --mask_values
        and --mask_colors accepted.
    """

    load: Callable[..., Dataset]
    image_size: int | crops.Size = 224
    batch_size: int = 4
    max_steps: int = 2_000
    eval_every: int = 200
    save_every: int = 200
    in_files: bool = True
    classes: ClassInference | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """{flag: value} of those that are the data set's to decide."""
        return {name: getattr(self, name) for name in DEFAULTED_FLAGS}


DEFAULTED_FLAGS = ("image_size", "batch_size", "max_steps", "eval_every", "save_every")


def are_numbers(names: Sequence[str]) -> bool:
    """Whether classes are called by their ids, for want of names."""
    return tuple(names) == tuple(map(str, range(len(names))))


def require_split(dataset: str, split: str, known: Collection[str] = SPLITS) -> None:
    """Makes sure that a split may be asked for.

    Args:
      dataset: its name, as given to `--dataset`.
      split: one of `known`, or "all".
      known: the splits that the data set may have.

    Raises:
      MissingSplit: if it is none of these.
    """
    if split not in (*known, "all"):
        raise MissingSplit(
            f"{dataset} has no split {split!r}; expected one of {', '.join((*known, 'all'))} (--split).",
            lacks="no such split",
        )
