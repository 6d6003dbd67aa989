"""The values that flags accept: what a check is, and all there are. No TensorFlow."""

import math
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from fcn_tf import registry
from fcn_tf.data import crops
from fcn_tf.io import parts, texts

# Choices of flags alone; those that other packages read are in `registry`.
PRECISIONS = ("float32", "bfloat16", "float16")
ON_BAD_EXAMPLE = ("fail", "skip")
ON_NAN = ("stop", "rollback")
RESUME_FROM = ("latest", "best")
SEEDS = 2**31  # it becomes an int32 in the training step
_LARGEST = 10**15  # TensorFlow counts in 64 bits, products of two counts included
_MOST_IMAGES = 65_536
_SMALLEST_WINDOW = 32  # pixels: one cell of the coarsest feature map


class Check(NamedTuple):
    """The values that a flag accepts.

    Attributes:
      accepts: whether a value of the flag's type is one of them.
      expected: names them, to follow "must be".
      choices: all of them, where they can be listed.
    """

    accepts: Callable[[Any], bool]
    expected: str
    choices: tuple[str, ...] = ()


def one_of(choices: Collection[str]) -> Check:
    """A check for one of some names."""
    return Check(lambda value: value in choices, f"one of {', '.join(choices)}", tuple(choices))


def reads(parse: Callable[[str], Any], text: str) -> bool:
    """Whether `parse` takes a text."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def suggestion(value: Any, choices: Collection[str]) -> str:
    """The end of an error about a value: which choice it, or a part of it, is nearly or begins."""
    for part in re.split(r"[+,]", str(value).strip().lower()):
        if part not in choices and (near := texts.nearest(part, choices)):
            return f"; did you mean {near}?"
    return "."


def _different(values: list[str], known: Collection[str]) -> bool:
    return set(values) <= set(known) and len(set(values)) == len(values)


COUNT = Check(lambda value: 1 <= value <= _LARGEST, "1 or more, up to 10^15")
NOT_NEGATIVE = Check(lambda value: 0 <= value <= _LARGEST, "0 or more, up to 10^15")
SIZE = Check(
    lambda text: reads(crops.parse_size, text) and max(crops.parse_size(text)) <= crops.LARGEST,
    "a side in pixels such as 224, or HEIGHTxWIDTH such as 360x480 (or 0: the data set's default), each up to "
    f"{crops.LARGEST}",
)
COUNT_OR_DEFAULT = Check(lambda value: 1 <= value <= _LARGEST, "1 or more, up to 10^15 (or 0: the data set's default)")
BATCH = Check(
    lambda value: 1 <= value <= _MOST_IMAGES, f"1 or more, up to {_MOST_IMAGES} (or 0: the data set's default)"
)
ZERO_OR_ONE = Check(lambda value: value in (0, 1), "0 or 1")
CLASSES = Check(lambda value: value == 0 or value >= 2, "2 or more (or 0: as many as the masks show)")
LABEL = Check(lambda text: text in ("auto", "none") or text.isdecimal(), "auto, none or a label id from 0")
RATE = Check(lambda value: value > 0 and math.isfinite(value), "a positive number such as 1e-4")
FINITE = Check(lambda value: value >= 0 and math.isfinite(value), "0 or a positive number")
FACTOR = Check(lambda value: value > 0 and math.isfinite(value), "a positive number such as 2")
FRACTION = Check(lambda value: 0 <= value < 1, "in [0, 1)")
PREFIXES = Check(
    lambda text: text == "" or all(map(str.strip, text.split(","))), "starts of file names with commas between"
)
SHARE = Check(lambda value: 0 <= value <= 1, "in [0, 1]")
ANGLE = Check(lambda value: 0 <= value <= 180, "in [0, 180] degrees")
SCALES = Check(
    lambda text: reads(crops.parse_scales, text), "a range such as 0.5-2 or a list such as 0.5,0.75,1 of factors"
)
SEED = Check(lambda value: 0 <= value < SEEDS, f"from 0 to {SEEDS - 1}")
WINDOW = Check(lambda value: value == 0 or value >= _SMALLEST_WINDOW, f"0 (off) or {_SMALLEST_WINDOW} pixels or more")
LONGEST_SIDE = Check(
    lambda value: value == 0 or _SMALLEST_WINDOW <= value <= crops.LARGEST,
    f"0 (off) or from {_SMALLEST_WINDOW} to {crops.LARGEST} pixels",
)
LOSS = Check(
    lambda text: _different(text.split("+"), registry.LOSSES),
    f"one of {', '.join(registry.LOSSES)}, or a sum of different ones such as cross_entropy+dice",
    tuple(registry.LOSSES),
)
TRACKERS = Check(
    lambda text: text == "" or _different(text.split(","), registry.TRACKERS),
    f"some of {', '.join(registry.TRACKERS)} with commas between",
    tuple(registry.TRACKERS),
)
POINT = Check(
    lambda text: text == "" or re.fullmatch(r"\d+,\d+", text) is not None, "x,y: a column and a row, such as 120,80"
)
HOST = Check(lambda text: text.strip() != "", "an address such as 127.0.0.1, or 0.0.0.0 for all of this machine's")
PORT = Check(lambda value: 0 <= value <= 65535, "from 0 to 65535")
TOKEN = Check(
    lambda text: text == "" or re.fullmatch(r"[\w.~+/=-]{8,}", text, re.ASCII) is not None,
    "8 or more letters, digits and ._~+/=- without spaces",
)
OUTPUTS = Check(
    lambda text: text == "" or _different(text.split(","), registry.OUTPUTS),
    f"some of {', '.join(registry.OUTPUTS)}, with commas between",
    tuple(registry.OUTPUTS),
)
TRUNK = Check(
    lambda text: text == "" or text in registry.TRUNKS, f"one of {', '.join(registry.TRUNKS)}", tuple(registry.TRUNKS)
)
QUIRKS = Check(
    lambda text: text in ("all", "none") or _different(text.split(","), registry.QUIRKS),
    f"all, none, or some of {', '.join(registry.QUIRKS)} with commas between",
)
PART = Check(
    lambda text: text == "" or reads(parts.parse, text),
    f"k/n such as 2/8, the second of eight: k from 1 to n, n up to {parts.MOST}",
)
FORMATS = Check(
    lambda text: _different(text.split(","), registry.EXPORTS),
    f"some of {', '.join(registry.EXPORTS)} with commas between",
    tuple(registry.EXPORTS),
)
FREEZE = Check(
    lambda text: text == "" or {*text.split(",")} <= {*registry.STAGES, "trunk"},
    f"some of {', '.join(registry.STAGES)} with commas between, or trunk",
    (*registry.STAGES, "trunk"),
)
