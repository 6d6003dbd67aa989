"""What a mask file stores, whatever it means: values or colours, and how often each occurs.

A whole data set can be judged by such counts before any rule is made.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from fcn_tf.data.masks import notation
from fcn_tf.io import images

KEPT = 1024  # colours of a mask that are counted, the most frequent


@dataclass(frozen=True)
class Histogram:
    """What a mask stores.

    Attributes:
      in_color: whether its pixels are colours, packed as by `notation.pack`.
      lossy: whether its format may have changed the values.
      width, height: in pixels.
      counts: {value: pixels}; of colours the most frequent `KEPT`.
      distinct: how many values there are.
      palette: of a palette image, {index in `counts`: its colour, packed}; {} of others.
      hidden: values (no colours) all of whose pixels are transparent; as colours, they are black.
      transparent: pixels that are.
    """

    in_color: bool
    lossy: bool
    width: int
    height: int
    counts: dict[int, int]
    distinct: int
    palette: dict[int, int] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    transparent: int = 0

    @functools.cached_property
    def colors(self) -> dict[int, int]:
        """{stored value: packed colour} where a palette or transparency says what is seen; {} where it is as stored."""
        if not (self.palette or self.hidden):
            return {}
        return {v: 0 if v in self.hidden else self.palette.get(v, v * 0x010101) for v in self.counts}

    @functools.cached_property
    def in_colors(self) -> "Histogram":
        """That of `colors`; the same one where these are as stored."""
        if not self.colors:
            return self
        counts: dict[int, int] = {}
        for value, pixels in self.counts.items():
            color = self.colors[value]
            counts[color] = counts.get(color, 0) + pixels
        return replace(self, in_color=True, counts=counts, distinct=len(counts), palette={}, hidden=())


def decode(data: bytes, *, name: str) -> tuple[np.ndarray, Histogram]:
    """Decodes a mask to what it stores.

    Returns:
      int32 (H, W) of values, or of colours packed as in `Histogram`; and their counts.

    Raises:
      UserError: if it cannot be decoded.
    """
    mask = _open(data, name)
    return mask.pixels.astype(np.int32, copy=False), _count(mask)


def count(data: bytes, *, name: str) -> Histogram:
    """What a mask stores, without its pixels: as `decode`, for less work."""
    return _count(_open(data, name))


class _Opened(NamedTuple):
    """A decoded mask.

    Attributes:
      pixels: uint8 or int32 (H, W).
      in_color: whether these are packed colours.
      lossy: whether the format may have changed them.
      palette, transparent: as of `images.StoredMask`.
    """

    pixels: np.ndarray
    in_color: bool
    lossy: bool
    palette: np.ndarray | None
    transparent: np.ndarray | None


def _open(data: bytes, name: str) -> _Opened:
    pixels, form, palette, transparent = images.decode_mask(data, name=name)
    in_color = pixels.ndim == 3
    if in_color:
        red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
        pixels = (red << 16) | (green << 8) | blue
    lossy = form == "JPEG" or (form == "WEBP" and b"VP8 " in data[:64])
    return _Opened(pixels, in_color, lossy, palette, transparent)


def _count(mask: _Opened) -> Histogram:
    pixels, in_color, lossy, palette, transparent = mask
    if not in_color and (pixels.dtype == np.uint8 or (pixels.size and 0 <= pixels.min() and pixels.max() < 65536)):
        all_counts = np.bincount(pixels.ravel())
        values = np.flatnonzero(all_counts)
        counts = all_counts[values]
    else:
        values, counts = np.unique(pixels, return_counts=True)
    distinct = len(values)
    if distinct > KEPT and in_color:
        most = np.argsort(-counts, kind="stable")[:KEPT]
        values, counts = values[most], counts[most]
    height, width = pixels.shape
    by_value = dict(zip(values.tolist(), counts.tolist(), strict=True))
    named: dict[int, int] = {}
    if palette is not None:
        named = {value: notation.pack(tuple(palette[value].tolist())) for value in by_value}
    hidden: tuple[int, ...] = ()
    if transparent is not None and not in_color:
        seen = set(np.unique(pixels[~transparent]).tolist())
        hidden = tuple(value for value in by_value if value not in seen)
    covered = 0 if transparent is None else int(transparent.sum())
    return Histogram(in_color, lossy, width, height, by_value, distinct, named, hidden, covered)
