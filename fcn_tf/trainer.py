"""The training loop: one for every tf.distribute strategy, resumed exactly, stopped cleanly.

Which examples a step sees, how they are augmented and which activations it drops follow from the seed and the number
of the step (see pipeline.py and layers.py), so a checkpoint needs no more than the variables and that number.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn_tf import charts, distribution, files, inference, layers, losses, metrics, pipeline
from fcn_tf.checkpoints import Checkpoints
from fcn_tf.datasets.base import Dataset
from fcn_tf.errors import UserError
from fcn_tf.interrupts import Interrupts
from fcn_tf.model import is_trunk
from fcn_tf.progress import Progress
from fcn_tf.runs import Run
from fcn_tf.summaries import Summaries

_SHOWN_EXAMPLES = 4  # validation pictures in TensorBoard


@dataclass(frozen=True)
class Schedule:
    """When things happen, in optimiser steps.

    Attributes:
      max_steps: the last step.
      eval_every, save_every, log_every: steps between validations, checkpoints and points of the curves.
    """

    max_steps: int
    eval_every: int
    save_every: int
    log_every: int


class Trainer:
    """Trains a model on one data set and measures it on another.

    Args:
      model: Keras model, (B, H, W, 3) RGB in [0, 255] -> float32 logits (B, H, W, C). Like the optimiser, created
        inside the scope of `strategy`.
      optimizer: a Keras optimiser.
      strategy: from `distribution.choose_strategy`.
      train, validation: data sets of one spec.
      run: where everything is written.
      batch_size: images a step over all replicas.
      batches: makes the training batches; `pipeline.training_batches` with everything but batch_size, start_step,
        num_steps and shard filled in.
      seed: of the dropout masks.
      loss: what is made small; None for the plain cross-entropy.
      debug: whether to write histograms at every validation.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        strategy: tf.distribute.Strategy,
        train: Dataset,
        validation: Dataset,
        run: Run,
        batch_size: int,
        batches: Callable[..., tf.data.Dataset],
        seed: int,
        loss: losses.PixelLoss | None = None,
        debug: bool = False,
    ):
        self._model, self._optimizer, self._strategy = model, optimizer, strategy
        self._train, self._validation, self._run = train, validation, run
        self._batch_size, self._batches, self._seed, self._debug = batch_size, batches, seed, debug
        self._loss = loss or losses.PixelLoss(("cross_entropy",), ignore_label=train.spec.ignore_label)
        self._chief = distribution.is_chief(strategy)
        with strategy.scope():
            optimizer.build(model.trainable_variables)
            variables = [*model.variables, *optimizer.variables]
        # Outside the scope: its own variables are this worker's, and a string cannot be mirrored.
        self._checkpoints = Checkpoints(run.checkpoints, variables, writer=self._chief)
        self._evaluator = inference.Evaluator(model, validation.spec)
        self._summaries = Summaries(run, train.spec, enabled=self._chief)
        self._step = tf.function(self._distributed_step)
        self._parts = _parts(model)

    def restore(self) -> int:
        """Continues from the newest checkpoint, where there is one, and returns its step.

        Raises:
          UserError: if it cannot be used, or other workers see another one.
        """
        start = self._checkpoints.restore()
        if self._sum_over_replicas(start) != start * self._strategy.num_replicas_in_sync:
            raise UserError(
                f"this worker would resume at step {start}, another one elsewhere; "
                f"--logs_dir={self._run.logs_dir} must be one folder that all workers share."
            )
        return start

    def _sum_over_replicas(self, number: int) -> int:
        @tf.function
        def total():
            numbers = self._strategy.run(lambda: tf.constant(number, tf.int64))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, numbers, axis=None)

        return int(total())

    def owes_validation(self, schedule: Schedule, step: int) -> bool:
        """Whether the validation due after `step` is missing: a signal that cuts one short still saves the step."""
        due = step > 0 and (step % schedule.eval_every == 0 or step == schedule.max_steps)
        return due and all(row["step"] != step for row in self._run.read_history())

    def fit(self, schedule: Schedule, *, start: int = 0) -> int:
        """Trains from step `start` to `schedule.max_steps`.

        Returns:
          The exit status: 0, or 128 + the signal's number after SIGINT or SIGTERM (with a checkpoint saved).

        Raises:
          UserError: when the loss is no longer finite, or an example cannot be read.
        """
        window, since_evaluation = Window(self._train), Window(self._train)
        elapsed = _last_elapsed(self._run)
        clock = began = time.perf_counter()
        with Interrupts() as interrupts, Progress(start, schedule.max_steps) as bar:
            if self.owes_validation(schedule, start) and not self._evaluate(
                start, since_evaluation, elapsed, None, interrupts, bar
            ):
                return self._stop(start, interrupts, bar)
            for step, batch in self._numbered_batches(start, schedule.max_steps):
                last = step == schedule.max_steps
                log = step % schedule.log_every == 0 or last
                loss, norms, cells = self._step(*batch, tf.constant(step - 1, tf.int32), tf.constant(log))
                loss = float(loss)
                if not math.isfinite(loss):
                    raise self._diverged(step, loss)
                if step == start + 1:
                    self._write_graph(batch)
                else:  # the first step is spent on tracing
                    for each in (window, since_evaluation):
                        each.add_time(time.perf_counter() - began, self._batch_size)
                for each in (window, since_evaluation):
                    each.add(loss, cells)
                bar.update(f"loss {since_evaluation.loss:.3f}, {since_evaluation.rate:.2f} images/s")
                if log:
                    self._summaries.train_scalars(
                        {
                            **window.scores(),
                            **dict(zip(self._parts, np.sqrt(norms), strict=True)),
                            "learning_rate": self._rate(),
                            "images_per_second": window.rate,
                        },
                        step,
                    )
                    window = Window(self._train)
                if step % schedule.eval_every == 0 or last:
                    spent = elapsed + time.perf_counter() - clock
                    if not self._evaluate(step, since_evaluation, spent, batch, interrupts, bar):
                        return self._stop(step, interrupts, bar)
                    since_evaluation = Window(self._train)
                if interrupts.signal:
                    return self._stop(step, interrupts, bar)
                if step % schedule.save_every == 0 or last:
                    self._save(step)
                began = time.perf_counter()  # validating and saving are not training
        return 0

    def _numbered_batches(self, start: int, end: int) -> Iterator[tuple[int, tuple]]:
        replicas = self._strategy.num_replicas_in_sync

        def local_batches(context):
            here = replicas // context.num_input_pipelines  # replicas fed by this worker
            return self._batches(
                batch_size=distribution.replica_batch_size(self._strategy, self._batch_size),
                start_step=start * here,
                num_steps=(end - start) * here,
                shard=(context.input_pipeline_id, context.num_input_pipelines),
            )

        iterator = iter(self._strategy.distribute_datasets_from_function(local_batches))
        for step in range(start + 1, end + 1):
            try:
                yield step, next(iterator)
            except tf.errors.OpError as error:
                mistake = pipeline.raised_user_error(error)
                if mistake is None:
                    raise
                raise mistake from None

    def _distributed_step(self, images, labels, number, log):
        results = self._strategy.run(self._replica_step, args=(images, labels, number, log))
        # Already summed over the replicas: each holds the same.
        floats, cells = (self._strategy.experimental_local_results(result)[0] for result in results)
        return floats[0], floats[1:], cells

    def _replica_step(self, images, labels, number, log):
        context = tf.distribute.get_replica_context()
        loss, gradients, logits = self._gradients(images, labels, number)
        norms = tf.cond(log, lambda: self._squared_norms(gradients), lambda: tf.zeros(len(self._parts)))
        # Keras sums gradients over the replicas; the loss was divided by the pixels of all of them.
        self._optimizer.apply_gradients(zip(gradients, self._model.trainable_variables, strict=True))
        cells = inference.confusion_cells(logits, labels, self._train.spec)
        floats = tf.concat([[loss], norms], axis=0)
        # One by one: replicas cannot sum tensors of different types together.
        return [context.all_reduce(tf.distribute.ReduceOp.SUM, part) for part in (floats, cells)]

    def _squared_norms(self, gradients):
        """Of the trunk's and of the new layers' gradient; several replicas add up the squares of their shares."""
        scale = self._optimizer.scale_loss(tf.constant(1.0))
        sums = [2 * tf.add_n([tf.nn.l2_loss(gradients[i]) for i in part]) for part in self._parts.values()]
        return tf.cast(tf.stack(sums), tf.float32) / tf.square(scale)

    def _gradients(self, images, labels, number):
        context = tf.distribute.get_replica_context()
        seed = tf.random.experimental.stateless_fold_in([self._seed, number], context.replica_id_in_sync_group)
        with tf.GradientTape() as tape:
            with layers.step_seed(seed):
                logits = self._model(tf.cast(images, tf.float32), training=True)
            loss = self._loss(
                logits,
                labels,
                reduce=functools.partial(context.all_reduce, tf.distribute.ReduceOp.SUM),
                replicas=context.num_replicas_in_sync,
            )
            scaled = self._optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, self._model.trainable_variables), logits

    def _evaluate(self, step, since_evaluation, elapsed, batch, interrupts, bar) -> bool:
        """Validates, and keeps the model if it is the best so far; False if a signal cut it short."""
        samples: list[tuple] = []

        def on_batch(_indices, images, labels, predictions, _counts):
            samples.extend(list(zip(images, labels, predictions, strict=True))[: _SHOWN_EXAMPLES - len(samples)])
            if interrupts.signal:
                raise _Interrupted

        bar.wait(f"validating step {step} on {len(self._validation)} examples")
        try:
            evaluation = self._evaluator.run(self._validation, on_batch=on_batch)
        except _Interrupted:
            return False
        scores = {
            "loss": evaluation.loss,
            "pixel_accuracy": evaluation.pixel_accuracy,
            "mean_accuracy": evaluation.mean_accuracy,
            "mean_iou": evaluation.mean_iou,
        }
        self._summaries.validation_scalars({**scores, "images_per_second": evaluation.images_per_second}, step)
        self._summaries.pictures(samples, step)
        self._summaries.classes(evaluation.counts, step)
        if self._debug and batch is not None:
            self._write_histograms(batch, step)
        self._summaries.flush()
        # Right after resuming there is nothing to average.
        trained = "" if math.isnan(since_evaluation.loss) else f"train loss {since_evaluation.loss:.4f}, "
        bar.write(
            f"step {step}: {trained}validation loss {evaluation.loss:.4f}, "
            f"pixel accuracy {evaluation.pixel_accuracy:.4f}, mean IoU {evaluation.mean_iou:.4f}"
        )
        if self._chief:
            best = max((row["val_mean_iou"] or 0.0 for row in self._run.read_history()), default=-1.0)
            if evaluation.mean_iou > best or not files.exists(self._run.model):
                save_model(self._model, self._run.model)
            self._run.append_history(
                {
                    "step": step,
                    "epoch": step * self._batch_size / len(self._train),
                    "train_loss": _measured(since_evaluation.loss),
                    **{f"val_{name}": _measured(value) for name, value in scores.items()},
                    "learning_rate": self._rate(),
                    "images_per_second": since_evaluation.rate,
                    "elapsed_seconds": elapsed,
                }
            )
            charts.write_curves(self._run)
        return True

    def _save(self, step):
        try:
            self._checkpoints.save(step)
        except FloatingPointError as error:
            raise self._diverged(step, f"finite, but {error} is not") from None

    def _stop(self, step, interrupts, bar) -> int:
        bar.close()
        self._save(step)
        self._summaries.flush()
        print(f"stopped by {interrupts.signal.name} after step {step}, saved; the same command continues there")
        return 128 + interrupts.signal.value

    def _diverged(self, step, loss) -> UserError:
        kept = self._checkpoints.latest
        return UserError(
            f"training diverged: the loss of step {step} is {loss}; the last good checkpoint is {kept or 'none yet'}. "
            f"Try a lower --learning_rate than {self._rate():g} in another --logs_dir, or --precision=float32."
        )

    def _rate(self) -> float:
        return float(self._optimizer.learning_rate.numpy())

    def _write_graph(self, batch):
        function = self._step.get_concrete_function(*batch, tf.constant(0, tf.int32), tf.constant(True))
        self._summaries.graph(function.graph)

    def _write_histograms(self, batch, step):
        """Weights, gradients and activations of the batch just trained on (of the first replica)."""
        images, labels = (self._strategy.experimental_local_results(part)[0] for part in batch)
        variables = self._model.trainable_variables
        shown = [layer for layer in self._model.layers if isinstance(layer, keras.layers.ReLU)]
        activations = keras.Model(self._model.input, [layer.output for layer in shown])(tf.cast(images, tf.float32))
        with tf.GradientTape() as tape:
            logits = self._model(tf.cast(images, tf.float32), training=False)
            loss = self._loss(logits, labels, reduce=tf.identity)
        gradients = tape.gradient(loss, variables)
        self._summaries.histograms(
            {
                "weights": {variable.path: variable.value for variable in variables},
                "gradients": {variable.path: g for variable, g in zip(variables, gradients, strict=True)},
                "activations": {layer.name: values for layer, values in zip(shown, activations, strict=True)},
            },
            step,
        )


class Window:
    """Sums over some training steps: loss, confusion and time; divided once, when asked."""

    def __init__(self, dataset: Dataset):
        self._spec = dataset.spec
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


class _Interrupted(Exception):
    """A signal came during a validation."""


def save_model(model: keras.Model, path: str) -> None:
    """Saves a model so that a kill leaves the file that was there or the new one."""
    temporary = f"{path}.new.keras"
    model.save(temporary)
    files.replace(temporary, path)


def _measured(value: float) -> float | None:
    return None if math.isnan(value) else value


def _parts(model: keras.Model) -> dict[str, list[int]]:
    """{name of the curve: which trainable variables}: do pretrained layers learn, and new ones?"""
    trunk = {variable.path for layer in model.layers if is_trunk(layer.name) for variable in layer.trainable_variables}
    parts: dict[str, list[int]] = {"gradient_norm/vgg": [], "gradient_norm/new": []}
    for i, variable in enumerate(model.trainable_variables):
        parts["gradient_norm/vgg" if variable.path in trunk else "gradient_norm/new"].append(i)
    return {name: part for name, part in parts.items() if part}


def _last_elapsed(run: Run) -> float:
    rows = run.read_history()
    return rows[-1]["elapsed_seconds"] or 0.0 if rows else 0.0
