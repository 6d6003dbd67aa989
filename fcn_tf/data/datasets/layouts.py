"""Finds photos and masks in folders, in any of the layouts people have, and pairs them.

A folder of masks is known by a word in its path (masks, labels, annotations, ...) or at the end of its name
(trainannot, NAME_msk); its photos are in the folder that is called the same without that word:

    images/ masks/             images/train/ masks/train/     train/images/ train/masks/
    train/ trainannot/         NAME/ NAME_msk/                images_prepped_train/ annotations_prepped_train/

or both lie in one folder, NAME.jpg with NAME_mask.png. images_prepped_test/ is what that tutorial validates on.

Words for train, validation and test name the splits; where none is validation, `data/validation_split.py` makes one.
"""

import dataclasses
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fcn_tf.data import validation_split
from fcn_tf.data.base import SPLITS, Example, Options
from fcn_tf.errors import UserError
from fcn_tf.io import files, images

MASK_WORDS = (
    "masks mask labels label annotations annotation annots annot msk msks gt groundtruth segmentation "
    "segmentations segmentationclass segs seg targets target"
).split()
_IMAGE_WORDS = "images image imgs img photos photo pictures picture pics jpegimages inputs input rgb".split()
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# No folders are called so: asking about each of thousands of files would take long.
_FILES = (*images.IMAGE_PATTERNS, *images.UNREAD_PATTERNS, "*.json")
_DEPTH = 3  # of folders below --data_dir
LAYOUTS = (
    "images/ + masks/, images/train/ + masks/train/, train/images/ + train/masks/, train/ + trainannot/, "
    "NAME/ + NAME_msk/, a.jpg + a_mask.png in one folder, or annotation files of LabelMe or COCO"
)
_GROUND_TRUTH = re.compile(r"ground[_\-. ]truth")  # the one word for masks that is two
# Of the stem of a mask.
_SUFFIX = re.compile(rf"[_\-. ]({'|'.join(MASK_WORDS)}|{_GROUND_TRUTH.pattern})$", re.IGNORECASE)


