"""What TensorBoard shows: curves, pictures in colour, the graph, and with --debug histograms.

None of it is worth a training: where it cannot be written, for a full disk or another reason, a warning says so once.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.data import palette
from fcn_tf.data.base import DatasetSpec
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import confusion
from fcn_tf.models import resizing
from fcn_tf.reports import charts, panels
from fcn_tf.training.hooks import Hook, TrainingState, ValidationResult
from fcn_tf.training.losses import PixelLoss
from fcn_tf.training.progress import BestEffort

_TALLEST = 240  # pixels: an events file is kept for ever, and a page shows dozens of these


class Summaries:
    """Writes the events of one run: `train/` and `validation/` share their tags, so that curves lie in one plot.

    Args:
      run: where.
      spec: class names and colours.
      enabled: False on every worker but the chief, which then writes nothing.
    """

    def __init__(self, run: Run, spec: DatasetSpec, *, enabled: bool = True):
        self._spec = spec
        self._train, self._validation = (
            _Events(folder, enabled=enabled) for folder in (run.train_events, run.validation_events)
        )

    def start(self, step: int, *, validated: bool) -> None:
        """Lets TensorBoard forget the points past `step`, where training goes on: a kill or an older start left them.

        Args:
          step: taken before.
          validated: whether the validation after it is finished; if not, it is written again.
        """
        self._train.start(step + 1)
        self._validation.start(step + validated)

    def train_scalars(self, values: dict[str, float], step: int) -> None:
        """Adds a point to each training curve."""
        _scalars(self._train, values, step)

    def validation_scalars(self, values: dict[str, float], step: int) -> None:
        """Adds a point to each validation curve."""
        _scalars(self._validation, values, step)

    def pictures(self, samples, step: int) -> None:
        """Shows validation examples as strips of photo, ground truth, prediction and errors.

        Args:
          samples: (uint8 (H, W, 3) photo, ground truth (H, W), prediction (H, W)) each.
          step: of the evaluation.
        """
        with self._validation.open():
            for number, (photo, ground_truth, prediction) in enumerate(samples):
                strip = self._strip(photo, ground_truth, prediction)[None]
                tf.summary.image(f"photo, ground truth, prediction, errors/{number}", strip, step=step)

    def classes(self, counts: np.ndarray, step: int) -> None:
        """Adds a point to the validation curve of each class that occurs, and shows the confusion matrix.

        Args:
          counts: int64 (C, C), rows = ground truth.
          step: of the evaluation.
        """
        names = self._spec.class_names
        ious = zip(names, confusion.iou(counts, self._spec.ignore_label), strict=True)
        _scalars(self._validation, {f"iou/{name}": value for name, value in ious if not np.isnan(value)}, step)
        with self._validation.open():
            tf.summary.image("confusion (rows: ground truth)", charts.confusion_image(counts, names)[None], step=step)

    def graph(self, function_graph: tf.Graph) -> None:
        """Shows the graph of the training step."""
        with self._train.open():
            tf.summary.graph(function_graph)

    def histograms(self, groups: dict[str, dict[str, tf.Tensor]], step: int) -> None:
        """Shows how values are spread, and which share of them is zero.

        Args:
          groups: {"weights" | "gradients" | "activations": {name: tensor}}.
          step: of the training.
        """
        with self._train.open():
            for group, tensors in groups.items():
                for name, tensor in tensors.items():
                    values = tf.cast(tensor, tf.float32)
                    tf.summary.histogram(f"{group}/{name}", values, step=step)
                    if group == "activations":
                        tf.summary.scalar(f"sparsity/{name}", tf.math.zero_fraction(values), step=step)

    def flush(self) -> None:
        """Makes everything written so far visible."""
        for events in (self._train, self._validation):
            events.flush()

    def _strip(self, photo, ground_truth, prediction):
        colors, ignore = self._spec.colors, self._spec.ignore_label
        cells = {
            "photo": photo,
            "ground truth": palette.colorize(ground_truth, colors, ignore),
            "prediction": palette.colorize(prediction, colors),
            "errors": palette.errors_image(photo, ground_truth, prediction, ignore),
        }
        return panels.grid([list(cells.items())], height=min(_TALLEST, len(photo)))


def collect_histograms(
    model: keras.Model, loss: PixelLoss, images: tf.Tensor, labels: tf.Tensor
) -> dict[str, dict[str, tf.Tensor]]:
    """How weights, gradients and activations are distributed, without dropout.

    Args:
      model: (B, H, W, 3) RGB in [0, 255] -> float32 logits (B, H, W, C).
      loss: what it is trained with.
      images: uint8 (B, H, W, 3).
      labels: int32 (B, H, W).

    Returns:
      {"weights" | "gradients" | "activations": {name: tensor}}, as `Summaries.histograms` takes it.
    """
    images = tf.cast(images, tf.float32)
    variables = model.trainable_variables
    shown = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    parts = resizing.without_resizing(keras.Model(model.input, [*(layer.output for layer in shown), model.output]))
    with tf.GradientTape() as tape:
        *activations, logits = parts(images, training=False)
        value = loss(logits, labels, reduce=tf.identity)
    gradients = tape.gradient(value, variables)
    return {
        "weights": {variable.path: variable.value for variable in variables},
        "gradients": {variable.path: gradient for variable, gradient in zip(variables, gradients, strict=True)},
        "activations": {layer.name: values for layer, values in zip(shown, activations, strict=True)},
    }


class TensorBoard(Hook):
    """Writes the graph, curves, validation images and confusion matrices.

    Args:
      summaries: of the run.
      run: whose history says what is validated.
      graph: returns the graph of a step on a batch.
    """

    def __init__(self, summaries: Summaries, run: Run, graph: Callable[[tf.Tensor, tf.Tensor], tf.Graph]):
        self._summaries, self._run, self._graph = summaries, run, graph

    def on_start(self, state: TrainingState) -> None:
        """Drops the points of steps that are about to be taken again."""
        self._summaries.start(state.start, validated=self._run.validated(state.start))

    def after_step(self, state: TrainingState) -> None:
        """Shows the graph once, and adds a point to each training curve at every `log_every`."""
        if state.step == state.start + 1 and state.batch:
            self._summaries.graph(self._graph(*state.batch))
        if state.intervals.logs(state.step) and state.result:
            norms = {name: float(norm) for name, norm in state.result.gradient_norms.items()}
            self._summaries.train_scalars({**state.point(), **norms}, state.step)

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Adds a point to each validation curve, and shows what the model made of some examples."""
        scores = {**result.scores, "images_per_second": result.evaluation.images_per_second}
        self._summaries.validation_scalars(scores, state.step)
        self._summaries.pictures(result.samples, state.step)
        self._summaries.classes(result.evaluation.counts, state.step)
        self._summaries.flush()

    def on_stop(self, state: TrainingState) -> None:
        """Makes everything written so far visible."""
        self._summaries.flush()


