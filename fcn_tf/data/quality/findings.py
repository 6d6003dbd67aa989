"""A finding of --mode=check: what is wrong, in which files, and the commands that fix it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fcn_tf.data.masks import annotations
from fcn_tf.io import files, images, shards

_FEW = 4  # files that a command names itself


@dataclass(frozen=True)
class Finding:
    """A fault of a data set, or something worth knowing about it.

    Attributes:
      kind: one word, such as "unreadable".
      severity: "error" (training or evaluating would go wrong), "warning" or "note".
      explanation: what it is and what it leads to.
      fix: what fixes it; "" where nothing needs to be done.
      files: the files that it is about.
      commands: shell commands that fix it, to be pasted as they are.
      left_out: the explanation where --on_bad_example=skip leaves the files out; "" where it does not.
    """

    kind: str
    severity: str
    explanation: str
    fix: str = ""
    files: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    left_out: str = ""

    def to_json(self) -> dict[str, Any]:
        """As check.json holds it; its keys are older than these names."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "means": self.explanation,
            "mend": self.fix,
            "files": self.files,
            "commands": self.commands,
        }


def alternatives(flags: Sequence[str]) -> str:
    """The fix that adds any one of these flags; "" if there are none."""
    return f"Add {'; or '.join(flags)}" if flags else ""


class Commands:
    """Makes shell commands that fix files, to be pasted, and the lists of files that the longer ones read.

    Attributes:
      lists: {path: content} of those lists, for the caller to write.

    Args:
      folder: where lists go.
    """

    def __init__(self, folder: str):
        self.lists: dict[str, bytes] = {}
        self._folder = folder

    def remove(self, paths: Sequence[str], *, name: str) -> str:
        """The command that removes files; see `over`."""
        return self.over(("rm", "--"), paths, name=name)

    def turn(self, masks: Sequence[str], orientation: int, *, name: str) -> str:
        """The command that turns masks as photos of this EXIF orientation, 2 to 8, are turned; see `over`."""
        program = (
            "import sys; from PIL import Image; [Image.open(path).transpose(Image.Transpose."
            f"{images.TURNS[orientation]}).save(path) for path in sys.argv[1:]]"
        )
        return self.over(("python", "-c", program), masks, name=f"{name}_{orientation}")

    def over(self, words: Sequence[str], paths: Sequence[str], *, name: str) -> str:
        """A command over files, quoted for a POSIX shell.

        Args:
          words: the command, before the files.
          paths: of the files; more than a few go to a list that `xargs` reads.
          name: of that list, without its ending.

        Returns:
          One line; where files or the list are remote, which no shell command reaches, just where the list is. Pieces
          of prepared shards are fixed where they came from, and masks that are drawn in their annotation files.
        """
        pieces, drawn = any(map(shards.is_piece, paths)), any(map(annotations.is_address, paths))
        if len(paths) <= _FEW and not (pieces or drawn) and not any(map(files.is_remote, paths)):
            return shlex.join([*words, *paths])
        listed = files.join(self._folder, f"{name}.txt")
        if pieces:
            self.lists[listed] = "".join(f"{shards.name_of(path)}\n" for path in paths).encode()
            return f"# fix these where they came from, then prepare them again: {listed}"
        if drawn:
            self.lists[listed] = "".join(f"{path}\n" for path in paths).encode()
            return f"# correct these in their annotation files: {listed}"
        self.lists[listed] = "".join(f"{shlex.quote(path)}\n" for path in paths).encode()
        if any(map(files.is_remote, [listed, *paths])):
            return f"# the files listed in {listed}"
        return f"xargs {shlex.join(words)} < {shlex.quote(listed)}"
