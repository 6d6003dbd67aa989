"""How far a training is: a bar on a terminal, a line now and then in a log file."""

import math
import sys
import time

import tqdm

from fcn_tf.io import files, texts
from fcn_tf.training.hooks import Hook, TrainingState, ValidationResult

_SECONDS_A_LINE = 30.0
_STEPS_TO_JUDGE = 10  # after the first, which takes as long as many others


class Progress:
    """Shows steps done, a note, and the time left, on standard error.

    Rate and time left are those of all steps but the first, which start-up and tracing belong to.

    Args:
      start: steps taken before.
      end: the last step.
    """

    def __init__(self, start: int, end: int):
        self._done, self._start, self._end = start, start, end
        self._bar = self._new_bar(leave=end == start)
        self._began = self._last_line = time.perf_counter()

    def _new_bar(self, *, leave: bool) -> tqdm.tqdm:
        options = {"unit": "step", "dynamic_ncols": True, "disable": None, "leave": leave}
        return tqdm.tqdm(initial=self._done, total=self._end, **options)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, note: str) -> None:
        """One more step is done; `note` says how it went."""
        self._done += 1
        now, judged = time.perf_counter(), self._done - self._start - 1
        if judged == 0:  # from here on, for its rate
            self._bar.close()
            self._bar = self._new_bar(leave=True)
            self._began = self._last_line = now
            self._bar.set_postfix_str(note)
            return
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update()
        if judged == _STEPS_TO_JUDGE or (self._bar.disable and now - self._last_line >= _SECONDS_A_LINE):
            self._last_line = now
            left = (now - self._began) / judged * (self._end - self._done)
            write(f"step {self._done}/{self._end}: {note}, {tqdm.tqdm.format_interval(left)} left")

    def wait(self, note: str) -> None:
        """Says what the steps are waiting for."""
        self._bar.set_postfix_str(note)
        if self._bar.disable:
            write(note)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


def write(line: str) -> None:
    """Prints a line above the bar."""
    tqdm.tqdm.write(line)


class ShowProgress(Hook):
    """Keeps the bar, and prints a line for each validation.

    Args:
      examples: that a validation takes.
    """

    def __init__(self, examples: int):
        self._examples = examples
        self._bar: Progress | None = None

    def on_start(self, state: TrainingState) -> None:
        """Opens the bar."""
        self._bar = Progress(state.start, state.intervals.max_steps)

    def after_step(self, state: TrainingState) -> None:
        """Moves the bar on; loss and rate are those last read, see `TrainingState.end_step`."""
        metrics = state.since_validation
        rate = f", {metrics.images_per_second:.2f} images/s" if metrics.images_per_second else ""
        if self._bar:
            self._bar.update(f"loss {metrics.loss:.3f}{rate}")

    def before_validation(self, state: TrainingState) -> None:
        """Says what is waited for."""
        if self._bar:
            self._bar.wait(f"validating step {state.step} on {self._examples} examples")

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Prints the scores."""
        evaluation, loss = result.evaluation, result.trained.loss
        # Right after resuming there is nothing to average.
        trained = "" if math.isnan(loss) else f"train loss {loss:.4f}, "
        write(
            f"step {state.step}: {trained}validation loss {evaluation.loss:.4f}, "
            f"pixel accuracy {evaluation.pixel_accuracy:.4f}, mean IoU {evaluation.mean_iou:.4f}"
        )

    def on_stop(self, state: TrainingState) -> None:
        """Leaves the bar: what is printed next goes below it."""
        self.close()

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar:
            self._bar.close()


class BestEffort:
    """Surrounds the writing of what training can do without: the first failure is told, and training goes on.

    Args:
      what: is written, and where.
      errors: what counts as a failure to write.

    Attributes:
      failed: whether it ever failed.
    """

    def __init__(self, what: str, *errors: type[Exception]):
        self._what, self._errors, self.failed = what, errors, False

    def __enter__(self) -> "BestEffort":
        return self

    def __exit__(self, _kind: type | None, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, self._errors):
            return False
        if not self.failed:
            self.failed = True
            reason = files.refusal(error) or texts.reason(error)
            tqdm.tqdm.write(f"warning: {self._what} cannot be written ({reason}); training goes on without", sys.stderr)
        return True
