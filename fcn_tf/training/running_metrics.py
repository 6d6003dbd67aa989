"""Metrics over some training steps: summed on the device, divided once when they are asked for."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fcn_tf.data.base import DatasetSpec
from fcn_tf.metrics import confusion, in_graph

MEASURES = {
    "pixel_accuracy": confusion.pixel_accuracy,
    "mean_accuracy": confusion.mean_accuracy,
    "mean_iou": confusion.mean_iou,
    "frequency_weighted_iou": confusion.frequency_weighted_iou,
}


class NonFiniteLoss(ArithmeticError):
    """A training diverged.

    Attributes:
      step: the first whose loss is not finite.
      loss: of that step, or what else is not finite after it.
    """

    def __init__(self, step: int, loss: float | str):
        super().__init__(f"the loss of step {step} is {loss}")
        self.step, self.loss = step, loss


class Sums(NamedTuple):
    """Sums over steps: of losses in nats, the number of steps, int64 confusion cells (see `in_graph`)."""

    losses: float
    steps: int
    cells: np.ndarray


class StepSums:
    """Sums over training steps that stay on the device: adding a step does not wait for its result.

    Args:
      spec: of the data set trained on.

    Attributes:
      steps: how many were added since the last `take`.
    """

    def __init__(self, spec: DatasetSpec):
        self._zeros = (
            tf.constant(0.0, tf.float64),
            tf.constant(-1, tf.int64),  # the first step whose loss is not finite
            tf.constant(0.0),  # that loss
            tf.zeros(spec.num_classes**2 + 2, tf.int64),
        )
        self.steps, self._sums = 0, self._zeros

    def add(self, step: int, loss: tf.Tensor, cells: tf.Tensor) -> None:
        """Adds step `step` (float32 scalar, int64 cells as of `in_graph.confusion_cells`)."""
        self.steps, self._sums = self.steps + 1, _add(self._sums, tf.constant(step, tf.int64), loss, cells)

    def take(self) -> Sums:
        """Waits for the steps, returns their sums, and starts again.

        Raises:
          NonFiniteLoss: if a loss is not finite; it names the first such step.
        """
        losses, first, value, cells = (part.numpy() for part in self._sums)
        sums = Sums(float(losses), self.steps, cells)
        self.steps, self._sums = 0, self._zeros
        if first >= 0:
            raise NonFiniteLoss(int(first), float(value))
        return sums


@tf.function(autograph=False)
def _add(sums, step, loss, cells):
    losses, first, value, all_cells = sums
    diverged = (first < 0) & ~tf.math.is_finite(loss)
    return (
        losses + tf.cast(loss, tf.float64),
        tf.where(diverged, step, first),
        tf.where(diverged, loss, value),
        all_cells + cells,
    )


class RunningMetrics:
    """Loss, scores and speed over some training steps.

    Args:
      spec: of the data set trained on.
      state: what `state` of an earlier one returned, to go on from there.
    """

    def __init__(self, spec: DatasetSpec, state: Mapping[str, Any] | None = None):
        self._spec = spec
        state = state or {"losses": 0.0, "steps": 0, "seconds": 0.0, "images": 0, "cells": None}
        self._losses, self._steps = state["losses"], state["steps"]
        self._seconds, self._images = state["seconds"], state["images"]
        self._cells = None if state["cells"] is None else np.asarray(state["cells"], np.int64)

    @classmethod
    def restored(cls, spec: DatasetSpec, state: Any) -> "RunningMetrics":
        """What goes on from a state that was read from a file; from nothing, if none of ours was."""
        try:
            found = cls(spec, state)
            found.scores()  # raises what is wrong with the cells
            numbers = (found._losses, found._steps, found._seconds, found._images)
            whole = all(isinstance(each, int | float) for each in numbers)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            whole = False
        return found if whole else cls(spec)

    def state(self) -> dict[str, Any]:
        """The sums, for a JSON file."""
        cells = None if self._cells is None else self._cells.tolist()
        sums = {"losses": self._losses, "steps": self._steps, "seconds": self._seconds, "images": self._images}
        return {**sums, "cells": cells}

    def add(self, sums: Sums, *, seconds: float = 0.0, images: int = 0) -> None:
        """Adds some steps, and how long so many images of them took."""
        self._losses += sums.losses
        self._steps += sums.steps
        self._cells = sums.cells if self._cells is None else self._cells + sums.cells
        self._seconds += seconds
        self._images += images

    @property
    def loss(self) -> float:
        """Mean over the steps, in nats; NaN without a step."""
        return self._losses / self._steps if self._steps else math.nan

    @property
    def images_per_second(self) -> float:
        """Of the training steps, without validation and saving; 0 without a measured step."""
        return self._images / self._seconds if self._seconds else 0.0

    def scores(self) -> dict[str, float]:
        """Loss and each of `MEASURES` by the names of TensorBoard's curves; NaN without a step.

        They are those of the training itself: of augmented crops, with dropout, each before its step was taken.
        """
        if self._cells is None:
            return dict.fromkeys(("loss", *MEASURES), math.nan)
        counts, ignore = in_graph.counts_from_cells(self._cells, self._spec), self._spec.ignore_label
        return {"loss": self.loss, **{name: measure(counts, ignore) for name, measure in MEASURES.items()}}
