"""Whether an export says what the model says: compared in the format's own runtime, and timed against TensorFlow."""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import keras
import numpy as np

from fcn_tf.data.base import Dataset
from fcn_tf.formats.base import Result, Runner
from fcn_tf.inference.evaluator import Predictor
from fcn_tf.metrics import confusion

# (height, width): multiples of every stride, odd ones, one lower than a single cell of the coarsest map.
_SIZES = ((224, 224), (240, 320), (181, 227), (97, 131), (31, 45))
_TIMED = 1  # the largest of them
_LARGEST = 2  # times as long as the side that a model brings its pictures to
_ROUNDS = 5
_LEAST_AGREEMENT = {"int8": 0.98}
_AGREEMENT = 0.995  # of other precisions
# A converter that loses the weights gives even probabilities, whose labels may agree. On average, of all pixels.
_MOST_CONFIDENCE_ERROR = {"int8": 0.05, "float16": 0.01}
_CONFIDENCE_ERROR = 0.001
_MOST_MEAN_IOU_LOSS = 0.01  # of int8


class Picture(NamedTuple):
    """One picture to compare on.

    Attributes:
      name: of the example.
      pixels: uint8 (H, W, 3) RGB.
      label: int32 (H, W) ground truth, or None.
    """

    name: str
    pixels: np.ndarray
    label: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


class Mismatch(Exception):
    """An export does not say what the model says; its text says where."""


def sizes(longest_side: int) -> list[tuple[int, int]]:
    """(height, width) of the pictures to compare on: for a model that resizes, larger and smaller than its side."""
    factor = max(1, _LARGEST * longest_side / max(_SIZES[_TIMED]))
    return [(round(height * factor), round(width * factor)) for height, width in _SIZES]


def pictures(dataset: Dataset, *, count: int, longest_side: int = 0, ground_truth: bool = True) -> list[Picture]:
    """Some examples, spread over the split, scaled and cut to each of the `sizes`.

    Args:
      dataset: with at least one example.
      count: how many.
      longest_side: what the model brings pictures to.
      ground_truth: whether to keep the label maps.

    Raises:
      UserError: if an example cannot be read.
    """
    indices = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    found, shown = [], sizes(longest_side)
    for number, index in enumerate(indices):
        example = dataset.examples[index]
        pixels, label = _fit(*dataset.read(example), *shown[number % len(shown)])
        found.append(Picture(example.name, pixels, label if ground_truth else None))
    return found


