"""The training loop: one for every tf.distribute strategy, resumed exactly, stopped cleanly.

Which examples a step sees and how they are augmented follow from the seed and the number of the
step (data/pipeline.py), so a checkpoint needs no more than the variables, that number, and the sums since the last
validation.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from fcn_tf.data import pipeline
from fcn_tf.data.base import Dataset, Example
from fcn_tf.io.run_dir import Run
from fcn_tf.models.build import Network
from fcn_tf.training import distribution, failures, losses, resume, schedules
from fcn_tf.training.averaging import AverageWeights
from fcn_tf.training.checkpoints import Checkpoints, SaveCheckpoints
from fcn_tf.training.hooks import Hook, TrainingIntervals, TrainingState
from fcn_tf.training.interrupts import Interrupts, StopOnSignal
from fcn_tf.training.profiling import Profile
from fcn_tf.training.progress import ShowProgress
from fcn_tf.training.running_metrics import NonFiniteLoss, RunningMetrics
from fcn_tf.training.step import TrainingStep
from fcn_tf.training.tensorboard import Histograms, Summaries, TensorBoard
from fcn_tf.training.validation import KeepBestModel, StopEarly, Validation, WriteHistory, WriteTrainingCurve


class Trainer:
    """Trains a model on one data set and validates it on another.

    Args:
      network: from `build_network`. Like the optimiser, created inside the scope of `strategy`.
      optimizer: any Keras optimiser.
      strategy: from `distribution.choose_strategy`.
      train, validation: data sets of one spec.
      run: where everything is written.
      batch_size: images a step over all replicas.
      batches: makes the training batches; `pipeline.training_batches` with everything but batch_size, start_step,
        num_steps and shard filled in.
      seed: of the dropout masks.
      loss: to be minimised; None for the plain cross-entropy.
      rate: the learning rate as a function of the steps taken before; None to leave it as it is.
      rate_factor: how many times --learning_rate it is before any schedule, for what is advised where it diverges.
      ema: decay of the moving average of the weights, which is then what is validated and kept; 0 for none.
      early_stopping: validations without a better mean IoU after which to stop; 0 for never.
      accumulate, recompute: see `TrainingStep`.
      profile: whether to trace a few steps of each `fit`.
      debug: whether to write histograms at every validation.
      more_hooks: called on the chief, after what is written to `run` and before its checkpoints.
      interrupts: that listen for signals already; None to listen during each `fit`.

    Attributes:
      checkpoints: of the run.
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
        rate: Callable[[int], float] | None = None,
        rate_factor: float = 1.0,
        ema: float = 0.0,
        early_stopping: int = 0,
        accumulate: int = 1,
        recompute: bool = False,
        profile: bool = False,
        debug: bool = False,
        more_hooks: Sequence[Hook] = (),
        interrupts: Interrupts | None = None,
    ):
        model, spec = network.model, train.spec
        loss = loss or losses.PixelLoss(("cross_entropy",), ignore_label=spec.ignore_label)
        self._optimizer, self._strategy, self._train, self._run = optimizer, strategy, train, run
        self._batch_size, self._batches, self._rate_factor = batch_size, batches, rate_factor
        self._seed = seed
        self._continue_with = ""  # how the command that continues differs from the one that was given
        self._chief = chief = distribution.is_chief(strategy)
        self._total = distribution.summing(strategy)
        with strategy.scope():
            optimizer.build(model.trainable_variables)
            average = AverageWeights(model, ema, strategy=strategy) if ema else None
        # Outside the scope: its own variables are this worker's, and a string cannot be mirrored.
        self.checkpoints = Checkpoints(
            run.checkpoints,
            [*model.variables, *optimizer.variables],
            averages=average.variables if average else (),
            writer=chief,
        )
        best = average.model if average else model  # what is validated and kept
        self._validation = Validation(best, validation)
        self._step = TrainingStep(
            network,
            optimizer,
            strategy=strategy,
            loss=loss,
            spec=spec,
            seed=seed,
            accumulate=accumulate,
            recompute=recompute,
        )
        summaries = Summaries(run, spec, enabled=chief)
        self._signals = StopOnSignal(self._total if distribution.others(strategy) else None, interrupts)
        self._saving = SaveCheckpoints(self.checkpoints, run)
        # In the order in which they are called.
        hooks: list[Hook | None] = [
            Profile(run.train_events) if profile and chief else None,  # next to the step: a trace holds nothing else
            schedules.FollowSchedule(optimizer, rate) if rate else None,
            average,
            self._signals,
            Histograms(summaries, model, loss, strategy=strategy, accumulate=accumulate) if debug else None,
            TensorBoard(summaries, run, self._graph),
            WriteTrainingCurve(run) if chief else None,  # before history and checkpoints: none lacks its points
            KeepBestModel(best, run) if chief else None,  # before the history, whose best row it compares with
            WriteHistory(run) if chief else None,
            ShowProgress(len(validation)),  # what it prints is written
            StopEarly(run, early_stopping, chief=chief, total=self._total) if early_stopping else None,
            *(more_hooks if chief else ()),
            self._saving,  # after the history, which says which checkpoint is the best
        ]
        self._hooks = [hook for hook in hooks if hook is not None]

    def restore(self, step: int | None = None, *, by_flag: bool = False) -> int:
        """Continues from the checkpoint of `step`, or the newest one, where there is one, and returns its step.

        Args:
          step: of the checkpoint.
          by_flag: whether --resume_from asks for it, and would do so again.

        Raises:
          UserError: if it cannot be used, or other workers see another one.
        """
        self._continue_with = " without --resume_from" if by_flag else ""
        replicas, logs_dir = self._strategy.num_replicas_in_sync, self._run.logs_dir
        return resume.restore(self.checkpoints, step, total=self._total, replicas=replicas, logs_dir=logs_dir)

    def fit(self, intervals: TrainingIntervals, *, start: int = 0) -> int:
        """Trains from step `start` to `intervals.max_steps`.

        Returns:
          The exit status: 0, or 128 + the signal's number after SIGINT or SIGTERM (with a checkpoint saved).

        Raises:
          failures.Diverged: when the loss is no longer finite.
          UserError: when an example cannot be read.
        """
        state = resume.state_at(
            start,
            run=self._run,
            checkpoints=self.checkpoints,
            intervals=intervals,
            train=self._train,
            batch_size=self._batch_size,
            rate=functools.partial(schedules.current_rate, self._optimizer),
        )
        with contextlib.ExitStack() as stack:
            for hook in self._hooks:
                stack.callback(hook.close)
                hook.on_start(state)
            try:
                self._run_steps(state)
            except NonFiniteLoss as error:
                raise failures.diverged(
                    error,
                    self._examples_of(error.step),
                    run=self._run,
                    learning_rate=schedules.current_rate(self._optimizer),
                    rate_factor=self._rate_factor,
                    checkpoint=self.checkpoints.latest,
                ) from None
        if state.stop is None:
            return 0
        saved = (
            f", saved; the same command{self._continue_with} continues there" if self._chief else "; the chief saves"
        )
        # Now: a signal that comes while the process ends would take what is not written yet with it.
        print(f"stopped by {state.stop.name} after step {state.step}{saved}", flush=True)
        return 128 + state.stop.value

    def _run_steps(self, state: TrainingState) -> None:
        intervals = state.intervals
        if resume.lacks_validation(self._run, intervals, state.step):
            self._validate(state)
        batches = distribution.batches(
            self._strategy, self._batches, batch_size=self._batch_size, start=state.start, end=intervals.max_steps
        )
        with contextlib.closing(batches):
            while state.step < intervals.max_steps and not state.stopping:
                with state.clock:
                    batch = next(batches)
                state.begin_step(batch)
                self._call("before_step", state)
                with state.clock:
                    log, stop_requests = intervals.logs(state.step), self._signals.stop_requests
                    result = self._step(*batch, number=state.step - 1, log=log, stop_requests=stop_requests)
                state.end_step(result)
                self._call("after_step", state)
                if state.stop is None and intervals.validates(state.step):
                    self._validate(state)
        if state.stopping:
            state.read()
            self._call("on_stop", state)

    def _validate(self, state: TrainingState) -> None:
        """Validates; a signal that cuts it short becomes `state.stop`, on all workers after the same image."""
        self._call("before_validation", state)

        def stopped():
            state.stop = self._signals.asked()
            return state.stop

        result = self._validation(state.since_validation, stopped)
        if result is None:
            return
        state.since_validation = RunningMetrics(state.spec)
        try:
            self._call("after_validation", state, result)
        except OSError as error:
            state.since_validation = result.trained
            self._saving.save(state)
            raise failures.not_written(
                error, run=self._run, step=state.step, checkpoint=self.checkpoints.latest
            ) from None

    def _call(self, event: str, *arguments: Any) -> None:
        for hook in self._hooks:
            getattr(hook, event)(*arguments)

    def _examples_of(self, step: int) -> list[Example]:
        """Those in the batch of a step, counted from 1; none where workers share them."""
        if distribution.others(self._strategy):
            return []
        return pipeline.examples_of_step(self._train, step - 1, batch_size=self._batch_size, seed=self._seed)

    def _graph(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Graph:
        return self._step.graph(images, labels, stop_requests=self._signals.stop_requests)
