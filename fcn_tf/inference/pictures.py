"""What `Segmenter` takes for a picture -> uint8 RGB: arrays of any usual kind, Pillow images, paths. No TensorFlow."""

import os
import warnings

import numpy as np
from PIL import Image

from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.io import images

_SHAPE_HINTS = {
    3: "move the channels to the end, array.transpose(1, 2, 0)",
    4: "give a batch as a list of pictures, list(array)",
}

Picture = np.ndarray | Image.Image | str | os.PathLike


def read(picture: Picture, *, name: str = "") -> np.ndarray:
    """Turns a picture into what networks are given.

    Files and Pillow images become what `images.decode_image` makes of them: turned upright by their EXIF data, grey
    levels repeated in all channels, 16 bits reduced to 8, alpha dropped. Arrays likewise, see `from_array`.

    Args:
      picture: an array, a Pillow image, or the path of a file.
      name: what to call it in errors; by default, its path or its kind.

    Returns:
      uint8 (H, W, 3), RGB.

    Raises:
      UserError: if it is no picture, or cannot be decoded.
    """
    if isinstance(picture, str | os.PathLike):
        path = os.fspath(picture)
        data = read_file(path, fix="give another picture")
        images.tell_pages(data, name=name or path, say=warnings.warn)
        return images.decode_image(data, name=name or path, say=warnings.warn)
    if isinstance(picture, Image.Image):
        if 0 in picture.size:
            raise UserError(
                f"{name or 'the Pillow image'} has {picture.width}x{picture.height} pixels, expected 1x1 or more; give "
                "one with pixels."
            )
        return images.convert_image(picture, name=name or "the Pillow image", say=warnings.warn)
    if isinstance(picture, list | tuple):
        raise UserError(
            f"{name or 'the picture'} is a {type(picture).__name__}, expected an array, a Pillow image or a path; give "
            "the numbers of a picture as np.array(numbers, 'uint8')."
        )
    return from_array(np.asarray(picture), name=name or "the array")


def from_array(array: np.ndarray, *, name: str) -> np.ndarray:
    """Turns an array into uint8 RGB.

    Args:
      array: (H, W), (H, W, 1) grey; (H, W, 2) grey and alpha; (H, W, 3) RGB; (H, W, 4) RGB and alpha, which is dropped.
        uint8, or uint16 of which the upper 8 bits count, or other whole numbers in [0, 255], or floats in [0, 255].
        Floats that all lie in [0, 1] are taken for shares of 255, with a warning. A picture that is nearly black or dim
        because its values are of fewer bits than 16, or are but 0 and 1, is taken as it is, with a warning.
      name: what to call it in errors.

    Returns:
      uint8 (H, W, 3).

    Raises:
      UserError: if it is none of these, or uint16 that holds 8 bits and would be black.
    """
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        hint = _SHAPE_HINTS.get(array.ndim, "give one picture")
        raise UserError(f"{name} has shape {array.shape}, expected (H, W) or (H, W, 1 to 4); {hint}.")
    if array.ndim == 2:
        array = array[..., None]
    array = array[..., : 1 if array.shape[2] <= 2 else 3]
    return np.ascontiguousarray(np.broadcast_to(_eight_bits(array, name), (*array.shape[:2], 3)))


def _eight_bits(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint16:
        _check_brightness(int(array.max()), name)
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise UserError(f"{name} holds {array.dtype}, expected uint8 RGB; convert it with .astype('uint8').")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):  # false for NaN, too
        raise UserError(
            f"{name} holds values from {low:g} to {high:g}, expected [0, 255] (uint16: [0, 65535]); give the picture "
            "as it was read: the network subtracts the mean itself."
        )
    if array.dtype.kind != "f":
        if high == 1:
            warnings.warn(f"{name} holds 0 and 1 alone: nearly black; multiply it by 255 if 1 is white", stacklevel=2)
        return array.astype(np.uint8, copy=False)
    if 0 < high <= 1:
        warnings.warn(f"{name} holds floats in [0, 1]: multiplied by 255; give uint8 to avoid this guess", stacklevel=2)
        array = array * 255
    return np.rint(array).astype(np.uint8)


def _check_brightness(highest: int, name: str) -> None:
    """Raises UserError where all of uint16 would become black, and warns where nearly all would."""
    dark = images.darkness(highest)
    if dark and highest < 256:
        raise UserError(f"{name} is uint16 with {dark}, or give it as .astype('uint8').")
    if dark:
        warnings.warn(f"{name} is uint16 with {dark}", stacklevel=2)
