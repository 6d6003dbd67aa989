"""Fonts for class names, whatever alphabet these are in."""

import functools
import importlib.util
import io
import os
import sys

from PIL import ImageFont

from fcn_tf.io import files

# Where systems keep fonts, and what their fonts of many alphabets are called; searched in this order.
_FOLDERS = {
    "linux": ("~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts"),
    "darwin": ("~/Library/Fonts", "/Library/Fonts", "/System/Library/Fonts"),
    "win32": ("~/AppData/Local/Microsoft/Windows/Fonts", "C:/Windows/Fonts"),
}
_ENDINGS = (".ttf", ".otf", ".ttc")
_PREFERRED = (
    *("notosanscjk", "sourcehansans", "wqy-microhei", "wqy-zenhei", "droidsansfallback", "notosans", "pingfang"),
    *("hiragino", "applesdgothic", "arial unicode", "msyh", "yugoth", "malgun", "meiryo", "simsun"),
)
_TRIED = 200  # fonts: a system may have thousands
_NO_CHARACTER = "\U0010ffff"  # no font has it: what is drawn stands for every character that is missing
_PLACEHOLDERS = "lastresort"  # has every character, as a box


def lettering(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    r"""A font that has all characters of a text: DejaVu Sans, or one of the system's.

    Args:
      text: such as a class name.
      size: of the font in pixels.

    Returns:
      The text and the font. Where no font has them, the characters that are missing are written as \uXXXX.
    """
    font = _default(size)
    missing = "".join(sorted({character for character in text if not _has(font, character)}))
    if not missing:
        return text, font
    path = _with_all(text)
    if path is not None:
        return text, _load(path, size)
    return "".join(_escaped(each) if each in missing else each for each in text), font


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


@functools.cache
def _default(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has Latin, Greek and Cyrillic letters."""
    # It ships with matplotlib, which would take long to import.
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.submodule_search_locations
    return _load(os.path.join(spec.submodule_search_locations[0], "mpl-data", "fonts", "ttf", "DejaVuSans.ttf"), size)


@functools.cache
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout: the other one fails on characters that a font lacks.
    return ImageFont.truetype(io.BytesIO(files.read_bytes(path)), size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=10_000)
def _has(font: ImageFont.FreeTypeFont, character: str) -> bool:
    return character.isspace() or bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


@functools.lru_cache(maxsize=1_000)
def _with_all(text: str) -> str | None:
    """The path of the first system font that has all characters of a text, or None."""
    for path in _system_fonts()[:_TRIED]:
        try:
            font = _load(path, 16)
            if all(_has(font, character) for character in text):
                return path
        except OSError:  # damaged, or of a kind that is not read here
            continue
    return None


@functools.cache
def _system_fonts() -> list[str]:
    """The paths of the fonts of this machine, those first that are known for many characters."""
    found = []
    for folder in _FOLDERS.get(sys.platform, ()):
        for parent, _, names in os.walk(os.path.expanduser(folder)):
            found += [os.path.join(parent, name) for name in sorted(names) if name.lower().endswith(_ENDINGS)]

    def rank(path: str) -> int:
        name = os.path.basename(path).lower().replace("-regular", "")
        return next((place for place, part in enumerate(_PREFERRED) if name.startswith(part)), len(_PREFERRED))

    return sorted((path for path in found if _PLACEHOLDERS not in path.lower()), key=rank)