@dataclass(frozen=True)
class AnnotatedClasses:
    """The classes of masks that are drawn from annotation files.

    Attributes:
      names: of the classes.
      values: what masks hold for each of them.
      ignore: what they hold where nothing is labelled; None where everything is.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int | None


@dataclass(frozen=True)
class Layout:
    """What lies where.

    Attributes:
      data_dir: the folder.
      splits: {"train" | "validation" | "test": examples}; where the folders name none, all are in "train".
      unpaired: photos and masks that have no partner.
      annotated: the classes, where annotation files say which there are.
      unread: photos in formats that are not read.
    """

    data_dir: str
    splits: dict[str, tuple[Example, ...]]
    unpaired: tuple[str, ...]
    annotated: AnnotatedClasses | None = None
    unread: tuple[str, ...] = ()

    @property
    def seeded(self) -> bool:
        """Whether the folders name no validation split, so that one is made by --seed."""
        return "validation" not in self.splits and "train" in self.splits


def find(data_dir: str) -> Layout:
    """Recognises the layout of a folder and pairs its files.

    Raises:
      UserError: if there are no folders of photos and masks that belong together.
    """
    if not files.is_dir(data_dir):
        raise UserError(
            f"folder: there is no folder {data_dir}; name the one that holds the photos and masks (--data_dir)."
        )
    listed = dict(walk(data_dir))
    content = {folder: found for folder, names in listed.items() if (found := pictures(names))}
    photos: dict[tuple[str, ...], list[str]] = {}
    labels: dict[tuple[str, ...], list[str]] = {}
    for folder in filter(None, content):
        words, is_mask = _words(folder)
        (labels if is_mask else photos).setdefault(words, []).append(folder)
    splits: dict[str, list[Example]] = {}
    unpaired: list[str] = []
    chosen = []
    for words in sorted(photos.keys() & labels.keys()):
        for kind, candidates in (("photos", photos[words]), ("masks", labels[words])):
            if len(candidates) > 1:
                raise UserError(
                    f"{data_dir}: {' and '.join(candidates)} may both hold the {kind}; move all but one elsewhere."
                )
        (photo_dir,), (label_dir,) = photos[words], labels[words]
        chosen.append((photo_dir, label_dir))
        pairs, alone = _pair(data_dir, photo_dir, content[photo_dir], label_dir, content[label_dir])
        splits.setdefault(split_of(words), []).extend(pairs)
        unpaired.extend(alone)
    for folder in content if not any(splits.values()) else ():
        masks = [name for name in content[folder] if _SUFFIX.search(os.path.splitext(name)[0])]
        others = [name for name in content[folder] if name not in masks]
        pairs, alone = _pair(data_dir, folder, others, folder, masks)
        if pairs:
            chosen.append((folder, folder))
            splits.setdefault(split_of(_words(folder)[0]), []).extend(pairs)
            unpaired.extend(alone)
    if not any(splits.values()):
        raise _nothing_found(data_dir, listed, content, chosen)
    several = len(chosen) > len(splits)  # then names may repeat
    return Layout(
        data_dir,
        {name: tuple(unique(examples, several)) for name, examples in splits.items() if examples},
        tuple(unpaired),
        unread=find_unread(data_dir, listed),
    )


def _nothing_found(
    data_dir: str, listed: dict[str, list[str]], content: dict[str, list[str]], chosen: list[tuple[str, str]]
) -> UserError:
    """What to say of a folder without pairs.

    Args:
      data_dir: the folder.
      listed: what is in it and in those below it.
      content: the pictures of those that hold some.
      chosen: folders of photos and of masks that belong together, though no names in them do.
    """
    unread = images.describe_unread(find_unread(data_dir, listed))
    if chosen and not unread:
        photo, mask = (posixpath.join(folder, content[folder][0]) for folder in chosen[0])
        same = os.path.splitext(content[chosen[0][0]][0])[0] + os.path.splitext(mask)[1]
        return UserError(
            f"folder: no photos with masks in {data_dir}: no file pairs in {chosen[0][0]} and {chosen[0][1]}, such as "
            f"{photo} and {mask}; expected a mask of the same name as its photo, {same} here, or that with _mask. "
            "Rename the ones or the others."
        )
    shown = ", ".join(content) or ", ".join(files.list_dir(data_dir)[:8]) or "nothing"
    if not content and not unread:
        return UserError(
            f"folder: no photos with masks in {data_dir} (found {shown}{_no_masks(listed)}); name the folder that "
            f"holds yours, --data_dir=DIR, in one of these layouts: {LAYOUTS}, files paired by name."
        )
    fix = _renaming(content) or f"or set --data_dir{_folder_around(data_dir)}"
    return UserError(
        f"folder: no photos with masks in {data_dir} (found {shown}{unread or _no_masks(listed)}); expected {LAYOUTS}, "
        f"files paired by name; {fix}."
    )


def _renaming(content: dict[str, list[str]]) -> str:
    """How to call the folder of masks, where one of photos is beside another one that no word tells; else ""."""
    photos = [folder for folder in content if folder and _words(folder) == ((), False)]
    others = [folder for folder in content if folder and folder not in photos and not _words(folder)[1]]
    if len(photos) != 1 or len(others) != 1 or split_of(_words(others[0])[0]) != "train":
        return ""
    return f"if {others[0]} holds the masks, rename it to {posixpath.join(posixpath.dirname(photos[0]), 'masks')}"


def find_unread(data_dir: str, listed: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The paths of photos in formats that are not read, of what `walk` gives."""
    return tuple(
        files.join(data_dir, folder, name)
        for folder, names in listed.items()
        for name in names
        if files.matches(name, images.UNREAD_PATTERNS)
    )


def _no_masks(listed: dict[str, list[str]]) -> str:
    """What a folder for masks holds that are no pictures, to follow what was found; "" if there is none."""
    for folder, names in listed.items():
        kinds = sorted({os.path.splitext(name)[1] for name in names} - {""})
        if folder and kinds and _words(folder)[1] and not pictures(names):
            return f"; {folder} holds {', '.join(kinds[:3])}, no pictures"
    return ""


def _folder_around(data_dir: str) -> str:
    """The folder around this one, as a value of --data_dir, where this is but the half of the data; else ""."""
    around, name = os.path.split(data_dir.rstrip("/"))
    words, is_mask = _words(name)
    if name in ("", ".", "..") or not files.is_dir(around or "."):
        return ""
    others = (other for other in files.list_dir(around or ".") if _words(other) == (words, not is_mask))
    return f"={around or '.'}" if any(files.is_dir(files.join(around, other)) for other in others) else ""


