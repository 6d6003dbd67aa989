"""Sums over some training steps, divided once, when asked."""

import math

import numpy as np
import tensorflow as tf

from fcn_tf import inference, metrics
from fcn_tf.datasets.base import DatasetSpec


class Window:
    """Sums over some training steps: loss, confusion and time.

    Args:
      spec: of the data set trained on.
    """

    def __init__(self, spec: DatasetSpec):
        self._spec = spec
        self._losses: list[float] = []
        self._cells: tf.Tensor | None = None
        self._seconds, self._images = 0.0, 0

    def add(self, loss: float, cells: tf.Tensor) -> None:
        """Adds one step; `cells` as from `inference.confusion_cells`."""
        self._losses.append(loss)
        self._cells = cells if self._cells is None else self._cells + cells

    def add_time(self, seconds: float, images: int) -> None:
        """Adds what one step took."""
        self._seconds += seconds
        self._images += images

    @property
    def loss(self) -> float:
        """Mean over the steps, in nats."""
        return float(np.mean(self._losses)) if self._losses else math.nan

    @property
    def rate(self) -> float:
        """Images a second in the training steps, without validation and saving."""
        return self._images / self._seconds if self._seconds else 0.0

    def scores(self) -> dict[str, float]:
        """Loss, pixel accuracy and mean IoU by the names of TensorBoard's curves."""
        counts = inference.counts_from_cells(self._cells, self._spec)
        return {
            "loss": self.loss,
            "pixel_accuracy": metrics.pixel_accuracy(counts, self._spec.ignore_label),
            "mean_iou": metrics.mean_iou(counts, self._spec.ignore_label),
        }
