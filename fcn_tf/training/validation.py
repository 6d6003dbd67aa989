"""Validates a model between training steps, records the scores, and keeps the best model."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from fcn_tf.data.base import Dataset
from fcn_tf.inference import evaluator
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.models.variables import not_finite
from fcn_tf.reports import charts
from fcn_tf.training.hooks import Hook, TrainingState, ValidationResult
from fcn_tf.training.progress import BestEffort, write
from fcn_tf.training.running_metrics import MEASURES, RunningMetrics

_SHOWN_EXAMPLES = 4  # validation images in TensorBoard


class Validation:
    """Validates one training.

    Args:
      model: (B, H, W, 3) RGB in [0, 255] -> float32 logits (B, H, W, C); its weights change between calls.
      dataset: the validation examples.
    """

    def __init__(self, model: keras.Model, dataset: Dataset):
        self._dataset, self._evaluator = dataset, evaluator.Evaluator(model, dataset.spec)

    def __call__(self, trained: RunningMetrics, stopped: Callable[[], object]) -> ValidationResult | None:
        """Validates the model as it is now.

        Args:
          trained: the steps since the last validation.
          stopped: asked after every batch; the validation is given up once it says yes.

        Returns:
          What was measured, or None if it was given up.
        """
        samples: list[tuple] = []

        def on_batch(_indices, images, labels, predictions, _counts):
            samples.extend(list(zip(images, labels, predictions, strict=True))[: _SHOWN_EXAMPLES - len(samples)])
            if stopped():
                raise _Stopped

        try:
            evaluation = self._evaluator.run(self._dataset, on_batch=on_batch)
        except _Stopped:
            return None
        return ValidationResult(evaluation, samples, trained)


class KeepBestModel(Hook):
    """Keeps the model with the highest mean IoU on validation in model.keras, and never one that diverged.

    Args:
      model: the one trained.
      run: whose history says what the best was so far.
    """

    def __init__(self, model: keras.Model, run: Run):
        self._model, self._run = model, run

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Compares.

        Raises:
          OSError: if the model cannot be written.
        """
        evaluation, best = result.evaluation, self._run.best_validation()
        if math.isnan(evaluation.mean_iou):  # nothing to measure by: a model is better than none
            better = False
        elif not math.isfinite(evaluation.loss):  # diverged, whatever it scores
            return
        else:
            better = best is None or evaluation.mean_iou > best["val_mean_iou"]
        if better or not files.exists(self._run.model):
            save_model(self._model, self._run.model)

    def on_stop(self, state: TrainingState) -> None:
        """Where nothing was validated yet, leaves the model as it is."""
        if not files.exists(self._run.model) and not_finite(self._model.variables) is None:
            with BestEffort(self._run.model, OSError):  # the checkpoint that follows is what counts
                save_model(self._model, self._run.model)
                write(f"{self._run.model} holds the weights of step {state.step}, not validated yet")


class WriteHistory(Hook):
    """Adds a row to history.csv for each validation, and draws curves.png.

    Args:
      run: where.
    """

    def __init__(self, run: Run):
        self._run = run
        self._curves = BestEffort(run.curves, OSError)

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Adds the row.

        Raises:
          OSError: if it cannot be written.
        """
        self._run.append_history(
            {
                "step": state.step,
                "epoch": state.epoch,
                **{f"train_{name}": _measured(value) for name, value in result.trained.scores().items()},
                **{f"val_{name}": _measured(value) for name, value in result.scores.items()},
                "learning_rate": state.rate(),
                "images_per_second": result.trained.images_per_second,
                "elapsed_seconds": state.elapsed,
            }
        )
        with self._curves:
            charts.write_curves(self._run)


class WriteTrainingCurve(Hook):
    """Keeps a row for each point of the training curves in training.csv.

    Args:
      run: where.
    """

    def __init__(self, run: Run):
        self._run = run
        self._rows: list[dict[str, Any]] = []
        self._effort = BestEffort(run.training, OSError)

    def on_start(self, state: TrainingState) -> None:
        """Goes on after what was saved with the step that training starts from."""
        self._rows = [row for row in self._run.read_training() if row["step"] <= state.start]

    def after_step(self, state: TrainingState) -> None:
        """Adds a row, and writes what a checkpoint is about to count on."""
        if state.intervals.logs(state.step):
            point = state.point()
            scores = {f"train_{name}": _measured(point.pop(name)) for name in ("loss", *MEASURES)}
            self._rows.append({"step": state.step, "epoch": state.epoch, **scores, **point})
        if state.intervals.saves(state.step):
            self._write()

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Writes: curves are drawn now, and perhaps a checkpoint is saved."""
        self._write()

    def on_stop(self, state: TrainingState) -> None:
        """Writes, before the last checkpoint."""
        self._write()

    def _write(self) -> None:
        with self._effort:  # a training can do without
            self._run.write_training(self._rows)


class StopEarly(Hook):
    """Stops once so many validations came after the best one.

    Args:
      run: whose history says so; it outlasts a kill.
      patience: how many.
      chief: whether this worker reads the history, after it has written it; the others do as it says.
      total: sums a list of integers over all replicas; all workers call it.
    """

    def __init__(self, run: Run, patience: int, *, chief: bool, total: Callable[[Sequence[int]], list[int]]):
        self._run, self._patience, self._chief, self._total = run, patience, chief, total

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Decides, on all workers alike."""
        stale = self._chief and self._run.validations_since_best() >= self._patience
        if self._total([int(stale)]) != [0] and state.step < state.intervals.max_steps:
            state.early_stop = True
            write(f"stopped early after step {state.step}: no better mean IoU in {self._patience} validations")


class _Stopped(Exception):
    """A signal came during a validation."""


def save_model(model: keras.Model, path: str) -> None:
    """Saves a model so that a kill leaves the file that was there or the new one."""
    with files.replacing(path, ending=".keras") as temporary:
        model.save(temporary)


def _measured(value: float) -> float | None:
    return None if math.isnan(value) else value
