"""What one pass over a split keeps of each image: pixel counts, sizes, boundary scores, and the best and worst ones.

Three numbers a class are kept of an image, whatever its size, and its pictures only while it is among the few that the
report shows.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fcn_tf.data import palette
from fcn_tf.data.base import Dataset, DatasetSpec
from fcn_tf.data.datasets import run_classes
from fcn_tf.errors import UserError
from fcn_tf.io import archives, files, images, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import confusion
from fcn_tf.metrics.boundary import BoundaryScores

FILE = "per_image.npz"
_SHOWN = 4  # images at either end
_WIDTH, _QUALITY = 320, 80  # of the pictures in the report


@dataclass(frozen=True)
class Shown:
    """An image for the report.

    Attributes:
      name: of the example.
      mean_iou: over the classes in this image.
      pixel_accuracy: of this image.
      size: (width, height) in pixels.
      pictures: JPEG or PNG bytes by caption.
    """

    name: str
    mean_iou: float
    pixel_accuracy: float
    size: tuple[int, int]
    pictures: dict[str, bytes]


class PerImageStats:
    """Adds up the images of one data set.

    Attributes:
      counts: int64 (C, C) or (C, C + 1) confusion of all so far, rows = ground truth.
      pixel_counts: int64 (N, 3, C), `confusion.class_pixel_counts` of each image; 0 for those not yet added.
      best, worst: up to a few images by their own mean IoU, most extreme first.

    Args:
      dataset: all of it is going to be added.
      boundary: whether to score boundaries, which takes a while.
    """

    def __init__(self, dataset: Dataset, *, boundary: bool = False):
        spec = dataset.spec
        self._dataset = dataset
        self.counts = np.zeros((spec.num_classes, spec.num_classes), np.int64)
        self.pixel_counts = np.zeros((len(dataset), 3, spec.num_classes), np.int64)
        self.best: list[Shown] = []
        self.worst: list[Shown] = []
        self._boundary = BoundaryScores(spec.class_names, spec.ignore_label) if boundary else None
        self._sizes: set[tuple[int, int, int]] = set()  # (pixels, width, height) of the smallest and the largest

    def add(
        self, index: int, picture: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray, counts: np.ndarray
    ) -> None:
        """Adds one image.

        Args:
          index: into the data set's examples.
          picture: uint8 (H, W, 3) RGB.
          ground_truth: class ids (H, W).
          prediction: class ids (H, W).
          counts: int64 (C, C) or (C, C + 1) of this image; the same width for all images.
        """
        if self.counts.shape != counts.shape:
            self.counts = np.zeros_like(counts)
        self.counts += counts
        self.pixel_counts[index] = confusion.class_pixel_counts(counts, self._dataset.spec.ignore_label)
        height, width = ground_truth.shape
        self._sizes.add((width * height, width, height))
        self._sizes = {min(self._sizes), max(self._sizes)}
        if self._boundary:
            self._boundary.add(ground_truth, prediction)
        self._show(index, picture, ground_truth, prediction, counts)

    def resolution(self) -> dict[str, Any]:
        """The smallest and the largest image, as [width, height]."""
        rule: dict[str, Any] = {"rule": "each image at its own size"}
        if not self._sizes:
            return {**rule, "smallest": None, "largest": None}
        (_, *smallest), (_, *largest) = min(self._sizes), max(self._sizes)
        return {**rule, "smallest": smallest, "largest": largest}

    def boundary(self) -> dict[str, Any] | None:
        """See `BoundaryScores.summary`; None if boundaries were not asked for."""
        return self._boundary.summary() if self._boundary else None

    def _show(
        self, index: int, picture: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray, counts: np.ndarray
    ) -> None:
        spec = self._dataset.spec
        score = confusion.mean_iou(counts, spec.ignore_label)
        if np.isnan(score):
            return
        low = len(self.worst) < _SHOWN or score < self.worst[-1].mean_iou
        high = len(self.best) < _SHOWN or score > self.best[-1].mean_iou
        if not (low or high):
            return
        shown = Shown(
            self._dataset.examples[index].name,
            score,
            confusion.pixel_accuracy(counts, spec.ignore_label),
            (ground_truth.shape[1], ground_truth.shape[0]),
            _pictures(picture, ground_truth, prediction, spec),
        )
        if low:
            self.worst = sorted([*self.worst, shown], key=lambda each: each.mean_iou)[:_SHOWN]
        if high:
            self.best = sorted([*self.best, shown], key=lambda each: -each.mean_iou)[:_SHOWN]


def pack(dataset: Dataset, pixel_counts: np.ndarray) -> bytes:
    """The content of per_image.npz: what comparing two runs needs of each image."""
    spec, file = dataset.spec, io.BytesIO()
    np.savez_compressed(
        file,
        names=np.array([example.name for example in dataset.examples]),
        areas=pixel_counts,
        class_names=np.array(spec.class_names),
        ignore_label=np.int64(-1 if spec.ignore_label is None else spec.ignore_label),
    )
    return file.getvalue()


def read_pixel_counts(run: Run, dataset: Dataset) -> np.ndarray:
    """The class pixel counts of an evaluated run.

    Args:
      run: the one to compare with; or the folder of an evaluation.
      dataset: what it must have been evaluated on.

    Returns:
      int64 (N, 3, C), images in the order of the data set.

    Raises:
      UserError: if the run was not evaluated, or on other images or classes.
    """
    path = files.join(_folder(run), FILE)
    if not files.exists(path):
        raise UserError(_missing(run, path, dataset.split))
    try:
        data = io.BytesIO(files.read_bytes(path))
        archives.check_zip(data)
        with np.load(data, allow_pickle=False) as saved:
            names, pixel_counts = saved["names"].tolist(), saved["areas"]
            classes, ignore = tuple(saved["class_names"].tolist()), int(saved["ignore_label"])
            if pixel_counts.shape != (len(names), 3, len(classes)) or pixel_counts.dtype.kind not in "iu":
                raise ValueError(f"counts of shape {pixel_counts.shape}")
    except Exception as error:  # on damaged bytes NumPy raises nearly anything
        raise UserError(f"{path} is damaged ({texts.reason(error)}); evaluate that run again.") from None
    spec = dataset.spec
    same_classes = run_classes.may_be_same(classes, spec.class_names)
    if not same_classes or ignore != (-1 if spec.ignore_label is None else spec.ignore_label):
        raise UserError(
            f"--compare={run.logs_dir} was evaluated with other classes or another ignored label than "
            f"{spec.name} here; evaluate both runs on the same data set with the same --ignore_label."
        )
    if names != [example.name for example in dataset.examples]:
        raise UserError(
            f"--compare={run.logs_dir} was evaluated on {len(names)} other images than the {len(dataset)} of "
            f"{spec.name} {dataset.split}; evaluate both runs on the same --split."
        )
    return pixel_counts


def read_summary(run: Run) -> dict[str, Any]:
    """The content of metrics.json of what `read_pixel_counts` reads; empty where it is missing or damaged."""
    path = files.join(_folder(run), "metrics.json")
    with contextlib.suppress(OSError, ValueError):
        summary = texts.parse_json(files.read_bytes(path))
        return summary if isinstance(summary, dict) else {}
    return {}


def _folder(run: Run) -> str:
    """Where the evaluation lies: in the run, or in the folder itself."""
    return run.logs_dir if files.exists(files.join(run.logs_dir, FILE)) else run.evaluation


def _missing(run: Run, path: str, split: str) -> str:
    """Why there is no evaluation to compare with, and what to do."""
    expected = "expected the --logs_dir of an evaluated run, or the folder of an evaluation"
    if not files.is_dir(run.logs_dir):
        return f"--compare={run.logs_dir}: there is no such folder; {expected}. Correct the path."
    if not run.exists():
        return f"--compare={run.logs_dir}: no run and no {FILE} is in this folder; {expected}. Give another."
    return (
        f"--compare={run.logs_dir}: this run is not evaluated, {path} is missing; {expected}. First run "
        f"--mode=evaluate --logs_dir={run.logs_dir} --split={split}."
    )


def _pictures(
    picture: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray, spec: DatasetSpec
) -> dict[str, bytes]:
    """Small pictures by caption: photos as JPEG, maps of flat colours as PNG, which keeps them crisp."""
    height, width = ground_truth.shape
    factor = min(1, _WIDTH / width)
    height, width = max(1, round(height * factor)), max(1, round(width * factor))
    rows = ((np.arange(height) + 0.5) * ground_truth.shape[0] / height).astype(int)[:, None]
    columns = ((np.arange(width) + 0.5) * ground_truth.shape[1] / width).astype(int)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    ground_truth, prediction = ground_truth[rows, columns], prediction[rows, columns]
    errors = palette.errors_image(picture, ground_truth, prediction, spec.ignore_label)
    return {
        "photo": images.encode_jpeg(picture, _QUALITY),
        "ground truth": images.encode_png(palette.colorize(ground_truth, spec.colors, spec.ignore_label)),
        "prediction": images.encode_png(palette.colorize(prediction, spec.colors)),
        "errors": images.encode_jpeg(errors, _QUALITY),
    }
