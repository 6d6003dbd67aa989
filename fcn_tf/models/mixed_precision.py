"""Convolutions in bfloat16 and float16 on processors without instructions for such numbers.

TensorFlow multiplies such numbers several times more slowly than float32 then. So they are for storage only: a
convolution casts its input to float32 and rounds its result; for the backward pass the rounded input is kept, and cast
again. That takes the memory of 16 bits at the rate of float32.
"""

import os
from collections.abc import Callable

import keras
import tensorflow as tf

from fcn_tf.io import system
from fcn_tf.models.remat import rematerialized


def on_cpu() -> bool:
    """Whether TensorFlow computes on CPUs alone here."""
    return not tf.config.get_visible_devices("GPU")


def emulated(dtype: str) -> bool:
    """Whether products in this type are computed in float32 here: bfloat16 and float16 that nothing here multiplies."""
    if dtype not in ("bfloat16", "float16") or not on_cpu():
        return False
    # Without oneDNN TensorFlow has no use for the instructions.
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" or not system.has_instructions(dtype)


def multiplied_by_cpu(dtype: str) -> bool:
    """Whether TensorFlow computes on CPUs here, and these multiply numbers of this type, bfloat16 or float16."""
    return on_cpu() and not emulated(dtype)


def convolve(function: Callable, inputs: tf.Tensor, *weights: keras.Variable) -> tf.Tensor:
    """`function(inputs, *weights)` in the type of `inputs`, the way that is fastest here.

    Args:
      function: a convolution; float (B, H, W, C) and weights of the same type -> (B, H', W', C') of that type.
      inputs: float (B, H, W, C).
      weights: float32. They are rounded to the type of `inputs` only where that multiplies in it.

    Returns:
      (B, H', W', C') of the type of `inputs`.
    """
    tensors = [tf.convert_to_tensor(weight) for weight in weights]
    if not emulated(inputs.dtype.name):
        return function(inputs, *(tf.cast(weight, inputs.dtype) for weight in tensors))

    def widened(x, *weights):
        # For the backward pass only the widened input is computed again: no gradient needs the result.
        return [tf.cast(function(tf.cast(x, tf.float32), *weights), x.dtype)]

    return rematerialized(widened, inputs, *tensors)[0]
