"""Data sets of photos and label maps in files, paired by name."""

import os

from fcn_tf.data.base import Dataset, DatasetSpec, Example, require_split
from fcn_tf.data.masks.read import reader
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import files, images, texts

_SHOWN = 3  # names in an error message; the rest is counted


def load_pairs(spec: DatasetSpec, split: str, folders: tuple[tuple[str, str], ...]) -> Dataset:
    """A data set of the pairs in these (images, labels) folders, in their order."""
    examples = tuple(example for images_dir, labels_dir in folders for example in pair(images_dir, labels_dir))
    return Dataset(spec, split, examples, reader(spec, None))


def choose_split(
    name: str, data_dir: str, split: str, folders: dict[str, tuple[str, str]], *, source: str = ""
) -> tuple[tuple[str, str], ...]:
    """The (images, labels) folders of a split that are there; for "all" those of every split that is.

    Args:
      name: of the data set.
      data_dir: what the folders are in.
      split: a key of `folders`, or "all".
      folders: for each split its two folders, relative to `data_dir`.
      source: where the data set comes from, for the error where it is not there.

    Returns:
      Full paths, at least one pair.

    Raises:
      MissingSplit: if the split is unknown or is not there.
      UserError: if there is no such data set.
    """
    require_split(name, split, folders)
    if not files.is_dir(data_dir):
        fetch = f"; {source}" if source else ""
        raise UserError(
            f"{name}: there is no folder {data_dir}; name the one that holds the data set (--data_dir){fetch}."
        )
    paths = {
        key: (files.join(data_dir, photos), files.join(data_dir, labels)) for key, (photos, labels) in folders.items()
    }
    present = {key: pair for key, pair in paths.items() if all(map(files.is_dir, pair))}
    chosen = tuple(pair for key, pair in present.items() if split in (key, "all"))
    if not chosen:
        wanted = " and ".join(folders[next(iter(folders)) if split == "all" else split])
        fix = f"use --split={next(iter(present))}" if present else "set --data_dir to the folder that holds them"
        fix += f"; {source}" if source and not present else ""
        found = ", ".join(files.list_dir(data_dir)[:8]) or "nothing"
        lacks = f"no folders {wanted} in {data_dir}"
        raise MissingSplit(f"{name}: {lacks} for --split={split} (found {found}); {fix}.", lacks=lacks)
    return chosen


def pair(images_dir: str, labels_dir: str) -> tuple[Example, ...]:
    """Pairs the photos in one folder with the label maps of the same stem in another.

    Raises:
      UserError: if a folder holds no pictures, a name occurs twice, or a file has no partner.
    """
    photos, labels = _by_stem(images_dir), _by_stem(labels_dir)
    for folder, own, others, kind in (
        (images_dir, photos, labels, "label map"),
        (labels_dir, labels, photos, "photo"),
    ):
        alone = [own[stem] for stem in own if stem not in others]
        if alone:
            raise UserError(
                f"{folder}: {len(alone)} of {len(own)} files {'has' if len(alone) == 1 else 'have'} no {kind} of the "
                f"same name in {labels_dir if kind == 'label map' else images_dir}: {texts.some(alone, _SHOWN)}; add "
                "what is missing, or remove what has no partner."
            )
    return tuple(
        Example(stem, files.join(images_dir, photo), files.join(labels_dir, labels[stem]))
        for stem, photo in photos.items()
    )


def _by_stem(folder: str) -> dict[str, str]:
    """{stem: file name} of the pictures in a folder, sorted."""
    names = [name for name in files.list_dir(folder) if files.matches(name, images.IMAGE_PATTERNS)]
    if not names:
        raise UserError(f"{folder}: there are no pictures in this folder; expected JPEG or PNG files.")
    stems: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in stems:
            raise UserError(f"{folder}: {stems[stem]} and {name} have the same stem; remove one of them.")
        stems[stem] = name
    return stems
