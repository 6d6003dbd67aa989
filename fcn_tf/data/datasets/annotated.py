"""Finds the layout of a folder whose masks are pictures, or are drawn from annotation files of LabelMe or COCO.

LabelMe has a JSON file a photo, beside it or in another folder. COCO has one for a split, and its photos in any folder;
PNGs of panoptic segments lie in the folder that is called as their JSON file, beside it.
"""

import dataclasses
import os
import posixpath
import re
from collections.abc import Mapping

from fcn_tf.data.base import Example
from fcn_tf.data.datasets import layouts
from fcn_tf.data.datasets.layouts import AnnotatedClasses, Layout
from fcn_tf.data.masks import annotations
from fcn_tf.data.masks.annotations import Coco, LabelMe
from fcn_tf.errors import UserError
from fcn_tf.io import files

_OTHER_TASKS = ("captions", "person_keypoints", "image_info")  # begin the names of COCO's files for other tasks
_MOST_LABELS = 254  # of LabelMe: their numbers, 0 and 255 are one byte

_Folders = Mapping[str, list[str]]  # {folder below --data_dir: names in it}


def find(data_dir: str) -> Layout:
    """Recognises the layout of a folder; pictures of masks go before annotation files.

    Raises:
      UserError: if there is neither, or an annotation file is not as it should be.
    """
    try:
        return layouts.find(data_dir)
    except UserError:
        found = _annotated(data_dir, dict(layouts.walk(data_dir))) if files.is_dir(data_dir) else None
        if found is None:
            raise
        return found


def _annotated(data_dir: str, content: _Folders) -> Layout | None:
    coco: dict[str, Coco] = {}
    labelme: dict[str, LabelMe | None] = {}
    for folder, names in content.items():
        stems = {os.path.splitext(name)[0] for name in layouts.pictures(names)}
        for name in names:
            if not name.lower().endswith(".json") or name.lower().startswith(_OTHER_TASKS):
                continue
            path = posixpath.join(folder, name)
            try:
                read = annotations.read(files.join(data_dir, path))
            except UserError:
                if os.path.splitext(name)[0] not in stems:
                    raise
                labelme[path] = None  # reading its mask will say what is wrong
                continue
            if isinstance(read, Coco):
                coco[path] = read
            elif isinstance(read, LabelMe):
                labelme[path] = read
    if not coco and not any(labelme.values()):
        return None
    found = _of_coco(data_dir, content, coco) if coco else _of_labelme(data_dir, content, labelme)
    return dataclasses.replace(found, unread=layouts.find_unread(data_dir, content))


def _of_labelme(data_dir: str, content: _Folders, found: Mapping[str, LabelMe | None]) -> Layout:
    labels = sorted({label for each in found.values() if each for label in each.labels})
    if len(labels) > _MOST_LABELS:
        raise UserError(
            f"{data_dir}: the files of LabelMe have {len(labels)} labels, at most {_MOST_LABELS} can be told."
        )
    by_stem: dict[str, list[str]] = {}
    for folder, names in content.items():
        for name in layouts.pictures(names):
            by_stem.setdefault(os.path.splitext(name)[0], []).append(posixpath.join(folder, name))
    photos = {photo for here in by_stem.values() for photo in here}
    splits: dict[str, list[Example]] = {}
    alone, used = [], set()
    for path, each in found.items():
        folder, stem = posixpath.dirname(path), os.path.splitext(posixpath.basename(path))[0]
        candidates = by_stem.get(stem, [])
        beside = [photo for photo in candidates if posixpath.dirname(photo) == folder]
        named = posixpath.normpath(posixpath.join(folder, each.image.replace("\\", "/"))) if each else ""
        photo = beside[0] if beside else named if named in photos else candidates[0] if len(candidates) == 1 else ""
        if not photo:
            alone.append(files.join(data_dir, path))
            continue
        used.add(photo)
        label = annotations.labelme_address(files.join(data_dir, path), labels)
        splits.setdefault(_split_of(photo), []).append(Example(stem, files.join(data_dir, photo), label))
    alone += [files.join(data_dir, photo) for photo in sorted(photos - used)]
    classes = AnnotatedClasses(("background", *labels), tuple(range(len(labels) + 1)), annotations.IGNORED)
    return _layout(data_dir, splits, alone, classes)


