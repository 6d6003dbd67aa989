"""Convolutions in bfloat16 and float16, also where the processor has no instructions for such numbers.

TensorFlow multiplies such numbers several times more slowly than float32 then. So only what is kept is narrow: a
convolution widens its input to float32, and rounds its result; for the backward pass the narrow input is kept, and
widened again. That takes the memory of the narrow type at the rate of float32.
"""

import os
from collections.abc import Callable

import keras
from keras import ops

from fcn_tf.io import system


def emulated(dtype: str) -> bool:
    """Whether products in this type are computed in float32 here: for narrow types that nothing here multiplies."""
    if dtype not in ("bfloat16", "float16") or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return False
    # Without oneDNN TensorFlow has no use for the instructions.
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" or not system.has_instructions(dtype)


def convolve(function: Callable, inputs, *weights):
    """`function(inputs, *weights)` in the type of `inputs`, the way that is fastest here.

    Args:
      function: a convolution; float (B, H, W, C) and weights of the same type -> (B, H', W', C') of that type.
      inputs: float (B, H, W, C).
      weights: float32. They are rounded to the type of `inputs` only where that multiplies in it.

    Returns:
      (B, H', W', C') of the type of `inputs`.
    """
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if emulated(dtype):
        return _rounded(function, inputs, *weights)
    return function(inputs, *(ops.cast(weight, dtype) for weight in weights))


def _rounded(function, inputs, *weights):
    """`convolve` in float32, with a result, and a memory for the backward pass, of the type of `inputs`."""
    import tensorflow as tf

    from fcn_tf.models.twice import computed_twice

    def widened(x, *weights):
        # Of the second time only the widened input is computed: no gradient needs the result.
        return tf.cast(function(tf.cast(x, tf.float32), *weights), x.dtype)

    return computed_twice(widened, inputs, *(tf.convert_to_tensor(weight) for weight in weights))
