"""PASCAL VOC 2012 (Everingham et al. 2010): 20 classes and background; with the list of SBD's masks where it is there.

Hariharan et al. 2011 (SBD) drew masks for VOC's other training photos. As commonly packed, they lie in
SegmentationClassAug/ and are listed in ImageSets/Segmentation/train_aug.txt (or trainaug.txt); then they train too.
"""

import os

from fcn_tf.data.base import Dataset, DatasetEntry, DatasetSpec, Example, require_split
from fcn_tf.data.masks.read import reader
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.data.palette import Color
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import files, texts

_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()
IGNORED = 255
_BORDER = (224, 224, 192)  # the colour of 255 in VOC's palette
_LISTS = {"train": ("train_aug", "trainaug", "train"), "validation": ("val",), "test": ("test",)}


def _palette_color(number: int) -> Color:
    """VOC's palette: the bits of the id, dealt to red, green and blue in turn (VOClabelcolormap.m)."""
    color = [0, 0, 0]
    for bit in range(24):
        color[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return color[0], color[1], color[2]


def palette_colors(count: int) -> tuple[Color, ...]:
    """VOC's colours of the ids 0, 1, ... for --palette=voc."""
    return tuple(map(_palette_color, range(count)))


SPEC = DatasetSpec(
    name="voc",
    class_names=tuple(_NAMES),
    colors=palette_colors(len(_NAMES)),
    ignore_label=IGNORED,
)
RULES = MaskRules(tuple(range(len(_NAMES))), SPEC.colors, IGNORED, _BORDER)


def load(data_dir: str, split: str) -> Dataset:
    """Lists one split of VOC 2012.

    Args:
      data_dir: the folder with JPEGImages/ and ImageSets/, or a parent of it (VOCdevkit/VOC2012, VOC2012).
      split: "train", "validation", "test" (whose masks are not public) or "all".

    Raises:
      UserError: if a list, a photo or a mask is missing.
    """
    require_split("voc", split)
    root = _root(data_dir)
    if split != "all":
        examples = _examples(root, split)
        if not examples:
            wanted = " or ".join(f"{name}.txt" for name in _LISTS[split])
            lacks = f"no {wanted} in {_lists(root)}"
            raise MissingSplit(f"voc: {lacks}; give another --split, or put the list there.", lacks=lacks)
    else:
        examples = tuple(example for part in ("train", "validation") for example in _examples(root, part))
    return Dataset(SPEC, split, examples, reader(SPEC, RULES), RULES)


def _root(data_dir: str) -> str:
    for folder in (data_dir, *(files.join(data_dir, *below) for below in (["VOC2012"], ["VOCdevkit", "VOC2012"]))):
        if files.is_dir(files.join(folder, "JPEGImages")) and files.is_dir(_lists(folder)):
            return folder
    raise UserError(
        f"voc: no JPEGImages/ with ImageSets/Segmentation/ in {data_dir}, its VOC2012/ or VOCdevkit/VOC2012/; unpack "
        "VOCtrainval_11-May-2012.tar there, or set --data_dir."
    )


def _lists(root: str) -> str:
    return files.join(root, "ImageSets", "Segmentation")


def _examples(root: str, split: str) -> tuple[Example, ...]:
    lists = _read_list(root, split)
    if split == "train":
        # SBD drew photos of VOC's validation list too; those must not train.
        held = {os.path.splitext(os.path.basename(photo))[0] for photo, _ in _read_list(root, "validation")}
        lists = [pair for pair in lists if os.path.splitext(os.path.basename(pair[0]))[0] not in held]
    examples = []
    present = {
        folder: _names(files.join(root, folder)) for folder in {os.path.dirname(p) for pair in lists for p in pair}
    }
    if (
        split == "test"
        and lists
        and not any(os.path.basename(mask) in present[os.path.dirname(mask)] for _, mask in lists)
    ):
        lacks = f"no masks of the test split in {root}, which are not public"
        raise MissingSplit(f"voc: {lacks}; give another --split.", lacks=lacks)
    for photo, mask in lists:
        for path in (photo, mask):
            if os.path.basename(path) not in present[os.path.dirname(path)]:
                raise UserError(
                    f"voc: {files.join(root, path)} is listed but not there; restore it or take it off the list."
                )
        name = os.path.splitext(os.path.basename(photo))[0]
        examples.append(Example(name, files.join(root, photo), files.join(root, mask)))
    return tuple(examples)


def _read_list(root: str, split: str) -> list[tuple[str, str]]:
    """(photo, mask) of each line, relative to `root`; [] where there is no list."""
    for name in _LISTS[split]:
        path = files.join(_lists(root), f"{name}.txt")
        augmented = name != _LISTS[split][-1]
        if not files.exists(path) or (augmented and not files.is_dir(files.join(root, "SegmentationClassAug"))):
            continue
        folder = "SegmentationClassAug" if augmented else "SegmentationClass"
        pairs_listed = []
        for line in texts.load(path).split("\n"):
            words = line.split()
            if len(words) == 2 and "/" in words[0]:  # "/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png"
                pairs_listed.append((words[0].strip("/"), words[1].strip("/")))
            elif words:
                pairs_listed.append((f"JPEGImages/{words[0]}.jpg", f"{folder}/{words[0]}.png"))
        return pairs_listed
    return []


def _names(folder: str) -> set[str]:
    return set(files.list_dir(folder)) if files.is_dir(folder) else set()


ENTRY = DatasetEntry(load, max_steps=20_000, eval_every=1_000, save_every=500)
