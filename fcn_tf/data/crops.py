"""How `--image_size` and `--scales` write the size of training crops and the scales they are taken at."""

import re
from dataclasses import dataclass

Size = tuple[int, int]  # (height, width) in pixels
LARGEST = 16_384  # pixels a side: such a crop takes 3 GB as float32; products of two sides still are 32-bit numbers


def parse_size(text: str) -> Size:
    """Reads `--image_size`: "224" for a square, or height and width as in "360x480".

    Raises:
      ValueError: if it is neither.
    """
    height, times, width = text.lower().partition("x")
    if not all(re.fullmatch(r"0*[1-9][0-9]{0,18}", part) for part in ((height, width) if times else (height,))):
        raise ValueError(f"{text!r} is neither a side in pixels nor HEIGHTxWIDTH")
    return int(height), int(width or height)


def format_size(size: int | Size) -> str:
    """A size as `--image_size` takes it, the same text for the same size."""
    height, width = as_size(size)
    return str(height) if height == width else f"{height}x{width}"


def as_size(size: int | Size) -> Size:
    """(height, width) of the side of a square, or of a size."""
    return (size, size) if isinstance(size, int) else size


@dataclass(frozen=True)
class Scales:
    """The factors that photos are scaled by before they are cropped.

    Attributes:
      least, greatest: the factor is drawn log-uniformly between them.
      listed: it is drawn from these instead, if there are any.
    """

    least: float = 0.5
    greatest: float = 2.0
    listed: tuple[float, ...] = ()

    def __post_init__(self):
        if not (0 < self.least <= self.greatest and all(scale > 0 for scale in self.listed)):
            raise ValueError(f"scales must be positive, the least before the greatest, got {self}")

    def __str__(self) -> str:
        """As `--scales` takes them, the same text for the same scales."""
        if self.listed:
            return ",".join(f"{scale:g}" for scale in self.listed)
        return f"{self.least:g}-{self.greatest:g}"

    def at(self, share: float) -> float:
        """The factor that a random number in [0, 1) stands for."""
        if self.listed:
            return self.listed[int(share * len(self.listed))]
        return self.least * (self.greatest / self.least) ** share


def parse_scales(text: str) -> Scales:
    """Reads `--scales`: a range such as "0.5-2", or a list such as "0.5,0.75,1".

    Raises:
      ValueError: if it is neither.
    """
    number = r"(?:\d+\.?\d*|\.\d+)"
    if found := re.fullmatch(rf"({number})-({number})", text, re.ASCII):
        return Scales(float(found[1]), float(found[2]))
    if not re.fullmatch(rf"{number}(?:,{number})*", text, re.ASCII):
        raise ValueError(f"{text!r} is neither a range such as 0.5-2 nor a list such as 0.5,0.75,1")
    return Scales(listed=tuple(map(float, text.split(","))))
