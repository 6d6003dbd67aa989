"""What --mode=check has to say: a finding, its files, and how to mend it."""

from collections.abc import Callable
from dataclasses import dataclass

_SHOWN = 5  # file names; the rest is counted


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
