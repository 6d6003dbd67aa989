"""The pictures and videos that --input names, and the names of their results. No TensorFlow."""

import codecs
import collections
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fcn_tf.errors import UserError
from fcn_tf.inference.segmentation import folder_outputs, picture_outputs
from fcn_tf.io import files, georeference, images, parts, videos
from fcn_tf.io.parts import Part

STDIN = "-"
JOURNAL = "predict.json"
EXPECTED = "a picture, a video, a folder, a quoted pattern such as 'photos/*.jpg', or - for paths on standard input"
_LONGEST_STEM = 255 - max(len(output.ending) for output in picture_outputs().values())  # bytes: file systems' limit


@dataclass(frozen=True)
class Input:
    """A picture or a video.

    Attributes:
      path: of the file.
      shown: its path below the folder that was given, for tables.
      name: of its results, without their endings: `shown` without the extension, shortened where it is too long.
      video: whether it is one.
    """

    path: str
    shown: str
    name: str
    video: bool

    @property
    def renamed(self) -> bool:
        """Whether its results are called otherwise than it is."""
        return self.name not in (self.shown, os.path.splitext(self.shown)[0])


@dataclass(frozen=True)
class Inputs:
    """What --input names.

    Attributes:
      found: the pictures and videos, sorted by path.
      passed_over: the paths of other files in the folder, but for georeferences of pictures.
    """

    found: tuple[Input, ...]
    passed_over: tuple[str, ...]

    def of_part(self, part: Part) -> "Inputs":
        """Those that are in a part. Their names stay those they have in the whole."""
        return Inputs(
            tuple(item for item in self.found if part.holds(item.shown)),
            tuple(path for path in self.passed_over if part.holds(os.path.basename(path))),
        )

    def describe_passed_over(self) -> str:
        """How many files of which kinds were passed over, and a few of them; "" if none."""
        if not self.passed_over:
            return ""
        kinds = collections.Counter(
            os.path.splitext(path)[1].lower() or "without extension" for path in self.passed_over
        )
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        more = ", ..." if len(self.passed_over) > 3 else ""
        named = ", ".join(self.passed_over[:3])
        count = len(self.passed_over)
        what = "1 file that is no picture" if count == 1 else f"{count} files that are no pictures"
        return f"passed over {what} to it ({counts}){images.describe_unread(self.passed_over)}: {named}{more}"


def find(source: str, *, output_dir: str) -> Inputs:
    """Lists what a file, a folder, a pattern or standard input names.

    Folders are read with all folders in them. Results of an earlier run into the same folder are no input.

    Args:
      source: --input.
      output_dir: where results will go, perhaps below `source`.

    Raises:
      UserError: if there is nothing.
    """
    paths: list[str] = []
    passed_over: list[str] = []
    if source == STDIN:
        shown = _below_common_folder(_listed(sys.stdin.buffer.read()))
    elif files.is_dir(source):
        for path in _walk(source, output_dir):
            if not _is_result(path, output_dir):
                known = files.matches(os.path.basename(path), images.IMAGE_PATTERNS) or videos.is_video(path)
                (paths if known else passed_over).append(path)
        shown = {path: path[len(source) :].lstrip("/\\") for path in paths}
        used = {each for path in paths for each in georeference.beside(path)}
        passed_over = [path for path in passed_over if path not in used]
    else:
        shown = _below_common_folder(path for path in files.glob(source) if not files.is_dir(path))
    if not shown:
        extensions = {os.path.splitext(path)[1].lower() for path in passed_over}
        found = f", only {', '.join(sorted(extensions)[:5])}" if any(extensions) else ""
        unread = images.describe_unread(passed_over)
        if source != STDIN and not files.exists(source) and not re.search(r"[*?[]", source):
            found = "; there is no such file or folder"
        raise UserError(f"--input={source} names no picture{found}{unread}; expected {EXPECTED}.")
    names = output_names(list(shown.values()))
    is_video = {path: videos.is_video(path) for path in shown}
    return Inputs(
        tuple(Input(path, below, names[below], is_video[path]) for path, below in shown.items()), tuple(passed_over)
    )


