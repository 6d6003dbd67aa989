"""What --mode=check has to say: a finding, its files, and how to mend it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fcn_tf.io import files, images, shards

_SHOWN = 5  # file names; the rest is counted
_FEW = 4  # files that a command names itself


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about a data set.

    Attributes:
      kind: one word, such as "unreadable".
      severity: "error" (training or evaluating would go wrong), "warning" or "note".
      means: what it is and what it leads to.
      mend: what mends it; "" where nothing needs to be done.
      files: the files that it is about.
      commands: shell commands that mend it, to be pasted as they are.
    """

    kind: str
    severity: str
    means: str
    mend: str
    files: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def some(paths: tuple[str, ...]) -> str:
    """The first few paths, the rest counted."""
    rest = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def report(findings: list[Finding], write: Callable[[str], object] = print) -> None:
    """Prints the findings, each command on a line of its own."""
    for finding in findings:
        named = f" Files ({len(finding.files)}): {some(finding.files)}." if finding.files else ""
        write(f"{finding.severity} [{finding.kind}] {finding.means}{named}")
        if finding.mend:
            write(f"    mend: {finding.mend}{':' if finding.commands else ''}")
        for command in finding.commands:
            write(f"      {command}")


class Commands:
    """Makes commands, and the lists of files that the longer ones read.

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
          of prepared shards are mended where they came from.
        """
        pieces = any(map(shards.is_piece, paths))
        if len(paths) <= _FEW and not pieces and not any(map(files.is_remote, paths)):
            return shlex.join([*words, *paths])
        listed = files.join(self._folder, f"{name}.txt")
        if pieces:
            self.lists[listed] = "".join(f"{shards.name_of(path)}\n" for path in paths).encode()
            return f"# mend these where they came from, then prepare them again: {listed}"
        self.lists[listed] = "".join(f"{shlex.quote(path)}\n" for path in paths).encode()
        if any(map(files.is_remote, [listed, *paths])):
            return f"# the files listed in {listed}"
        return f"xargs {shlex.join(words)} < {shlex.quote(listed)}"
