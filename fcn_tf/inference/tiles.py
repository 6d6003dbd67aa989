"""Pictures labelled in tiles, in bands or made smaller, and what that gives, whatever runs a network. No TensorFlow."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from fcn_tf.data import crops
from fcn_tf.errors import UserError

_BAND = 1 << 24  # bytes of scores that are brought to the size of an image at once
_STRIDE = 32  # pixels between the coarsest features of all networks, or a multiple of that
_MARGIN = 8  # a tile's outer 1 / _MARGIN is context: another tile, with more context there, labels it

Part = tuple[int, int, int, int]  # (top, left, height, width) of what is kept, within what is seen


class Prediction(NamedTuple):
    """What a model says about each pixel of images of one size.

    Attributes:
      labels: class ids (B, H, W), see `label_dtype`.
      confidence: float32 (B, H, W), the probability of the label, in [0, 1], or None.
      probabilities: float16 (B, H, W, C), in [0, 1], or None.
    """

    labels: np.ndarray
    confidence: np.ndarray | None = None
    probabilities: np.ndarray | None = None


@dataclass(frozen=True)
class Tile:
    """A part of an image that goes through the model at once.

    Attributes:
      seen: slices of the rows and columns that the model sees.
      kept: slices of the image's rows and columns that it labels.
      inside: where within what is seen that lies.
    """

    seen: tuple[slice, slice]
    kept: tuple[slice, slice]
    inside: Part


def label_dtype(num_classes: int) -> np.dtype:
    """The narrowest of uint8, uint16 and int32 that holds the ids of so many classes."""
    return np.dtype(np.uint8 if num_classes <= 2**8 else np.uint16 if num_classes <= 2**16 else np.int32)


def predict(
    look: Callable[[np.ndarray], Any],
    label: Callable[[Any, Part, tuple[int, int]], Mapping],
    images: np.ndarray,
    *,
    tile: int,
    resizes: bool = False,
    in_bands: bool = False,
    num_classes: int,
    confidence: bool,
    probabilities: bool,
) -> Prediction:
    """Labels images tile by tile, or whole.

    Args:
      look: uint8 (B, H, W, 3) -> all that `label` needs of them.
      label: that, a part, and (H, W) -> {"labels": (B, h, w), ...} of the part, also "confidence" and "probabilities"
        where asked for.
      images: uint8 (B, H, W, 3) RGB.
      tile: side of the tiles in pixels; 0: the whole image at once.
      resizes: whether the network brings images to a size of its own. They go through it whole, with their longer side
        made smaller to `tile` pixels (0: to as many as can be counted); each pixel takes what is found nearest to it.
      in_bands: whether to label band after band of what was looked at.
      num_classes: how many classes there are.
      confidence: whether to give the probability of each label.
      probabilities: whether to give the probabilities of all classes.
    """
    shape = images.shape[1:3]
    if resizes:
        images, tile = _at_most(tile or crops.LARGEST, images), 0
    size = images.shape[:3]
    results = {"labels": np.empty(size, label_dtype(num_classes))}
    if confidence:
        results["confidence"] = np.empty(size, np.float32)
    if probabilities:
        results["probabilities"] = np.empty((*size, num_classes), np.float16)
    for seen, parts in seen_in_parts(images, tile, num_classes=num_classes, in_bands=in_bands):
        looked = look(seen)
        for band in parts:
            found = label(looked, band.inside, seen.shape[1:3])
            for name, result in results.items():
                result[:, *band.kept] = np.asarray(found[name])
    return Prediction(**{name: _nearest(result, *shape) for name, result in results.items()})


def _at_most(side: int, images: np.ndarray) -> np.ndarray:
    """Images (B, H, W, 3) whose longer side has at most so many pixels: these, or smaller ones."""
    factor = side / max(images.shape[1:3])
    if factor >= 1:
        return images
    rows, columns = (max(1, round(length * factor)) for length in images.shape[1:3])
    return np.stack([cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) for image in images])


def _nearest(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """(B, h, w, ...) -> (B, height, width, ...): each pixel is the nearest one."""
    if maps.shape[1:3] == (height, width):
        return maps
    row, column = (np.arange(new) * old // new for new, old in zip((height, width), maps.shape[1:3], strict=True))
    return maps[:, row[:, None], column]


def require_none(tile: int, *, longest_side: int) -> None:
    """Raises UserError if there are to be tiles, and the network resizes whatever it is given."""
    if longest_side and tile:
        raise UserError(
            f"the model brings all that it is given to {longest_side} pixels on the longer side, tiles too, got a "
            f"sliding window of {tile}; leave it out: it would save no memory."
        )


def tiles(height: int, width: int, side: int) -> Iterator[Tile]:
    """Cuts an image into overlapping tiles that label every pixel once.

    A pixel is labelled by the tile in which it lies deepest, so tiles need not be averaged, and no more than one
    tile's scores are held.

    Args:
      height: of the image.
      width: of the image.
      side: of the tiles; 0 for one tile, the whole image.
    """
    for (top, bottom, first, last), (left, right, west, east) in itertools.product(
        _cuts(height, side), _cuts(width, side)
    ):
        yield Tile(
            seen=(slice(top, bottom), slice(left, right)),
            kept=(slice(first, last), slice(west, east)),
            inside=(first - top, west - left, last - first, east - west),
        )


def seen_in_parts(
    images: np.ndarray, tile: int, *, num_classes: int, in_bands: bool
) -> Iterator[tuple[np.ndarray, Iterator[Tile]]]:
    """Cuts images into what the model sees at a time, and that into the parts that are labelled.

    Args:
      images: uint8 (B, H, W, 3).
      tile: side of the tiles in pixels; 0 for the whole images.
      num_classes: how many scores a pixel has, by which bands are made.
      in_bands: whether to label band after band of a tile, and not all of it.

    Yields:
      uint8 (B, h, w, 3), and what is labelled of it.
    """
    for each in tiles(images.shape[1], images.shape[2], tile):
        seen = images[:, *each.seen]
        height, width = seen.shape[1:3]
        yield seen, bands(each, band_rows(height, width, scores=4 * num_classes * len(seen)) if in_bands else height)


def band_rows(height: int, width: int, *, scores: int) -> int:
    """How many rows make a band of an image, at so many bytes of scores a pixel."""
    return max(1, min(height, _BAND // (width * scores)))


def bands(tile: Tile, rows: int) -> Iterator[Tile]:
    """Cuts what a tile keeps into bands of so many rows, and a last one of what is left."""
    top, left, height, width = tile.inside
    first = tile.kept[0].start
    for begin in range(0, height, rows):
        count = min(rows, height - begin)
        kept = slice(first + begin, first + begin + count), tile.kept[1]
        yield Tile(seen=tile.seen, kept=kept, inside=(top + begin, left, count, width))


def _cuts(length: int, side: int) -> list[tuple[int, int, int, int]]:
    """(start, end) of each tile along one axis, and (first, last) of what it labels; the last may be shorter."""
    if side == 0 or length <= side:
        return [(0, length, 0, length)]
    count = 1 + math.ceil((length - side) / max(1, side - 2 * (side // _MARGIN)))
    # Where the network's coarsest features lie is counted from the start of what it sees: a tile that starts between
    # two of those of the whole image has others.
    step = math.gcd(_STRIDE, 1 << (side // _MARGIN).bit_length() - 1) if side >= _MARGIN else 1
    farthest = -(-(length - side) // step)
    starts = [step * round(number * farthest / (count - 1)) for number in range(count)]
    ends = [min(start + side, length) for start in starts]
    # Halfway through each overlap.
    edges = [0, *((start + end) // 2 for start, end in zip(starts[1:], ends, strict=False)), length]
    return [
        (start, end, first, last)
        for start, end, (first, last) in zip(starts, ends, itertools.pairwise(edges), strict=True)
    ]
