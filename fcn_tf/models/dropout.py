"""Dropout that resumes exactly: a training step decides what it drops. Pure Keras."""

import contextlib
import contextvars

import keras
from keras import ops

_step_seed: contextvars.ContextVar = contextvars.ContextVar("step_seed", default=None)


@contextlib.contextmanager
def step_seed(seed):
    """Makes every `StepDropout` called inside draw its mask from `seed`.

    A training step that derives `seed` from its own number and replica needs no random state to resume exactly,
    and no two replicas share a mask.

    Args:
      seed: int32 tensor (2,).
    """
    token = _step_seed.set(seed)
    try:
        yield
    finally:
        _step_seed.reset(token)


class _StepSeedGenerator(keras.random.SeedGenerator):
    """Hands out the seed of `step_seed` where there is one, its own sequence elsewhere."""

    def __init__(self, salt, **kwargs):
        # A name of its own: checkpoints tell variables apart by theirs.
        super().__init__(name=f"seed_{salt}", **kwargs)
        self._salt = salt

    def next(self, ordered=True):
        seed = _step_seed.get()
        if seed is None:
            return super().next(ordered=ordered)
        return ops.cast(seed, "int32") + ops.convert_to_tensor([self._salt, 0], "int32")


@keras.saving.register_keras_serializable("fcn_tf")
class StepDropout(keras.layers.Layer):
    """Dropout whose mask the training step can decide (see `step_seed`).

    Args:
      rate: share of activations set to zero while training; the others grow by 1 / (1 - rate).
      salt: tells apart the dropout layers of one model.
    """

    def __init__(self, rate, *, salt=0, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.salt = rate, salt
        self.seed_generator = _StepSeedGenerator(salt)

    def call(self, inputs, training=False):
        """Any float tensor -> the same shape."""
        if not training or self.rate == 0:
            return inputs
        return keras.random.dropout(inputs, self.rate, seed=self.seed_generator)

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "salt": self.salt}
