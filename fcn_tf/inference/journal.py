"""What was predicted already, so that a second run skips it: predict.json beside the results. No TensorFlow.

Processes that label a part each keep a journal each, which none of the others writes to.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fcn_tf.errors import UserError
from fcn_tf.inference.inputs import JOURNAL, Input
from fcn_tf.io import files, parts, texts
from fcn_tf.io.parts import Part

_SECONDS = 10.0  # between saves: what a killed process did since is done again
_BEGINNING = '{"settings": '
_HEAD = 1 << 14  # bytes
_SHARE = 0.05  # of the time that saving may take: a journal of a million pictures is saved less often


class Journal:
    """Remembers results by the names they were written under.

    Args:
      folder: of the results.
      settings: all that the results depend on beside the pictures; others than those of the last time void what is
        remembered.
      part: which part of the pictures; None for all of them. A part also knows what the journal of all of them does,
        which in turn knows what those of parts do.

    Attributes:
      began: whether there was a journal before.

    Raises:
      UserError: if there is a file of its name that is no journal, or the journal of another part has other settings.
    """

    def __init__(self, folder: str, settings: Mapping[str, Any], *, part: Part | None = None):
        self._folder, self._path = folder, files.join(folder, part.file(JOURNAL) if part else JOURNAL)
        self._settings = dict(settings)
        self._entries: dict[str, str] = {}  # as JSON: as dictionaries, those of a million pictures take over 1 GB
        self._next_save = time.monotonic() + _SECONDS
        self.began = files.exists(self._path)
        self._unsaved = not self.began
        if self.began:
            content = _read(self._path)
            if content["settings"] == self._settings:
                self._entries = content["results"]
        self._of_others: list[dict[str, str]] = []
        for name in files.list_dir(folder) if files.exists(folder) else []:
            path = files.join(folder, name)
            if parts.whole(name) != JOURNAL or path == self._path:
                continue
            if _settings_of(path) != self._settings:  # results of both would lie side by side
                raise UserError(
                    f"{path} is of another model, --palette, --tta, --sliding_window, --inference_precision, --runtime "
                    "or --quantize than this command; give another --output_dir, or remove it to label its part anew."
                )
            if part is None or name == JOURNAL:
                self._of_others.append(_read(path)["results"])

    def done(self, item: Input, endings: Iterable[str]) -> bool:
        """Whether the results of this very file are there."""
        wanted = [item.name + ending for ending in endings]
        stamp = files.stamp_if_there(item.path)
        for entries in (self._entries, *self._of_others):
            entry = json.loads(entries.get(item.name, "null"))
            if entry is None or entry["input"] != item.path or entry["stamp"] != stamp:
                continue
            if set(wanted) <= set(entry["files"]) and all(
                files.exists(files.join(self._folder, name)) for name in wanted
            ):
                self._unsaved |= entries is not self._entries
                self._entries[item.name] = entries[item.name]
                return True
        return False

    def add(self, item: Input, endings: Sequence[str], frames: Sequence[Mapping[int, int]]) -> None:
        """Remembers results.

        Args:
          item: what they are of.
          endings: of the files that were written, after the item's name.
          frames: of each frame, {class id: pixels}; one for a picture.
        """
        entry = {
            "input": item.path,
            "stamp": files.stamp_if_there(item.path),
            "files": [item.name + ending for ending in endings],
            "frames": [{str(label): pixels for label, pixels in frame.items()} for frame in frames],
        }
        self._entries[item.name] = json.dumps(entry)
        self._unsaved = True
        if time.monotonic() > self._next_save:
            self.save()

    def frames(self, item: Input) -> list[dict[int, int]] | None:
        """What `add` was given, or None."""
        entry = json.loads(self._entries.get(item.name, "null"))
        return entry and [{int(label): pixels for label, pixels in frame.items()} for frame in entry["frames"]]

    def save(self) -> None:
        """Writes what is remembered, unless it is written already.

        Raises:
          OSError: if it cannot be written.
        """
        if not self._unsaved:
            return
        began = time.monotonic()
        entries = ", ".join(f"{json.dumps(name)}: {entry}" for name, entry in self._entries.items())
        text = f'{_BEGINNING}{json.dumps(self._settings)}, "results": {{{entries}}}}}'
        files.write_bytes(self._path, text.encode())
        self._unsaved = False
        ended = time.monotonic()
        self._next_save = ended + max(_SECONDS, (ended - began) / _SHARE)


def _read(path: str) -> dict[str, Any]:
    """The settings of a journal, and its results as JSON by name."""
    try:
        content = texts.parse_json(files.read_bytes(path))
        settings, entries = content["settings"], dict(content["results"])
        for name, entry in entries.items():
            _check(entry)
            entries[name] = json.dumps(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _not_a_journal(path) from None
    return {"settings": settings, "results": entries}


def _settings_of(path: str) -> Any:
    """The settings of a journal, which are its beginning: of a million pictures the rest is long."""
    length, size = _HEAD, files.size(path)
    while length < 2 * max(size, _HEAD):
        head = files.read_range(path, 0, length).decode(errors="replace")
        try:
            if head.startswith(_BEGINNING):
                return json.JSONDecoder().raw_decode(head, len(_BEGINNING))[0]
        except (ValueError, RecursionError):
            pass
        length *= 2
    return _read(path)["settings"]


def _not_a_journal(path: str) -> UserError:
    return UserError(f"{path} is not what an earlier prediction left; remove it, or give another --output_dir.")


def _check(entry: Any) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError unless `Journal.add` may have made this."""
    texts_of = [entry["input"], *entry["files"]]
    counts = [pixels for frame in entry["frames"] for label, pixels in frame.items() if int(label) >= 0]
    if not all(isinstance(text, str) for text in texts_of) or not all(type(each) is int for each in counts):
        raise ValueError("an entry of another kind")
    list(entry["stamp"] or ())
