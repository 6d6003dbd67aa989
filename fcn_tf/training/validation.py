"""Measures a model between training steps, writes down what was found, and keeps the best model."""

import math
from collections.abc import Callable

import keras

from fcn_tf.data.base import Dataset
from fcn_tf.inference import evaluator
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import charts
from fcn_tf.training.progress import BestEffort
from fcn_tf.training.running_metrics import Window
from fcn_tf.training.tensorboard import Summaries

_SHOWN_EXAMPLES = 4  # validation pictures in TensorBoard


class Validation:
    """Validates one training.

    Args:
      model: (B, H, W, 3) RGB in [0, 255] -> float32 logits (B, H, W, C); its weights change between calls.
      dataset: the validation examples.
      run: where everything is written.
      summaries: of that run.
      chief: whether this worker writes the history and the model.
    """

    def __init__(self, model: keras.Model, dataset: Dataset, *, run: Run, summaries: Summaries, chief: bool):
        self._model, self._dataset, self._run = model, dataset, run
        self._summaries, self._chief = summaries, chief
        self._evaluator = evaluator.Evaluator(model, dataset.spec)
        self._curves = BestEffort(run.curves, OSError)

    def __call__(
        self,
        step: int,
        trained: Window,
        *,
        epoch: float,
        learning_rate: float,
        elapsed: float,
        stopped: Callable[[], object],
    ) -> str | None:
        """Validates after `step` steps.

        Args:
          step: how many were taken.
          trained: the steps since the last validation.
          epoch: how often the training set was seen.
          learning_rate: of now.
          elapsed: seconds the run has taken.
          stopped: asked after every picture; the validation is given up once it says yes.

        Returns:
          A line that says how it went, or None if it was given up, and nothing written.

        Raises:
          OSError: if the model or the history cannot be written.
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
        scores = {
            "loss": evaluation.loss,
            "pixel_accuracy": evaluation.pixel_accuracy,
            "mean_accuracy": evaluation.mean_accuracy,
            "mean_iou": evaluation.mean_iou,
        }
        self._summaries.validation_scalars({**scores, "images_per_second": evaluation.images_per_second}, step)
        self._summaries.pictures(samples, step)
        self._summaries.classes(evaluation.counts, step)
        self._summaries.flush()
        if self._chief:
            self._keep_if_best(evaluation)
            self._run.append_history(
                {
                    "step": step,
                    "epoch": epoch,
                    **{f"train_{name}": _measured(value) for name, value in trained.scores().items()},
                    **{f"val_{name}": _measured(value) for name, value in scores.items()},
                    "learning_rate": learning_rate,
                    "images_per_second": trained.rate,
                    "elapsed_seconds": elapsed,
                }
            )
            with self._curves:
                charts.write_curves(self._run)
        # Right after resuming there is nothing to average.
        before = "" if math.isnan(trained.loss) else f"train loss {trained.loss:.4f}, "
        return (
            f"step {step}: {before}validation loss {evaluation.loss:.4f}, "
            f"pixel accuracy {evaluation.pixel_accuracy:.4f}, mean IoU {evaluation.mean_iou:.4f}"
        )

    def _keep_if_best(self, evaluation: evaluator.Evaluation) -> None:
        best = self._run.best_validation()
        if math.isnan(evaluation.mean_iou):  # nothing to measure by: a model is better than none
            better = False
        elif not math.isfinite(evaluation.loss):  # diverged, whatever it scores
            return
        else:
            better = best is None or evaluation.mean_iou > best["val_mean_iou"]
        if better or not files.exists(self._run.model):
            save_model(self._model, self._run.model)


class _Stopped(Exception):
    """A signal came during a validation."""


def save_model(model: keras.Model, path: str) -> None:
    """Saves a model so that a kill leaves the file that was there or the new one."""
    with files.replacing(path, ending=".keras") as temporary:
        model.save(temporary)


def _measured(value: float) -> float | None:
    return None if math.isnan(value) else value
