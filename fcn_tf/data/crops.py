"""How `--image_size` and `--scales` write the size of training crops and the scales they are taken at."""

Size = tuple[int, int]  # (height, width) in pixels


def parse_size(text: str) -> Size:
    """Reads `--image_size`: "224" for a square, or height and width as in "360x480".

    Raises:
      ValueError: if it is neither.
    """
    height, times, width = text.lower().partition("x")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in ((height, width) if times else (height,))):
        raise ValueError(f"{text!r} is neither a side in pixels nor HEIGHTxWIDTH")
    return int(height), int(width or height)


def format_size(size: int | Size) -> str:
    """A size as `--image_size` takes it, the same text for the same size."""
    height, width = as_size(size)
    return str(height) if height == width else f"{height}x{width}"


def as_size(size: int | Size) -> Size:
    """(height, width) of the side of a square, or of a size."""
    return (size, size) if isinstance(size, int) else size
