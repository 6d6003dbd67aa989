"""What was predicted already, so that a second run skips it: predict.json beside the results. No TensorFlow."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fcn_tf.errors import UserError
from fcn_tf.inference.inputs import JOURNAL, Input
from fcn_tf.io import files, texts

_SECONDS = 10.0  # between saves: what a killed process did since is done again


class Journal:
    """Remembers results by the names they were written under.

    Args:
      folder: of the results.
      settings: all that the results depend on beside the pictures; others than those of the last time void what is
        remembered.

    Attributes:
      began: whether there was a journal before.

    Raises:
      UserError: if there is a file of its name that is no journal.
    """

    def __init__(self, folder: str, settings: Mapping[str, Any]):
        self._folder, self._path = folder, files.join(folder, JOURNAL)
        self._settings, self._entries = dict(settings), {}
        self._saved = time.monotonic()
        self.began = files.exists(self._path)
        if not self.began:
            return
        try:
            content = texts.parse_json(files.read_bytes(self._path))
            settings, entries = content["settings"], dict(content["results"])
            for entry in entries.values():
                _check(entry)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{self._path} is not what an earlier prediction left; remove it, or give another --output_dir."
            ) from None
        if settings == self._settings:
            self._entries = entries

    def done(self, item: Input, endings: Iterable[str]) -> bool:
        """Whether the results of this very file are there."""
        entry = self._entries.get(item.name)
        if entry is None or entry["input"] != item.path or entry["stamp"] != files.stamp_if_there(item.path):
            return False
        wanted = [item.name + ending for ending in endings]
        return set(wanted) <= set(entry["files"]) and all(
            files.exists(files.join(self._folder, name)) for name in wanted
        )

    def add(self, item: Input, endings: Sequence[str], frames: Sequence[Mapping[int, int]]) -> None:
        """Remembers results.

        Args:
          item: what they are of.
          endings: of the files that were written, after the item's name.
          frames: of each frame, {class id: pixels}; one for a picture.
        """
        self._entries[item.name] = {
            "input": item.path,
            "stamp": files.stamp_if_there(item.path),
            "files": [item.name + ending for ending in endings],
            "frames": [{str(label): pixels for label, pixels in frame.items()} for frame in frames],
        }
        if time.monotonic() - self._saved > _SECONDS:
            self.save()

    def frames(self, item: Input) -> list[dict[int, int]] | None:
        """What `add` was given, or None."""
        entry = self._entries.get(item.name)
        return entry and [{int(label): pixels for label, pixels in frame.items()} for frame in entry["frames"]]

    def save(self) -> None:
        """Writes what is remembered.

        Raises:
          OSError: if it cannot be written.
        """
        content = {"settings": self._settings, "results": self._entries}
        files.write_bytes(self._path, json.dumps(content).encode())
        self._saved = time.monotonic()


def _check(entry: Any) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError unless `Journal.add` may have made this."""
    texts_of = [entry["input"], *entry["files"]]
    counts = [pixels for frame in entry["frames"] for label, pixels in frame.items() if int(label) >= 0]
    if not all(isinstance(text, str) for text in texts_of) or not all(type(each) is int for each in counts):
        raise ValueError("an entry of another kind")
    list(entry["stamp"] or ())
