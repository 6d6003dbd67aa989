"""Crops, scales, turns and recolours one training example. No TensorFlow, no state: a generator decides it all."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fcn_tf.data import crops

_DRAWS = 12  # random numbers an example: as many whatever is varied, so one variation does not change another's
_HUE = 0.2  # of a full turn, at jitter 1


@dataclass(frozen=True)
class Augmentation:
    """How much training examples are varied.

    Attributes:
      flip: mirror every other example from left to right.
      scales: the factors a photo is scaled by before it is cropped.
      rotate: turn by an angle of up to so many degrees either way. Corners that are turned in from outside of the
        photo are mirrored, and ignored in the label map; where no label is ignored they are mirrored in both.
      class_crops: share of the crops that are centred, as far as the photo allows, on a pixel of a class drawn
        uniformly from those in it, and not anywhere. Only for crops that keep the aspect.
      jitter: brightness, contrast and saturation each vary by up to this share, hue by up to a fifth of it of a turn.
    """

    flip: bool = True
    scales: crops.Scales = crops.Scales()
    rotate: float = 0.0
    class_crops: float = 0.0
    jitter: float = 0.0

    def __post_init__(self):
        for name, most in (("rotate", 180), ("class_crops", 1), ("jitter", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in [0, {most}], got {getattr(self, name)}.")


def transform(
    image: np.ndarray,
    label: np.ndarray,
    *,
    size: int | crops.Size,
    rng: np.random.Generator,
    augment: Augmentation | None = None,
    crop: str = "scale",
    resize: str = "area",
    longest_side: int = 0,
    ignore_label: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops, resizes and augments one example.

    Args:
      image: uint8 (H, W, 3).
      label: int32 (H, W).
      size: (h, w) of the result, or the side of a square.
      rng: decides everything random; as many numbers are drawn from it whatever they turn out to be.
      augment: what to vary; None takes the largest centred crop, or with `longest_side` that at its scale, unflipped.
      crop: "scale" keeps the aspect and crops; "squash" fits the whole picture into the size.
      resize: "area" shrinks photos by area and enlarges them bilinearly; "nearest" takes the nearest pixel. Label maps
        always take the nearest.
      longest_side: pixels that the photo's longer side is brought to before anything else; 0: it stays as it is.
      ignore_label: of the label map, or None.

    Returns:
      uint8 (h, w, 3) and int32 (h, w), aligned.
    """
    size = crops.as_size(size)
    flip, zoom, down, right, turn, *rest = rng.random(_DRAWS) if augment else (1.0, 0.0, 0.5, 0.5, 0.5)
    height, width = label.shape
    top = left = 0
    if crop == "scale":
        scale = augment.scales.at(zoom) if augment else float(longest_side > 0)
        fit = longest_side / max(label.shape) if longest_side else 1.0
        height, width = _window(label.shape, size, fit * scale)
        top, left = int(down * (label.shape[0] - height + 1)), int(right * (label.shape[1] - width + 1))
        if augment and augment.class_crops:
            centred, chosen, pixel, *_ = rest
            if centred < augment.class_crops and (found := _pixel_of_a_class(label, ignore_label, chosen, pixel)):
                top = min(max(found[0] - height // 2, 0), label.shape[0] - height)
                left = min(max(found[1] - width // 2, 0), label.shape[1] - width)
    # Cropped first, so that only the pixels that are used are turned and resized.
    if augment and augment.rotate:
        window, degrees = (top, left, height, width), augment.rotate * (2 * turn - 1)
        image, label = _turned(image, label, window, degrees, smooth=resize != "nearest", ignore_label=ignore_label)
    else:
        image, label = image[top : top + height, left : left + width], label[top : top + height, left : left + width]
    image = _nearest(image, size) if resize == "nearest" else _smooth(image, size)
    label = _nearest(label, size)
    if augment and augment.flip and flip < 0.5:
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    if augment and augment.jitter:
        image = _jitter(image, *(augment.jitter * (2 * np.array(rest[-4:]) - 1)))
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


def _window(shape: tuple[int, ...], size: crops.Size, scale: float) -> crops.Size:
    """The part of a picture (H, W) that becomes a crop of `size` at a scale: never more than the picture has."""
    scale = max(scale, *(wanted / there for wanted, there in zip(size, shape, strict=True)))  # nothing is padded
    height, width = (max(1, min(there, round(wanted / scale))) for wanted, there in zip(size, shape, strict=True))
    return height, width


def _pixel_of_a_class(
    label: np.ndarray, ignore_label: int | None, chosen: float, pixel: float
) -> tuple[int, int] | None:
    """(row, column) of a pixel of a class, which two random numbers in [0, 1) choose; None where all are ignored."""
    present = [each for each in np.flatnonzero(np.bincount(label.ravel())) if each != ignore_label]
    if not present:
        return None
    places = np.flatnonzero(label == present[int(chosen * len(present))])
    row, column = divmod(int(places[int(pixel * len(places))]), label.shape[1])
    return row, column


def _turned(
    image: np.ndarray,
    label: np.ndarray,
    window: tuple[int, int, int, int],
    degrees: float,
    *,
    smooth: bool,
    ignore_label: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """A window (top, left, height, width) of a picture, turned about its centre: of its own size."""
    top, left, height, width = window
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = (width - 1) / 2, (height - 1) / 2
    # From a pixel (x, y) of the result to one of the picture.
    inverse = np.array(
        [
            [cos, -sin, left + half_width - cos * half_width + sin * half_height],
            [sin, cos, top + half_height - sin * half_width - cos * half_height],
        ]
    )

    def take(pixels: np.ndarray, how: int, fill: int | None) -> np.ndarray:
        border = {"borderMode": cv2.BORDER_REFLECT_101}
        if fill is not None:
            border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": fill}
        return cv2.warpAffine(pixels, inverse, (width, height), flags=how | cv2.WARP_INVERSE_MAP, **border)

    photo = take(image, cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST, None)
    return photo, take(label, cv2.INTER_NEAREST, ignore_label)


def _smooth(image: np.ndarray, size: crops.Size) -> np.ndarray:
    """Shrinks by area, then enlarges bilinearly: a wide picture may need one for each axis."""
    height, width = image.shape[:2]
    shrunk = min(height, size[0]), min(width, size[1])
    if shrunk != (height, width):
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return image


def _nearest(pixels: np.ndarray, size: crops.Size) -> np.ndarray:
    """Takes the pixel under the centre of each new one (cv2.INTER_NEAREST takes the one under its corner)."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, (height, width), strict=True)
    )
    return pixels.take(rows, axis=0).take(columns, axis=1)


def _jitter(image: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float) -> np.ndarray:
    """Varies the colours of uint8 (H, W, 3) RGB; the strengths are in [-1, 1], 0 changes nothing.

    Brightness scales everything; contrast scales about the mean of the picture, saturation about the grey of each
    pixel; hue turns colours about the grey axis of RGB, so greys stay as they are. All of it is one matrix.
    """
    angle = 2 * math.pi * _HUE * hue
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turned = math.cos(angle) * (np.eye(3) - grey) + math.sin(angle) * across
    matrix = (1 + brightness) * (1 + contrast) * (grey + (1 + saturation) * turned)
    mean = np.mean(cv2.mean(image)[:3])
    offset = np.full((3, 1), -contrast * (1 + brightness) * mean)
    return cv2.transform(image, np.hstack([matrix, offset]))
