"""What contenders that train have in common. Standard library only, as `worker.py`."""

import time


class Stepper:
    """Measures training steps."""

    def step(self, count: int = 1) -> float:
        """Takes `count` steps; the seconds of one, on average."""
        began = time.perf_counter()
        self.losses(count)
        return (time.perf_counter() - began) / count

    def losses(self, count: int) -> list[float]:
        """Takes `count` steps; the loss before each. To be written by subclasses."""
        raise NotImplementedError