def _fit(pixels: np.ndarray, label: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a picture and its label map, scaled so that it just covers (height, width)."""
    scale = max(height / pixels.shape[0], width / pixels.shape[1])
    # Rounding must not leave it a pixel short.
    size = max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale))
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    inside = slice(top, top + height), slice(left, left + width)
    return np.ascontiguousarray(pixels[inside]), label[inside]


class Reference:
    """What the model itself says of some pictures, by the predictor that --mode=predict uses.

    Args:
      model: from `segmentation.segmentation_model`.
      shown: what to compare on, from `pictures`.
      ignore_label: of the ground truth.
    """

    def __init__(self, model: keras.Model, shown: Sequence[Picture], *, ignore_label: int | None):
        self._predictor = Predictor(model.get_layer("network"))
        self._classes = self._predictor.num_classes
        self._ignore_label = ignore_label
        self._shown = shown
        self._results = [self.run(picture.pixels[None]) for picture in shown]

    def run(self, images: np.ndarray) -> Result:
        """Labels pictures with the model itself."""
        found = self._predictor.predict(images, confidence=True)
        assert found.confidence is not None
        return Result(found.labels, found.confidence)

    def compare(self, run: Runner, *, precision: str) -> dict[str, Any]:
        """Runs an export on all the pictures.

        Args:
          run: the export in its runtime.
          precision: one of `registry.EXPORT_PRECISIONS`; it decides how much may differ.

        Returns:
          A row of export.json: "agreement" (of labels, at the worst of the sizes), "agreement_by_size",
          "confidence_difference" (the largest), "mean_confidence_difference" and "mean_iou_difference" (None without
          ground truth).

        Raises:
          Mismatch: if too much differs.
        """
        agreed: dict[tuple[int, int], list[float]] = {picture.size: [] for picture in self._shown}
        differences, theirs = [], []
        for picture, expected in zip(self._shown, self._results, strict=True):
            found = run(picture.pixels[None])
            size = picture.size
            _require_sound(found, picture, classes=self._classes)
            agreed[size].append(float((found.labels == expected.labels).mean()))
            differences.append(np.abs(found.confidence - expected.confidence).ravel())
            theirs.append(found)
        by_size = {size: statistics.fmean(values) for size, values in agreed.items()}
        worst = min(by_size, key=by_size.__getitem__)
        every = np.concatenate(differences)
        before, after = (self._mean_iou(results) for results in (self._results, theirs))
        least = _LEAST_AGREEMENT.get(precision, _AGREEMENT)
        most = _MOST_CONFIDENCE_ERROR.get(precision, _CONFIDENCE_ERROR)
        if by_size[worst] < least:
            names = [picture.name for picture in self._shown if picture.size == worst]
            name = names[int(np.argmin(agreed[worst]))]
            raise Mismatch(
                f"at {worst[1]}x{worst[0]} pixels {100 * by_size[worst]:.2f} % of the labels agree with the model's, "
                f"expected {100 * least:g} %; fewest in {name}"
            )
        if every.mean() > most:
            where = int(np.argmax([difference.mean() for difference in differences]))
            raise Mismatch(
                f"its confidence differs from the model's by {every.mean():.4f} on average, expected at most {most:g}; "
                f"most in {self._shown[where].name}"
            )
        if precision == "int8" and before - after > _MOST_MEAN_IOU_LOSS:
            raise Mismatch(
                f"mean IoU falls from {100 * before:.2f} to {100 * after:.2f} % on {len(theirs)} pictures, expected a "
                f"loss of at most {100 * _MOST_MEAN_IOU_LOSS:g}"
            )
        return {
            "agreement": by_size[worst],
            "agreement_by_size": {f"{width}x{height}": value for (height, width), value in by_size.items()},
            "confidence_difference": float(every.max()),
            "mean_confidence_difference": float(every.mean()),
            "mean_iou_difference": None if np.isnan(after - before) else after - before,
        }

    def race(self, run: Runner) -> dict[str, float]:
        """Times an export against the model, in turns, on one picture.

        Returns:
          Medians of "images_per_second" and "tensorflow_images_per_second".
        """
        image = self._shown[_TIMED].pixels[None]
        runs = {"images_per_second": run, "tensorflow_images_per_second": self.run}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(_ROUNDS + 1):
            for name, function in runs.items():
                start = time.perf_counter()
                function(image)
                if turn:  # the first one warms up
                    seconds[name].append(time.perf_counter() - start)
        return {name: 1 / statistics.median(times) for name, times in seconds.items()}

    def _mean_iou(self, results: Sequence[Result]) -> float:
        """NaN where there is no ground truth."""
        counts = np.zeros((self._classes, self._classes + 1), np.int64)
        options: dict[str, Any] = {"num_classes": self._classes, "ignore_label": self._ignore_label}
        for picture, result in zip(self._shown, results, strict=True):
            if picture.label is not None:
                counts += confusion.confusion(picture.label, result.labels[0], **options)
        return confusion.mean_iou(counts, self._ignore_label)


def _require_sound(found: Result, picture: Picture, *, classes: int) -> None:
    height, width = picture.size
    for name, array in found._asdict().items():
        if array.shape != (1, height, width):
            raise Mismatch(f"{name} of {picture.name} have the shape {array.shape}, expected {(1, height, width)}")
    if not np.isfinite(found.confidence).all():
        raise Mismatch(f"the confidence of {picture.name}, {width}x{height} pixels, holds NaN or infinity")
    if found.labels.min() < 0 or found.labels.max() >= classes:
        raise Mismatch(f"the labels of {picture.name} reach {found.labels.max()}, expected less than {classes}")
