"""How far a training is: a bar on a terminal, a line now and then in a log file."""

import time

import tqdm

_SECONDS_A_LINE = 30.0


class Progress:
    """Shows steps done, a note, and the time left, on standard error.

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
        self._bar.update()
        now = time.perf_counter()
        if self._bar.disable and now - self._said >= _SECONDS_A_LINE:
            self._said = now
            left = (now - self._began) / (self._done - self._start) * (self._end - self._done)
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