def output_names(paths: list[str]) -> dict[str, str]:
    """A unique name for the results of each path: without its extension, which is kept where only that differs.

    So a.jpg and a.png become "a.jpg" and "a.png", whatever else there is in other folders. Names that differ in case
    alone count as the same, since on some disks they are, and are numbered. A name that is too long for a file's is cut
    and ends in a hash of all of it. Folders stay.
    """
    stems = collections.Counter(os.path.splitext(path)[0].lower() for path in paths)
    taken: set[str] = set()
    names = {}
    for path in paths:
        stem = os.path.splitext(path)[0]
        wanted = path if stems[stem.lower()] > 1 else stem
        name, number = _fit(wanted), 1
        while name.lower() in taken:
            number += 1
            name = _fit(wanted, f"_{number}")
        taken.add(name.lower())
        names[path] = name
    return names


def _walk(folder: str, output_dir: str) -> Iterator[str]:
    """The files in a folder and those below it, sorted; not those in `output_dir` where that lies below."""
    seen = set()
    stack = [folder]
    while stack:
        current = stack.pop()
        if not files.is_remote(current):
            if (real := os.path.realpath(current)) in seen:
                continue  # a link to a folder around it
            seen.add(real)
        below = []
        for name in files.list_dir(current):
            path = files.join(current, name)
            if not files.is_dir(path):
                yield path
            elif not files.same(path, output_dir):
                below.append(path)
        stack.extend(reversed(below))


def _is_result(path: str, output_dir: str) -> bool:
    folder, name = os.path.split(path)
    if name.endswith((videos.OVERLAY, *(output.ending for output in picture_outputs().values()))):
        return True
    once = [JOURNAL, *(output.file for output in folder_outputs().values())]
    return parts.whole(name) in once and files.same(folder, output_dir)


def _listed(data: bytes) -> list[str]:
    """The paths in a list, whatever their bytes: one a line, or with NUL after each, as of `find -print0`."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes
        data = data.decode("utf-16", "replace").encode()
    if b"\0" in data:
        lines = data.split(b"\0")
    else:
        lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line.strip()]


def _below_common_folder(paths: Iterable[str]) -> dict[str, str]:
    """Each path, and what it is below the deepest folder around all of them; of several paths of one file, the first.

    That is what is kept below the output folder, so it is never absolute and never leads upwards.
    """
    places: dict[str, str] = {}
    for path in paths:
        places.setdefault(_place(path), path)
    folder = os.path.commonpath([os.path.dirname(place) for place in places]) if places else ""
    return {path: os.path.relpath(place, folder) for place, path in places.items()}


def _place(path: str) -> str:
    """Where a file lies, without `.`, `..` and doubled slashes: any two such paths have a folder in common.

    Drives and the schemes of remote paths count as folders.
    """
    if files.is_remote(path):
        return os.path.normpath(os.sep + path.replace("://", os.sep, 1))
    plain = os.path.abspath(path)
    folder = os.path.realpath(os.path.dirname(path))
    if ".." in path and os.path.realpath(os.path.dirname(plain)) != folder:  # beyond a link, it leads elsewhere
        plain = os.path.join(folder, os.path.basename(path))
    drive, below = os.path.splitdrive(plain)
    return os.path.join(os.sep, drive.strip(os.sep + ":"), below.lstrip(os.sep))


def _fit(text: str, ending: str = "") -> str:
    """`text + ending`, the file's name in it in no more than `_LONGEST_STEM` bytes."""
    folder, name = os.path.split(text)
    encoded, room = os.fsencode(name), _LONGEST_STEM - len(ending)
    if len(encoded) > room:
        mark = "-" + hashlib.sha256(encoded).hexdigest()[:8]
        name = encoded[: room - len(mark)].decode(errors="ignore") + mark  # no half of a character
    return files.join(folder, name + ending)
