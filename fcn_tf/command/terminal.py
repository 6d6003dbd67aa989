"""What is printed: names of files and classes are text, whatever their bytes would make of a terminal."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from fcn_tf.io import texts

_LINES = "\n\r\t"
_CURSOR_UP = re.compile(r"(\x1b\[A)+")  # by itself: tqdm, which goes back to the bar above


class _Escaping:
    """A stream that writes control characters as text, and those that its encoding lacks."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not _CURSOR_UP.fullmatch(text):
            text = texts.printable(text, keep=_LINES)
            coding = getattr(self._stream, "encoding", None) or "utf-8"
            text = text.encode(coding, "backslashreplace").decode(coding)
        return self._stream.write(text)


@contextlib.contextmanager
def escaped() -> Iterator[None]:
    """Within it, standard output and standard error show no control characters but ends of lines and tabs."""
    with contextlib.redirect_stdout(_Escaping(sys.stdout)), contextlib.redirect_stderr(_Escaping(sys.stderr)):
        yield
