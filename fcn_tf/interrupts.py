"""SIGINT and SIGTERM as a request to stop at the next good moment."""

import signal


class Interrupts:
    """While the context lasts, remembers the first SIGINT or SIGTERM; a second one acts as usual.

    Attributes:
      signal: the signal received, or None.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_):
        self._restore()

    def _remember(self, number, _frame):
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self):
        for number, former in self._former.items():
            signal.signal(number, former)
