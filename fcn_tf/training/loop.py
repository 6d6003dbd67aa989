"""The training loop: one for every tf.distribute strategy, resumed exactly, stopped cleanly.

Which examples a step sees and how they are augmented follow from the seed and the number of the
step (data/pipeline.py), so a checkpoint needs no more than the variables, that number, and the sums since the last
validation.
"""

import contextlib
import functools
import math
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.data import pipeline
from fcn_tf.data.base import Dataset
from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.models.build import Network
from fcn_tf.training import distribution, histograms, interrupts, losses
from fcn_tf.training.checkpoints import Checkpoints
from fcn_tf.training.interrupts import Interrupts
from fcn_tf.training.profiling import Profile
from fcn_tf.training.progress import Progress
from fcn_tf.training.running_metrics import Window
from fcn_tf.training.step import TrainingStep
from fcn_tf.training.tensorboard import Summaries
from fcn_tf.training.validation import Validation


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
      network: from `build_network`. Like the optimiser, created inside the scope of `strategy`.
      optimizer: a Keras optimiser.
      strategy: from `distribution.choose_strategy`.
      train, validation: data sets of one spec.
      run: where everything is written.
      batch_size: images a step over all replicas.
      batches: makes the training batches; `pipeline.training_batches` with everything but batch_size, start_step,
        num_steps and shard filled in.
      seed: of the dropout masks.
      loss: what is made small; None for the plain cross-entropy.
      accumulate, recompute: see `TrainingStep`.
      profile: whether to trace a few steps of each `fit`.
      debug: whether to write histograms at every validation.
    """

    def __init__(
        self,
        network: Network,
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
        accumulate: int = 1,
        recompute: bool = False,
        profile: bool = False,
        debug: bool = False,
    ):
        model = network.model
        self._model, self._optimizer, self._strategy = model, optimizer, strategy
        self._train, self._run = train, run
        self._batch_size, self._batches, self._accumulate, self._debug = batch_size, batches, accumulate, debug
        self._loss = loss or losses.PixelLoss(("cross_entropy",), ignore_label=train.spec.ignore_label)
        self._again = ""  # how the command that continues differs from the one that was given
        self._chief = chief = distribution.is_chief(strategy)
        self._several, self._total = distribution.others(strategy) != [], distribution.summing(strategy)
        self._profile = functools.partial(Profile, run.train_events, run.profile, enabled=profile and chief)
        with strategy.scope():
            optimizer.build(model.trainable_variables)
            variables = [*model.variables, *optimizer.variables]
        # Outside the scope: its own variables are this worker's, and a string cannot be mirrored.
        self._checkpoints = Checkpoints(run.checkpoints, variables, writer=chief)
        self._summaries = Summaries(run, train.spec, enabled=chief)
        self._to_validate = len(validation)
        self._saved: int | None = None  # the step of the newest checkpoint
        self._validate = Validation(model, validation, run=run, summaries=self._summaries, chief=chief)
        self._step = TrainingStep(
            network,
            optimizer,
            strategy=strategy,
            loss=self._loss,
            spec=train.spec,
            seed=seed,
            accumulate=accumulate,
            recompute=recompute,
        )

    def restore(self, step: int | None = None) -> int:
        """Continues from the checkpoint of `step`, or the newest one, where there is one, and returns its step.

        Raises:
          UserError: if it cannot be used, or other workers see another one.
        """
        self._again = " without --resume_from" if step is not None else ""
        start = self._checkpoints.restore(step)
        if self._total([start]) != [start * self._strategy.num_replicas_in_sync]:
            raise UserError(
                f"this worker would resume at step {start}, another one elsewhere; "
                f"--logs_dir={self._run.logs_dir} must be one folder that all workers share."
            )
        self._saved = start
        return start

    def drop_after(self, step: int) -> list[int]:
        """Removes the checkpoints past `step`, and returns their steps."""
        return self._checkpoints.drop_after(step)

    def change_learning_rate(self, rate: float) -> float | None:
        """Makes the rate, which a checkpoint brings along, another one; returns what it was, None if it was that."""
        was = self._rate()
        if was == np.float32(rate):
            return None
        self._optimizer.learning_rate.assign(rate)
        return was

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
        window = Window(self._train.spec)
        validated = any(row["step"] == start for row in self._run.read_history())
        # Where that validation was made up for after the checkpoint was saved, the sums in it are spent.
        state = None if validated else self._checkpoints.notes(start).get("window")
        since_evaluation = Window(self._train.spec, state)
        elapsed = _last_elapsed(self._run)
        clock = began = time.perf_counter()
        with (
            Interrupts() as received,
            Progress(start, schedule.max_steps) as bar,
            self._profile(start, schedule.max_steps, say=bar.write) as profile,
            contextlib.closing(self._numbered_batches(start, schedule.max_steps)) as batches,
        ):
            if self.owes_validation(schedule, start):
                if number := self._evaluate(start, since_evaluation, elapsed, None, received, bar):
                    return self._stop(start, since_evaluation, number, bar)
                since_evaluation = Window(self._train.spec)
            for step, batch in batches:
                last = step == schedule.max_steps
                log = step % schedule.log_every == 0 or last
                waited = time.perf_counter() - began  # for the batch
                with profile.step(step):
                    began = time.perf_counter()  # starting and writing a trace are not training
                    loss, norms, cells, votes = self._step(*batch, number=step - 1, log=log, votes=received.votes)
                    spent = waited + time.perf_counter() - began
                if not math.isfinite(loss):
                    raise self._diverged(step, loss)
                if step == start + 1:
                    self._summaries.graph(self._step.graph(*batch))
                else:  # the first step is spent on tracing
                    for each in (window, since_evaluation):
                        each.add_time(spent, self._batch_size)
                for each in (window, since_evaluation):
                    each.add(loss, cells)
                rate = f", {since_evaluation.rate:.2f} images/s" if since_evaluation.rate else ""
                bar.update(f"loss {since_evaluation.loss:.3f}{rate}")
                if log:
                    self._summaries.train_scalars(
                        {
                            **window.scores(),
                            **norms,
                            "learning_rate": self._rate(),
                            "images_per_second": window.rate,
                        },
                        step,
                    )
                    window = Window(self._train.spec)
                # Several workers stop after the same step: the first whose votes hold what one of them received.
                if number := interrupts.decide(votes) if self._several else received.signal:
                    return self._stop(step, since_evaluation, number, bar)
                if step % schedule.save_every == 0 or last:
                    self._save(step, since_evaluation)
                if step % schedule.eval_every == 0 or last:
                    so_far = elapsed + time.perf_counter() - clock
                    if number := self._evaluate(step, since_evaluation, so_far, batch, received, bar):
                        return self._stop(step, since_evaluation, number, bar)
                    since_evaluation = Window(self._train.spec)
                    if self._is_best(step):
                        self._save(step, since_evaluation)
                began = time.perf_counter()  # validating and saving are not training
        return 0

    def _numbered_batches(self, start: int, end: int) -> Generator[tuple[int, tuple], None, None]:
        replicas = self._strategy.num_replicas_in_sync

        def local_batches(context):
            here = replicas // context.num_input_pipelines  # replicas fed by this worker
            return self._batches(
                batch_size=distribution.replica_batch_size(self._strategy, self._batch_size),
                start_step=start * here,
                num_steps=(end - start) * here,
                shard=(context.input_pipeline_id, context.num_input_pipelines),
            )

        distributed = self._strategy.distribute_datasets_from_function(local_batches)
        with contextlib.closing(pipeline.iterate(distributed)) as batches:
            # In this order, so that no batch past the last is asked for.
            yield from zip(range(start + 1, end + 1), batches, strict=False)

    def _evaluate(self, step, since_evaluation, elapsed, batch, received, bar) -> signal.Signals | None:
        """Validates; the signal that cut it short, if one did, on all workers at the same picture."""
        if self._debug and batch is not None:
            # Of the batch just trained on, what the first replica held at a time.
            images, labels = (self._strategy.experimental_local_results(part)[0] for part in batch)
            images, labels = (part[: len(part) // self._accumulate] for part in (images, labels))
            self._summaries.histograms(histograms.collect(self._model, self._loss, images, labels), step)
        bar.wait(f"validating step {step} on {self._to_validate} examples")
        number = None

        def stopped():
            nonlocal number
            number = interrupts.decide(self._total(received.votes)) if self._several else received.signal
            return number

        try:
            line = self._validate(
                step,
                since_evaluation,
                epoch=step * self._batch_size / len(self._train),
                learning_rate=self._rate(),
                elapsed=elapsed,
                stopped=stopped,
            )
        except OSError as error:
            raise self._unwritten(error, step, since_evaluation) from None
        if line is None:
            return number
        bar.write(line)
        return None

    def _unwritten(self, error, step, since_evaluation) -> Exception:
        """What to raise where the model or the history could not be written after `step`, which is saved first."""
        self._save(step, since_evaluation)
        if (reason := files.refusal(error)) is None:
            return error
        return UserError(
            f"the validation of step {step} cannot be written in {self._run.logs_dir} ({reason}); that step is saved "
            f"in {self._checkpoints.latest}: mend that, as by making room, and run the same command to validate "
            "it again and go on."
        )

    def _is_best(self, step: int) -> bool:
        best = self._run.best_validation()
        return best is not None and best["step"] == step

    def _save(self, step, since_evaluation):
        best = self._run.best_checkpoint(step)
        best_step = best and best["step"]
        if step == self._saved:
            self._checkpoints.prune(best=best_step)  # a validation since then may have found another best one
            return
        try:
            self._checkpoints.save(step, {"window": since_evaluation.state()}, best=best_step)
        except FloatingPointError as error:
            raise self._diverged(step, f"finite, but {error} is not") from None
        self._saved = step

    def _stop(self, step, since_evaluation, number, bar) -> int:
        bar.close()
        self._save(step, since_evaluation)
        self._summaries.flush()
        saved = f", saved; the same command{self._again} continues there" if self._chief else "; the chief saves"
        print(f"stopped by {number.name} after step {step}{saved}")
        return 128 + number.value

    def _diverged(self, step, loss) -> UserError:
        rate, best = self._rate(), self._run.best_checkpoint()
        if best is None:
            return UserError(
                f"training diverged: the loss of step {step} is {loss}; the last checkpoint is "
                f"{self._checkpoints.latest or 'none yet'}. Try a lower --learning_rate than {rate:g} in another "
                "--logs_dir, or --precision=float32."
            )
        lower = min(rate / 10, best["learning_rate"] or rate)
        return UserError(
            f"training diverged: the loss of step {step} is {loss}; the best validation was at step {best['step']}. "
            f"Continue from its checkpoint with --resume_from=best --learning_rate={lower:g}, or try "
            "--precision=float32 in another --logs_dir."
        )

    def _rate(self) -> float:
        return float(self._optimizer.learning_rate.numpy())


def _last_elapsed(run: Run) -> float:
    rows = run.read_history()
    return rows[-1]["elapsed_seconds"] or 0.0 if rows else 0.0
