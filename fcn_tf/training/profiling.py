"""A trace of a few training steps for TensorBoard."""

import tensorflow as tf

from fcn_tf.training.hooks import Hook, TrainingState
from fcn_tf.training.progress import BestEffort, write

_STEP = "train"  # what a step is called in the trace
_FIRST, _STEPS = 10, 6  # of one start: by then everything is traced, and files are read ahead


class Profile(Hook):
    """Traces some steps of each start; leaves a trace also when training is stopped in between.

    Steps 10 to 15 are traced, earlier ones where there are fewer; the very first, which is spent on other things, only
    where it is the only one.

    Args:
      folder: where TensorBoard looks; the trace lies in `plugins/profile/` under it.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._first = self._last = 0
        self._trace: tf.profiler.experimental.Trace | None = None
        self._running = False
        self._effort = BestEffort(f"the trace in {folder}", tf.errors.OpError, OSError)

    def on_start(self, state: TrainingState) -> None:
        """Chooses the steps."""
        start, end = state.start, state.intervals.max_steps
        self._first = start + max(min(_FIRST, end - start - _STEPS + 1), min(2, end - start))
        self._last = min(self._first + _STEPS - 1, end)

    def before_step(self, state: TrainingState) -> None:
        """Starts the trace, and the step in it."""
        if state.step == self._first:
            with self._effort:
                tf.profiler.experimental.start(self._folder)
                self._running = True
        if self._running:
            # The plugin tells steps apart by these.
            self._trace = tf.profiler.experimental.Trace(_STEP, step_num=state.step, _r=1)
            self._trace.__enter__()

    def after_step(self, state: TrainingState) -> None:
        """Ends the step, once it is computed, and after the last one the trace."""
        if self._trace is not None:
            state.read()
            self._trace.__exit__(None, None, None)
            self._trace = None
        if state.step == self._last:
            self.close()

    def close(self) -> None:
        """Writes the trace."""
        if not self._running:
            return
        self._running = False
        with self._effort:
            tf.profiler.experimental.stop()
            write(
                f"traced from step {self._first} on: see TensorBoard under Profile "
                f"(pip install xprof; tensorboard --logdir {self._folder})"
            )
