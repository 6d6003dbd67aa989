"""Text and JSON from files that others made, and what messages to people are made of. No TensorFlow."""

import codecs
import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fcn_tf.errors import UserError
from fcn_tf.io import files

_MOST = 64 << 20  # bytes of a file of text
_SHOWN = 5  # names in a message, where nothing else is asked for
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# How pictures begin, those of PBM, PGM and PPM with their size; these may be text all the same.
_PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|P[1-6](?:\s|#[^\r\n]*[\r\n])+\d+\s+\d+\s", re.DOTALL
)
# What moves a cursor, ends a line, turns the direction of writing, or has no place in UTF-8.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def load(path: str) -> str:
    r"""The content of a file of text: UTF-8, or UTF-16 as some editors of Windows write it; lines end in \n.

    Raises:
      UserError: if it is no text.
      OSError: if it cannot be read, or is larger than 64 MB.
    """
    data = files.read_bytes(path, most=_MOST)
    if _PICTURE.match(data):
        raise UserError(f"{path} is a picture; expected a file of text in UTF-8.")
    coding = next((coding for mark, coding in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(data: bytes) -> Any:
    """What JSON says.

    Raises:
      ValueError: if it is none, or nested deeper than Python can follow.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def printable(text: str, *, keep: str = "") -> str:
    r"""The same text with control characters written as \x1b is.

    Args:
      text: such as the name of a file.
      keep: control characters to leave as they are.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def has_controls(text: str) -> bool:
    """Whether `printable` would change it."""
    return _CONTROLS.search(text) is not None


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that a mistyped word was meant for: the shortest that it begins, else one near to it, in any case.

    Args:
      word: what was typed.
      choices: what it might be; the first of equals is taken.

    Returns:
      The choice as it is written; "" if none is near.
    """
    by_folded: dict[str, str] = {}
    for each in choices:
        by_folded.setdefault(each.casefold(), each)
    folded = word.strip().casefold()
    begun = [each for each in by_folded if len(folded) > 1 and each.startswith(folded)]
    near = [min(begun, key=len)] if begun else difflib.get_close_matches(folded, by_folded, n=1)
    return by_folded[near[0]] if near else ""


def reason(error: BaseException) -> str:
    """All that an error says, as one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """What an error says first, where it goes on for lines; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def some(names: Sequence[str], most: int = _SHOWN) -> str:
    """The first few names with commas between, and how many more there are: "a, b and 3 more"."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
