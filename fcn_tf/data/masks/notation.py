"""How values and colours are written in flags and messages."""

from fcn_tf.data.palette import Color
from fcn_tf.errors import UserError


def check_values(values: tuple[int, ...]) -> None:
    """Raises UserError unless each is one that a mask can store, and none comes twice."""
    _once("mask_values", values)
    if any(not 0 <= value <= 65535 for value in values):
        raise UserError(f"--mask_values must be from 0 to 65535, got {format_values(values)}.")


def check_colors(colors: tuple[Color, ...]) -> None:
    """Raises UserError unless each is one that a mask can store, and none comes twice."""
    _once("mask_colors", colors)
    if any(not 0 <= channel <= 255 for color in colors for channel in color):
        raise UserError(f"--mask_colors must be of r, g, b from 0 to 255, got {colors}.")


def _once(flag: str, stored: tuple[object, ...]) -> None:
    if len(set(stored)) < len(stored):
        raise UserError(f"--{flag} names a value twice ({stored}); give one for each class.")


def parse_values(text: str) -> tuple[int, ...]:
    """Reads `--mask_values`: "0,255" or, with ranges, "0-20,30".

    Raises:
      UserError: if it is neither.
    """
    values: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) - int(first) > 65535):
            raise UserError(f"--mask_values must be the value of class 0, 1, ... as in 0,255 or 0-20, got {text!r}.")
        values.extend(range(int(first), int(last or first) + 1))
    check_values(tuple(values))
    return tuple(values)


def format_values(values: tuple[int, ...]) -> str:
    """Values as `--mask_values` takes them, runs of three or more as ranges."""
    parts: list[str] = []
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[end - 1] + 1:
            run = values[start:end]
            parts.extend([f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run))
            start = end
    return ",".join(parts)


def parse_colors(text: str) -> tuple[Color, ...]:
    """Reads `--mask_colors`: "000000,ff0000" (hexadecimal) or "0,0,0;255,0,0".

    Raises:
      UserError: if it is neither.
    """
    colors: list[Color] = []
    words = [word.strip().removeprefix("#") for word in text.replace(";", " ; ").split(",")]
    try:
        if all(len(word) == 6 for word in words):
            colors = [unpack(int(word, 16)) for word in words]
        else:
            for group in text.replace(" ", ";").strip(";").split(";"):
                red, green, blue = map(int, group.split(","))
                colors.append((red, green, blue))
    except ValueError:
        raise UserError(
            f"--mask_colors must be the colour of class 0, 1, ... as in 000000,ff0000 or 0,0,0;255,0,0, got {text!r}."
        ) from None
    check_colors(tuple(colors))
    return tuple(colors)


def format_colors(colors: tuple[Color, ...]) -> str:
    """Colours as `--mask_colors` takes them."""
    return ",".join(f"{pack(color):06x}" for color in colors)


def pack(color: Color) -> int:
    """(r, g, b) -> one number."""
    return (color[0] << 16) | (color[1] << 8) | color[2]


def unpack(value: int) -> Color:
    """The inverse of `pack`."""
    return value >> 16, (value >> 8) & 255, value & 255


def show(value: int, in_color: bool) -> str:
    """A stored value as it is to be read in a message."""
    return str(unpack(value)) if in_color else str(value)