def _of_coco(data_dir: str, content: _Folders, found: Mapping[str, Coco]) -> Layout:
    splits: dict[str, list[Example]] = {}
    alone: list[str] = []
    files_of: dict[str, str] = {}
    categories: dict[int, str] = {}
    for path, coco in found.items():
        split = _split_of(path)
        first = files_of.setdefault(split, path)
        if first != path:
            raise UserError(f"{data_dir}: {first} and {path} may both hold the masks of {split}; move one elsewhere.")
        for number, name in coco.categories.items():
            if categories.setdefault(number, name) != name:
                raise UserError(
                    f"{files.join(data_dir, path)}: the category {number} is {name!r}, but {categories[number]!r} in "
                    f"{next(iter(found))}; export both again."
                )
        base = _photo_folder(content, coco, path)
        for image, (name, _, _) in coco.images.items():
            photo = posixpath.normpath(posixpath.join(base, name))
            if posixpath.basename(photo) not in content.get(posixpath.dirname(photo), ()):
                alone.append(files.join(data_dir, photo))
            elif image in coco.pngs or not coco.panoptic:
                label = annotations.coco_address(files.join(data_dir, path), coco, image)
                stem = os.path.splitext(name)[0].replace("/", "_")
                splits.setdefault(split, []).append(Example(stem, files.join(data_dir, photo), label))
    if len({coco.panoptic for coco in found.values()}) > 1:
        raise UserError(f"{data_dir}: {' and '.join(found)} hold panoptic segments and instances; move one elsewhere.")
    values = [number + 1 for number in categories]
    names = list(categories.values())
    if next(iter(found.values())).panoptic:
        return _layout(data_dir, splits, alone, AnnotatedClasses(tuple(names), tuple(values), 0))
    return _layout(data_dir, splits, alone, AnnotatedClasses(("background", *names), (0, *values), None))


def _photo_folder(content: _Folders, coco: Coco, path: str) -> str:
    """The folder in which most of the photos are found that a file of COCO names; of equals that of the file."""
    inside = {folder: set(names) for folder, names in content.items()}
    named = [posixpath.split(name) for name, _, _ in coco.images.values()]

    def fits(base: str) -> tuple[int, bool, bool]:
        places = (posixpath.normpath(posixpath.join(base, folder)) for folder, _ in named)
        found = sum(name in inside.get(place, ()) for place, (_, name) in zip(places, named, strict=True))
        return found, base == posixpath.dirname(path), _split_of(base) == _split_of(path)

    return max(inside, key=fits)


def _layout(data_dir: str, splits: dict[str, list[Example]], alone: list[str], classes: AnnotatedClasses) -> Layout:
    made = {}
    for split, examples in splits.items():
        repeated = len({example.name for example in examples}) < len(examples)
        made[split] = tuple(layouts.unique(sorted(examples, key=lambda example: example.image), repeated))
    return Layout(data_dir, made, tuple(alone), classes)


def _split_of(path: str) -> str:
    return layouts.split_of(tuple(re.split(r"[^a-z]+", path.lower())))


def named(classes: AnnotatedClasses, names: tuple[str, ...], path: str) -> AnnotatedClasses:
    """The classes in the order of a file of names.

    Args:
      classes: of the annotations.
      names: that the file has; () for none.
      path: of the file.

    Raises:
      UserError: if a class has no line.
    """
    if not names:
        return classes
    values = dict(zip(classes.names, classes.values, strict=True))
    for other in annotations.BACKGROUND:
        if "background" in values and other in names:
            values[other] = values.pop("background")
    if missing := [name for name in values if name not in names]:
        raise UserError(
            f"{path}: has no line for {', '.join(missing[:5])}, which the annotations hold; add it, or remove the file."
        )
    names = tuple(name for name in names if name != annotations.IGNORE_NAME)
    unused = (value for value in range(annotations.MOST, 0, -1) if value not in classes.values)
    return dataclasses.replace(
        classes, names=names, values=tuple(values[name] if name in values else next(unused) for name in names)
    )
