"""What a mask file stores, whatever it means: values or colours, and how often each occurs.

A whole data set can be judged by such counts before any rule is made.
"""

from dataclasses import dataclass

import numpy as np

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
    """

    in_color: bool
    lossy: bool
    width: int
    height: int
    counts: dict[int, int]
    distinct: int


def decode(data: bytes, *, name: str) -> tuple[np.ndarray, Histogram]:
    """Decodes a mask to what it stores.

    Returns:
      int32 (H, W) of values, or of colours packed as in `Histogram`; and their counts.

    Raises:
      UserError: if it cannot be decoded.
    """
    pixels, in_color, lossy = _open(data, name)
    return pixels.astype(np.int32, copy=False), _count(pixels, in_color, lossy)


def count(data: bytes, *, name: str) -> Histogram:
    """What a mask stores, without its pixels: as `decode`, for less work."""
    return _count(*_open(data, name))


def _open(data: bytes, name: str) -> tuple[np.ndarray, bool, bool]:
    """uint8 or int32 (H, W); whether these are packed colours; whether the format may have changed them."""
    pixels, form = images.decode_mask(data, name=name)
    in_color = pixels.ndim == 3
    if in_color:
        red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
        pixels = (red << 16) | (green << 8) | blue
    return pixels, in_color, form == "JPEG" or (form == "WEBP" and b"VP8 " in data[:64])


def _count(pixels: np.ndarray, in_color: bool, lossy: bool) -> Histogram:
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
    return Histogram(in_color, lossy, width, height, dict(zip(values.tolist(), counts.tolist(), strict=True)), distinct)
