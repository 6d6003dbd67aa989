"""SIGINT and SIGTERM as a request to stop at the next good moment."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fcn_tf.training.hooks import Hook, TrainingState

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While the context lasts, remembers the first SIGINT or SIGTERM; a second one acts as usual.

    Outside the main thread, which alone receives signals, nothing is ever remembered.

    Attributes:
      signal: the signal received, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        if _in_main_thread():
            for number in SIGNALS:
                self._former[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @property
    def stop_requests(self) -> list[int]:
        """For each of `SIGNALS`, 1 if it is the one received, else 0: to be summed over workers, see `decide`."""
        return [int(number is self.signal) for number in SIGNALS]

    def _remember(self, number, _frame):
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self):
        for number, former in self._former.items():
            signal.signal(number, former)


def decide(stop_requests: Sequence[int]) -> signal.Signals | None:
    """The signal to stop for, from a sum of `Interrupts.stop_requests`: the same wherever the sum is the same."""
    return next((number for number, count in zip(SIGNALS, stop_requests, strict=True) if count), None)


class StopOnSignal(Hook):
    """Stops the loop after SIGINT or SIGTERM: several workers after the same step.

    Args:
      total: sums a list of integers over the workers, all of which call it; None where this one is alone.
      interrupts: that listen already, and longer than the loop; None to listen while it runs.
    """

    def __init__(self, total: Callable[[Sequence[int]], list[int]] | None, interrupts: Interrupts | None = None):
        self._total, self._listening = total, interrupts is not None
        self._interrupts = interrupts or Interrupts()
        self._pending: Sequence[int] | None = None

    @property
    def stop_requests(self) -> list[int]:
        """To be summed over the workers by the next step."""
        return self._interrupts.stop_requests

    def on_start(self, state: TrainingState) -> None:
        """Listens."""
        self._pending = None
        if not self._listening:
            self._interrupts = Interrupts()
            self._interrupts.__enter__()

    def after_step(self, state: TrainingState) -> None:
        """Decides by the requests of the step before: those of this one would have to be waited for."""
        if self._total is None:
            state.stop = self._interrupts.signal
            return
        if self._pending is not None:
            state.stop = decide(np.asarray(self._pending).tolist())
        self._pending = state.result.stop_requests if state.result else None

    def asked(self) -> signal.Signals | None:
        """The signal to stop for between steps; all workers call it at the same moment."""
        return self._interrupts.signal if self._total is None else decide(self._total(self.stop_requests))

    def close(self) -> None:
        """Leaves signals as they were."""
        if not self._listening:
            self._interrupts.__exit__()


@contextlib.contextmanager
def default_signals() -> Iterator[None]:
    """Lets SIGINT and SIGTERM end the process, also in the middle of native code; afterwards, all is as it was.

    Handlers that native code installs meanwhile are replaced, too. Does nothing outside the main thread.
    """
    if not _in_main_thread():
        yield
        return
    former = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _in_main_thread():
    return threading.current_thread() is threading.main_thread()
