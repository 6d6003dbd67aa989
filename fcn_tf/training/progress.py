"""How far a training is: a bar on a terminal, a line now and then in a log file."""

import sys
import time

import tqdm

from fcn_tf.io import files

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
        self._bar = tqdm.tqdm(initial=start, total=end, unit="step", dynamic_ncols=True, disable=None)
        self._done, self._start, self._end = start, start, end
        self._began = self._said = time.perf_counter()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def update(self, note: str) -> None:
        """One more step is done; `note` says how it went."""
        self._done += 1
        self._bar.set_postfix_str(note, refresh=False)
        now, judged = time.perf_counter(), self._done - self._start - 1
        if judged == 0:
            self._began = self._said = now
            self._bar.initial = self._bar.n = self._bar.last_print_n = self._done
            self._bar.unpause()
            self._bar.refresh()
            return
        self._bar.update()
        if judged == _STEPS_TO_JUDGE or (self._bar.disable and now - self._said >= _SECONDS_A_LINE):
            self._said = now
            left = (now - self._began) / judged * (self._end - self._done)
            self.write(f"step {self._done}/{self._end}: {note}, {tqdm.tqdm.format_interval(left)} left")

    def wait(self, note: str) -> None:
        """Says what the steps are waiting for."""
        self._bar.set_postfix_str(note)
        if self._bar.disable:
            self.write(note)

    def write(self, line: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """Leaves the bar as it is."""
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
            reason = files.refusal(error) or " ".join(str(error).split())
            tqdm.tqdm.write(f"warning: {self._what} cannot be written ({reason}); training goes on without", sys.stderr)
        return True
