"""What a data set is: facts (`DatasetSpec`), items (`Example`) and a way to read one (`Dataset`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DatasetSpec:
    """Facts about a data set.

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

    def __post_init__(self):
        if len(self.class_names) != len(self.colors):
            raise ValueError(
                f"{self.name}: {len(self.class_names)} class names but {len(self.colors)} colours; "
                "give one colour a class."
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
    """What a command line says about a data set; each named as its flag, where --help explains it.

    Attributes:
      num_classes: 0 if not said.
      ignore_label: "auto", "none" or a number.
      mask_values: such as "0,255" or "0-20"; "" if not said.
      mask_colors: such as "000000,ff0000"; "" if not said.
      seed: decides the split where there is none.
      on_bad_example: "fail" or "skip".
      cache: path of the file that remembers what was found in files; "" for none.
    """

    num_classes: int = 0
    ignore_label: str = "auto"
    mask_values: str = ""
    mask_colors: str = ""
    seed: int = 0
    on_bad_example: str = "fail"
    cache: str = ""


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
      spec: the facts.
      split: "train", "validation", "test" or "all".
      examples: in a fixed order.
      read: example -> (image, label): uint8 (H, W, 3) RGB and int32 (H, W) class ids of the same size.
        Thread-safe, without TensorFlow; raises UserError naming the file when it cannot be read.
      rules: what the masks mean, a `masks.MaskRules`; None where they hold class ids as they are.
      shards: in how many files the examples lie: example i in file i % shards. 1 where nothing of that kind is known.
      checked: {label of an example: {class id or ignored label: pixels}} of masks that were checked when they were
        written, and whose checksums tell if they change; None where masks have yet to be looked at.
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
