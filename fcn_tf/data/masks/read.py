"""Reads an example: the photo, and the mask as class ids, each checked. Files and pieces of shards alike."""

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tqdm

from fcn_tf.data.base import DatasetSpec, Example
from fcn_tf.data.masks import annotations, histogram
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, shards, texts

_SHOWN = 3  # values in an error message; the rest is counted


def read_file(path: str, *, fix: str = "restore it or remove its pair") -> bytes:
    """The bytes of a file, of a piece of a shard, or of a mask that is drawn from annotations.

    Args:
      path: of the file, or the address of the piece (io/shards.py) or of the mask (annotations.py).
      fix: what the error tells the user to do about a file.

    Raises:
      UserError: naming the file, if it cannot be read; naming the shard, if it is damaged.
    """
    try:
        if annotations.is_address(path):
            return annotations.draw(path)
        return shards.read_piece(path) if shards.is_piece(path) else files.read_bytes(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {fix}.") from None


def reader(spec: DatasetSpec, rules: MaskRules | None) -> Callable[[Example], tuple[np.ndarray, np.ndarray]]:
    """`read_pair` for a split of a data set; a warning names the first photo that its 16 bits leave black."""
    return functools.partial(read_pair, spec, rules, say=WarnOnce())


class WarnOnce:
    """Prints the first line that it is given, without damaging a progress bar. Thread-safe."""

    def __init__(self) -> None:
        self._calls = itertools.count()

    def __call__(self, line: str) -> None:
        """Prints the line, if it is the first."""
        if next(self._calls) == 0:
            tqdm.tqdm.write(f"warning: {line}; --mode=check names all such photos", sys.stderr)


def read_pair(
    spec: DatasetSpec, rules: MaskRules | None, example: Example, *, say: Callable[[str], Any] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a photo and its mask.

    Args:
      spec: of the data set.
      rules: what the mask's values mean; None where they are class ids.
      example: with a mask.
      say: as of `images.decode_image`.

    Returns:
      image: uint8 (H, W, 3), RGB.
      label: int32 (H, W), class ids or the ignore label.

    Raises:
      UserError: naming the file and what is wrong with it.
    """
    if example.label is None:
        raise UserError(f"{example.image}: there is no mask for it; training and evaluation need one.")
    try:
        image, label, stored = _decode(example.image, example.label, as_ids=rules is None, say=say)
    except UserError as error:
        raise UserError(f"{error} Or leave such files out: --on_bad_example=skip.") from None
    if rules is not None and stored is not None:
        return image, rules.apply(label, stored, name=example.label)
    check_range(label, spec, name=example.label)
    return image, label


def _decode(
    photo: str, mask: str, *, as_ids: bool, say: Callable[[str], Any] | None
) -> tuple[np.ndarray, np.ndarray, Histogram | None]:
    """The photo, what the mask stores, and the counts of that unless it stores class ids."""
    image = images.decode_image(read_file(photo), name=photo, say=say)
    data = read_file(mask)
    label, stored = (images.decode_label(data, name=mask), None) if as_ids else histogram.decode(data, name=mask)
    if image.shape[:2] != label.shape:
        raise UserError(
            f"{mask}: the mask is {_size(label)}, but its photo {photo} is {_size(image)}; expected equal sizes. Make "
            "it again at the photo's size, without blending; --mode=check tells the cause (an EXIF turn?)."
        )
    return image, label, stored


def check_range(label: np.ndarray, spec: DatasetSpec, *, name: str) -> None:
    """Makes sure that every value is a class id or the ignore label.

    Args:
      label: int32 (H, W), contiguous.
      spec: of the data set.
      name: of the file, for the error.

    Raises:
      UserError: if not; it names the values and the flag.
    """
    # Seen as unsigned, negative values are huge: one comparison finds all. This runs on every label map read.
    beyond = label[label.view(np.uint32) >= spec.num_classes]
    wrong = beyond[beyond != spec.ignore_label]
    if wrong.size:
        values = [str(value) for value in np.unique(wrong)]
        ignored = "" if spec.ignore_label is None else f" or {spec.ignore_label} (ignored)"
        raise UserError(
            f"{name}: the label map holds {texts.some(values, _SHOWN)} "
            f"in {wrong.size} of {label.size} pixels; expected class ids 0..{spec.num_classes - 1}{ignored}. "
            f"If that value means 'not labelled', set --ignore_label={wrong.max()}; else correct the file."
        )


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
