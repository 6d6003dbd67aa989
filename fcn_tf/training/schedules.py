"""Learning-rate schedules: the rate of a step as a function of its number and --max_steps alone, so resume is exact.

A schedule of `registry.SCHEDULES` maps the share of the training that is done, in [0, 1), to a factor on
--learning_rate. All but `constant` depend on --max_steps: a run that is resumed with another one continues on the curve
of the new length.
"""

import math
from collections.abc import Callable

import keras
import numpy as np

from fcn_tf import registry
from fcn_tf.training.hooks import Hook, TrainingState


def constant(done: float) -> float:
    """Stays."""
    return 1.0


def step(done: float) -> float:
    """A tenth after half of the steps, and a tenth of that after three quarters (He et al. 2016)."""
    return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01


def poly(done: float) -> float:
    """Falls as (1 - done) to the power of 0.9 (Chen et al. 2018, DeepLab)."""
    return (1.0 - done) ** 0.9


def cosine(done: float) -> float:
    """Falls along half a cosine (Loshchilov & Hutter 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * done))


def learning_rate(name: str, base: float, *, max_steps: int, warmup_steps: int = 0) -> Callable[[int], float]:
    """The learning rate as a function of the steps taken before.

    Args:
      name: in `registry.SCHEDULES`.
      base: the rate that factors apply to.
      max_steps: the last step.
      warmup_steps: over which the rate rises linearly from base / warmup_steps (Goyal et al. 2017).
    """
    factor = registry.resolve(registry.SCHEDULES[name])

    def rate(number: int) -> float:
        warmup = min(1.0, (number + 1) / warmup_steps) if warmup_steps else 1.0
        return base * warmup * factor(min(number / max_steps, 1.0))

    return rate


def current_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate of now."""
    return float(optimizer.learning_rate.numpy())


def change_rate(optimizer: keras.optimizers.Optimizer, rate: float) -> float | None:
    """Replaces the rate that a checkpoint brings along; returns what it was, None if it was the same."""
    was = current_rate(optimizer)
    if was == np.float32(rate):
        return None
    optimizer.learning_rate.assign(rate)
    return was


class FollowSchedule(Hook):
    """Sets the learning rate before each step.

    Args:
      optimizer: whose rate is a variable.
      rate: see `learning_rate`.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, rate: Callable[[int], float]):
        self._optimizer, self._rate = optimizer, rate
        self._last: float | None = None

    def before_step(self, state: TrainingState) -> None:
        """Sets it where it changes."""
        rate = self._rate(state.step - 1)
        if rate != self._last:
            self._optimizer.learning_rate.assign(rate)
            self._last = rate
