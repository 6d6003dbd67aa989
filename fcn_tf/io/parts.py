"""Parts of a list of files, for processes that share it and know nothing of each other."""

import hashlib
import os
import re
from dataclasses import dataclass

MOST = 100_000


@dataclass(frozen=True)
class Part:
    """One of several parts.

    Attributes:
      number: which one, from 1.
      count: how many there are.
    """

    number: int
    count: int

    def holds(self, name: str) -> bool:
        """Whether a file is in this part, of all parts the only one: by its name alone, so others move none."""
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def file(self, name: str) -> str:
        """What a file that each part writes is called: "areas.csv" becomes "areas-2-of-8.csv"."""
        stem, extension = os.path.splitext(name)
        return f"{stem}-{self.number}-of-{self.count}{extension}"


def parse(text: str) -> Part:
    """Reads "2/8".

    Raises:
      ValueError: if that is no part.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
        raise ValueError(f"{text!r} is no part of a whole")
    return Part(int(found[1]), int(found[2]))


def whole(name: str) -> str:
    """The name without what `Part.file` adds; any other name is its own."""
    stem, extension = os.path.splitext(name)
    return re.sub(r"-[0-9]+-of-[0-9]+$", "", stem) + extension
