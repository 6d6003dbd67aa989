"""Sums over some training steps, divided once, when asked."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from fcn_tf.data.base import DatasetSpec
from fcn_tf.metrics import confusion, in_graph


class Window:
    """Sums over some training steps: loss, confusion and time.

    Args:
      spec: of the data set trained on.
      state: what `state` of an earlier one gave, to go on from there.
    """

    def __init__(self, spec: DatasetSpec, state: Mapping[str, Any] | None = None):
        self._spec = spec
        state = state or {"losses": 0.0, "steps": 0, "seconds": 0.0, "images": 0, "cells": None}
        self._losses, self._steps = state["losses"], state["steps"]
        self._seconds, self._images = state["seconds"], state["images"]
        self._cells = None if state["cells"] is None else tf.constant(state["cells"], tf.int64)

    def state(self) -> dict[str, Any]:
        """The sums, for a JSON file."""
        cells = None if self._cells is None else self._cells.numpy().tolist()
        sums = {"losses": self._losses, "steps": self._steps, "seconds": self._seconds, "images": self._images}
        return {**sums, "cells": cells}

    def add(self, loss: float, cells: tf.Tensor) -> None:
        """Adds one step; `cells` as from `in_graph.confusion_cells`."""
        self._losses += loss
        self._steps += 1
        self._cells = cells if self._cells is None else self._cells + cells

    def add_time(self, seconds: float, images: int) -> None:
        """Adds what one step took."""
        self._seconds += seconds
        self._images += images

    @property
    def loss(self) -> float:
        """Mean over the steps, in nats."""
        return self._losses / self._steps if self._steps else math.nan

    @property
    def rate(self) -> float:
        """Images a second in the training steps, without validation and saving."""
        return self._images / self._seconds if self._seconds else 0.0

    def scores(self) -> dict[str, float]:
        """Loss, pixel accuracy, mean accuracy and mean IoU by the names of TensorBoard's curves; NaN without a step.

        They are those of the training itself: of augmented crops, with dropout, each before its step was taken.
        """
        measures = {
            "pixel_accuracy": confusion.pixel_accuracy,
            "mean_accuracy": confusion.mean_accuracy,
            "mean_iou": confusion.mean_iou,
        }
        if self._cells is None:
            return dict.fromkeys(("loss", *measures), math.nan)
        counts = in_graph.counts_from_cells(self._cells, self._spec)
        ignore = self._spec.ignore_label
        return {"loss": self.loss, **{name: measure(counts, ignore) for name, measure in measures.items()}}
