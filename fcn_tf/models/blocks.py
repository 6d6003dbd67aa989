"""What heads share: hidden layers, upsampling, the fusion of two score maps. Pure Keras."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from fcn_tf import registry
from fcn_tf.models import layers, more_layers
from fcn_tf.models.batch_norm import batch_norm
from fcn_tf.models.dropout import StepDropout

Initializer = Callable[[], keras.initializers.Initializer]  # called for each layer: a used one would repeat its numbers


def hidden_layers(
    x: keras.KerasTensor,
    *,
    dropout_rate: float,
    dtype: str,
    init: Initializer = keras.initializers.HeNormal,
    side: int = 7,
    dilation: int = 1,
    widening: int = 8,
    normalized: bool = False,
) -> keras.KerasTensor:
    """conv6 and conv7: the fully connected layers of a classifier as convolutions.

    Args:
      x: float (B, h, w, C).
      dropout_rate: after each.
      dtype: Keras dtype policy.
      init: makes the initializers of the kernels.
      side: of conv6's kernel.
      dilation: of conv6's kernel, in pixels of x.
      widening: their width is so many times C: 512 -> 4096 by default.
      normalized: whether batch normalisation (bn6, bn7) follows each.

    Returns:
      (B, h, w, C * widening).
    """
    width = widening * x.shape[-1]
    options = {"padding": "same", "dtype": dtype}
    convs = [
        keras.layers.Conv2D(width, side, dilation_rate=dilation, kernel_initializer=init(), name="conv6", **options),
        keras.layers.Conv2D(width, 1, kernel_initializer=init(), name="conv7", **options),
    ]
    for salt, conv in enumerate(convs):
        number = conv.name.removeprefix("conv")
        x = conv(x)
        if normalized:
            x = batch_norm(f"bn{number}", dtype)(x)
        x = keras.layers.ReLU(name=f"relu{number}", dtype=dtype)(x)
        x = dropout(x, dropout_rate, dtype, name=f"dropout{number}", salt=salt)
    return x


def dropout(
    x: keras.KerasTensor, rate: float, dtype: str, *, name: str = "dropout", salt: int = 0
) -> keras.KerasTensor:
    """Dropout; a head's dropout layers tell each other apart by `salt`."""
    return StepDropout(rate, salt=salt, name=name, dtype=dtype)(x)


def scores(
    x: keras.KerasTensor, num_classes: int, name: str, dtype: str, *, init: Initializer = keras.initializers.Zeros
) -> keras.KerasTensor:
    """A 1x1 convolution to class scores, zero at first unless `init` says otherwise."""
    return keras.layers.Conv2D(num_classes, 1, kernel_initializer=init(), name=name, dtype=dtype)(x)


def upsample(
    filters: int, kernel: int, stride: int, *, init: Initializer = layers.BilinearInitializer, **options: Any
) -> layers.UpsampleLike:
    """A transposed convolution, bilinear at first unless `init` says otherwise."""
    return layers.UpsampleLike(filters, kernel, stride, kernel_initializer=init(), **options)


def fuse(how: str, upsampled: keras.KerasTensor, skip: keras.KerasTensor, name: str, dtype: str) -> keras.KerasTensor:
    """Joins the upsampled scores and those of a skip, both (B, h, w, classes).

    Args:
      how: a name in `registry.FUSIONS`.
      upsampled: of the layers below.
      skip: scored features.
      name: of the layer.
      dtype: Keras dtype policy.

    Returns:
      (B, h, w, classes).
    """
    return registry.resolve(registry.FUSIONS[how])([upsampled, skip], name, dtype)


def add(maps: Sequence[keras.KerasTensor], name: str, dtype: str) -> keras.KerasTensor:
    """The sum, as in the paper."""
    return keras.layers.Add(name=name, dtype=dtype)(maps)


def concat(maps: Sequence[keras.KerasTensor], name: str, dtype: str) -> keras.KerasTensor:
    """Side by side, then a 1x1 convolution, which adds them at first and learns to mix them."""
    side_by_side = keras.layers.Concatenate(name=f"concat_{name}", dtype=dtype)(maps)
    return scores(side_by_side, maps[0].shape[-1], name, dtype, init=more_layers.SumInitializer)
