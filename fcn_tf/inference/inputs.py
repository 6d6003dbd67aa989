"""The images that --input names, and the names of their results. No TensorFlow."""

import hashlib
import os

from fcn_tf.errors import UserError
from fcn_tf.io import files, images

LABEL, OVERLAY = "_label.png", "_overlay.png"
_LONGEST_STEM = 255 - len(OVERLAY)  # bytes: what file systems take, and room for the longer ending


def find_pictures(source: str) -> list[str]:
    """The images named by a file, a folder or a glob, sorted.

    Raises:
      UserError: if there are none.
    """
    if not source:
        raise UserError("--mode=predict needs --input: a picture, a folder or a glob such as 'photos/*.jpg'.")
    if files.is_dir(source):
        found = [files.join(source, name) for name in files.list_dir(source)]
        # Results of an earlier run into the same folder are no input.
        found = [path for path in found if not path.endswith((LABEL, OVERLAY))]
        found = [path for path in found if files.matches(os.path.basename(path), images.IMAGE_PATTERNS)]
    else:
        found = [path for path in files.glob(source) if not files.is_dir(path)]
    if not found:
        raise UserError(f"--input={source} names no picture; expected a file, a folder of pictures or a glob.")
    return found


def output_names(paths: list[str]) -> dict[str, str]:
    """A unique name for the results of each path: its stem, numbered where others have the same.

    Names that differ in case alone count as the same, since on some disks they are. A stem that is too long for a file
    name is cut and ends in a hash of all of it, the same in every call.
    """
    taken: set[str] = set()
    names = {}
    for path in paths:
        name, number = _fit(stem(path)), 1
        while name.lower() in taken:
            number += 1
            name = _fit(stem(path), f"_{number}")
        taken.add(name.lower())
        names[path] = name
    return names


def stem(path: str) -> str:
    """The file's name without its extension."""
    return os.path.splitext(os.path.basename(path))[0]


def _fit(text: str, ending: str = "") -> str:
    """`text + ending`, in no more than `_LONGEST_STEM` bytes."""
    encoded, room = os.fsencode(text), _LONGEST_STEM - len(ending)
    if len(encoded) > room:
        mark = "-" + hashlib.sha256(encoded).hexdigest()[:8]
        text = encoded[: room - len(mark)].decode(errors="ignore") + mark  # no half of a character
    return text + ending
