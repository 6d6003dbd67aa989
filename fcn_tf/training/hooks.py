"""The interface of everything that hangs on the training loop, and the state that a hook sees."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from fcn_tf.data.base import DatasetSpec
from fcn_tf.inference.evaluator import Evaluation
from fcn_tf.training.running_metrics import MEASURES, RunningMetrics, StepSums
from fcn_tf.training.step import StepResult

_SECONDS_BETWEEN_READS = 1.0  # at least, for the progress bar: reading waits for the device


@dataclass(frozen=True)
class TrainingIntervals:
    """When things happen, in optimiser steps.

    Attributes:
      max_steps: the last step.
      eval_every, save_every, log_every: steps between validations, checkpoints and points of the curves.
    """

    max_steps: int
    eval_every: int
    save_every: int
    log_every: int

    def logs(self, step: int) -> bool:
        """Whether the curves get a point after `step`."""
        return step % self.log_every == 0 or step == self.max_steps

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is written after `step`."""
        return step % self.save_every == 0 or step == self.max_steps

    def validates(self, step: int) -> bool:
        """Whether the model is validated after `step`."""
        return step % self.eval_every == 0 or step == self.max_steps


@dataclass(frozen=True)
class ValidationResult:
    """What a validation measured.

    Attributes:
      evaluation: of the validation examples.
      samples: (uint8 (H, W, 3) photo, ground truth (H, W), prediction (H, W)) of the first few.
      trained: the steps since the validation before.
    """

    evaluation: Evaluation
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    trained: RunningMetrics

    @property
    def scores(self) -> dict[str, float]:
        """Cross-entropy and each of `MEASURES`; NaN where nothing is labelled."""
        return {name: getattr(self.evaluation, name) for name in ("loss", *MEASURES)}


class Stopwatch:
    """Adds up the seconds spent in its context; `take` returns them and starts again."""

    def __init__(self) -> None:
        self._began = self._seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._began

    def take(self) -> float:
        """The seconds since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@dataclass
class TrainingState:
    """Where a training is, and how it goes.

    Attributes:
      spec: of the data set trained on.
      intervals: when things happen.
      start: steps taken before this start of the program.
      batch_size: images a step, over all replicas.
      dataset_size: training examples.
      rate: returns the optimiser's current learning rate.
      since_validation: metrics of the steps since the last validation, as last read.
      earlier_seconds: what earlier starts of the run took.
      step: steps taken.
      batch: the one trained on last; None before the first.
      result: of the last step; its tensors may still be computed.
      since_log: metrics of the steps since the last point of the curves, as last read.
      stop: the signal to stop for, once there is one.
      early_stop: whether to stop because nothing gets better any more.
      clock: runs while a batch is waited for and a step is computed: not while hooks work.
    """

    spec: DatasetSpec
    intervals: TrainingIntervals
    start: int
    batch_size: int
    dataset_size: int
    rate: Callable[[], float]
    since_validation: RunningMetrics
    since_log: RunningMetrics
    earlier_seconds: float = 0.0
    stop: signal.Signals | None = None
    early_stop: bool = False
    clock: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self.step = self.start
        self.batch: tuple[tf.Tensor, tf.Tensor] | None = None
        self.result: StepResult | None = None
        self._point: dict[str, float] | None = None  # once it is worked out
        self._unread = StepSums(self.spec)
        self._began = self._last_read = time.perf_counter()

    @property
    def stopping(self) -> bool:
        """Whether no further step is to be taken, whatever the number of steps."""
        return self.stop is not None or self.early_stop

    @property
    def epoch(self) -> float:
        """How often the training set was seen."""
        return self.step * self.batch_size / self.dataset_size

    @property
    def elapsed(self) -> float:
        """Seconds the run has taken, earlier starts included."""
        return self.earlier_seconds + time.perf_counter() - self._began

    def point(self) -> dict[str, float]:
        """A point of the training curves: scores since the last one, learning rate, images a second. Once a step."""
        if self._point is None:
            rates = {"learning_rate": self.rate(), "images_per_second": self.since_log.images_per_second}
            self._point = {**self.since_log.scores(), **rates}
        return dict(self._point)

    def begin_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> None:
        """The next step, on `batch`, begins."""
        if self.intervals.logs(self.step):
            self.since_log = RunningMetrics(self.spec)
        self._point = None
        self.step += 1
        self.batch = batch

    def end_step(self, result: StepResult) -> None:
        """The step was started; its metrics are read if somebody will look at them, or a second has passed."""
        self.result = result
        with self.clock:
            self._unread.add(self.step, result.loss, result.cells)
        due = any(each(self.step) for each in (self.intervals.logs, self.intervals.saves, self.intervals.validates))
        if due or self.step == self.start + 1 or time.perf_counter() - self._last_read > _SECONDS_BETWEEN_READS:
            self.read()

    def read(self) -> None:
        """Waits for the device, and adds the metrics of all steps so far to `since_log` and `since_validation`.

        Raises:
          NonFiniteLoss: if the loss of a step is not finite.
        """
        if not self._unread.steps:
            return
        with self.clock:
            sums = self._unread.take()
        self._last_read = time.perf_counter()
        seconds, images = self.clock.take(), sums.steps * self.batch_size
        if self.step == self.start + 1:  # spent on tracing the graph
            seconds, images = 0.0, 0
        for metrics in (self.since_log, self.since_validation):
            metrics.add(sums, seconds=seconds, images=images)


class Hook:
    """Something that hangs on the training loop. By default, nothing happens.

    The loop calls each method of all hooks in the order of `Trainer`'s list.
    """

    def on_start(self, state: TrainingState) -> None:
        """Before the first step of a start."""

    def before_step(self, state: TrainingState) -> None:
        """`state.step` is about to be computed on `state.batch`."""

    def after_step(self, state: TrainingState) -> None:
        """`state.step` was started. A hook that wants the loop to stop here sets `state.stop`."""

    def before_validation(self, state: TrainingState) -> None:
        """The model of `state.step` is about to be validated."""

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """The model of `state.step` was validated; `state.since_validation` is empty again."""

    def on_stop(self, state: TrainingState) -> None:
        """The loop stops after `state.step`, for the signal `state.stop` or early."""

    def close(self) -> None:
        """The loop is left, also by an exception; hooks close in reverse order."""