def walk(data_dir: str) -> Iterator[tuple[str, list[str]]]:
    """(path relative to data_dir, names of what is in it) of this folder, "", and those below it."""
    todo = [("", 0)]
    while todo:
        folder, depth = todo.pop(0)
        names = files.list_dir(files.join(data_dir, folder))
        yield folder, names
        if depth < _DEPTH:
            for name in names:
                path = f"{folder}/{name}" if folder else name
                if not files.matches(name, _FILES) and files.is_dir(files.join(data_dir, path)):
                    todo.append((path, depth + 1))


def pictures(names: list[str]) -> list[str]:
    """Those of the names that pictures have."""
    return [name for name in names if files.matches(name, images.IMAGE_PATTERNS)]


def _words(folder: str) -> tuple[tuple[str, ...], bool]:
    """The words that a folder of photos shares with that of its masks, and whether this is the latter."""
    words: list[str] = []
    is_mask = False
    for word in re.split(r"[/_\-. ]+", _GROUND_TRUTH.sub("groundtruth", folder.lower())):
        tail = next((t for t in MASK_WORDS if word.endswith(t) and word[: -len(t)] in _split_words()), None)
        if word in MASK_WORDS:
            is_mask = True
        elif tail:
            is_mask = True
            words.append(word[: -len(tail)])
        elif word and word not in _IMAGE_WORDS:
            words.append(word)
    return tuple(words), is_mask


def _split_words() -> tuple[str, ...]:
    return tuple(word for words in _SPLIT_WORDS.values() for word in words)


def split_of(words: tuple[str, ...]) -> str:
    """The split that one of the words names; "train" if none does."""
    if {"prepped", "test"} <= set(words):
        return "validation"  # the Keras tutorial has no other
    for split, known in _SPLIT_WORDS.items():
        if any(word in known for word in words):
            return split
    return "train"


def _pair(
    data_dir: str, photo_dir: str, photos: list[str], label_dir: str, labels: list[str]
) -> tuple[list[Example], list[str]]:
    """Examples of the files of the same stem, and the paths of those that have no partner."""
    by_stem: dict[str, list[str]] = {}
    for name in labels:
        by_stem.setdefault(os.path.splitext(name)[0], []).append(name)
    if not any(os.path.splitext(name)[0] in by_stem for name in photos):
        # NAME.jpg with NAME_mask.png
        bare: dict[str, list[str]] = {}
        for stem, names in by_stem.items():
            bare.setdefault(_SUFFIX.sub("", stem), []).extend(names)
        by_stem = bare
    pairs, alone, used = [], [], set()
    for name in photos:
        stem = os.path.splitext(name)[0]
        partners = by_stem.get(stem, [])
        if len(partners) > 1 or stem in used:
            twice = partners if len(partners) > 1 else [n for n in photos if os.path.splitext(n)[0] == stem]
            where = label_dir if len(partners) > 1 else photo_dir
            raise UserError(
                f"{files.join(data_dir, where)}: {' and '.join(twice)} have the same stem; remove one of them."
            )
        if partners:
            used.add(stem)
            pairs.append(
                Example(stem, files.join(data_dir, photo_dir, name), files.join(data_dir, label_dir, partners[0]))
            )
        else:
            alone.append(files.join(data_dir, photo_dir, name))
    for stem, names in by_stem.items():
        if stem not in used:
            alone.extend(files.join(data_dir, label_dir, name) for name in names)
    return pairs, alone


def unique(examples: list[Example], several: bool) -> list[Example]:
    """The same examples with names that do not repeat where they come from several folders."""
    if not several:
        return examples
    return [dataclasses.replace(e, name=f"{os.path.basename(os.path.dirname(e.image))}_{e.name}") for e in examples]


def split_examples(layout: Layout, split: str, options: Options) -> tuple[Example, ...]:
    """The examples of a split, which is made as the options say where the folders have no validation split."""
    splits = dict(layout.splits)
    if layout.seeded and not options.holdout:
        rule = options.split_rule or validation_split.by_name(options.seed)
        examples = [(example, validation_split.key(example, layout.data_dir)) for example in splits["train"]]
        held = rule([key for _, key in examples])
        splits["train"] = tuple(example for example, key in examples if key not in held)
        splits["validation"] = tuple(example for example, key in examples if key in held)
    if split == "all":
        return tuple(example for name in SPLITS for example in splits.get(name, ()))
    return splits.get(split, ())