class Histograms(Hook):
    """Before a validation, shows how weights, gradients and activations are distributed (--debug).

    Args:
      summaries: of the run.
      model, loss: see `collect_histograms`.
      strategy: whose first replica's part of a batch is looked at.
      accumulate: in how many parts a replica computes it; the first is looked at, for the memory it takes.
    """

    def __init__(
        self,
        summaries: Summaries,
        model: keras.Model,
        loss: PixelLoss,
        *,
        strategy: tf.distribute.Strategy,
        accumulate: int,
    ):
        self._summaries, self._model, self._loss = summaries, model, loss
        self._strategy, self._accumulate = strategy, accumulate

    def before_validation(self, state: TrainingState) -> None:
        """Collects them on the batch just trained on."""
        if state.batch is None:
            return
        images, labels = (self._strategy.experimental_local_results(part)[0] for part in state.batch)
        images, labels = (part[: len(part) // self._accumulate] for part in (images, labels))
        self._summaries.histograms(collect_histograms(self._model, self._loss, images, labels), state.step)


class _Events:
    """The events of one folder; once they cannot be written, none are, for what follows half an event is lost."""

    def __init__(self, folder, *, enabled):
        self._folder, self._silent = folder, tf.summary.create_noop_writer()
        self._writer = None if enabled else self._silent
        self._start = 0
        self._effort = BestEffort(f"TensorBoard's events in {folder}", tf.errors.OpError, OSError)

    def start(self, step):
        """Says that events of `step` and later ones are written from now on, where there may be such already."""
        self._start = step
        with self._effort:
            written = files.is_dir(self._folder) and files.list_dir(self._folder)
        if not self._effort.failed and written:
            with self.open():
                pass

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Makes them the default writer; leaving flushes."""
        if self._writer is None:
            with self._effort:  # only now: a writer makes a file, even if nothing is ever written
                self._writer = tf.summary.create_file_writer(self._folder)
                # TensorBoard then drops what the files before hold of this step and later ones. tf.summary has no name
                # for such an event.
                log = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
                event = tf.compat.v1.Event(wall_time=time.time(), step=self._start, session_log=log)
                tf.raw_ops.ImportEvent(writer=self._writer._resource, event=event.SerializeToString())
        writer = self._silent if self._effort.failed or self._writer is None else self._writer
        with self._effort, writer.as_default():
            yield

    def flush(self):
        if self._writer and not self._effort.failed:
            with self._effort:
                self._writer.flush()


def _scalars(events, values, step):
    with events.open():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=step)
