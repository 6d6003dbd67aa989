"""Layers of few networks, and the names that layers have in older model files. Pure Keras.

Whoever imports it can load every model file of this package: Keras then knows these, layers.py, dropout.py and
resizing.py.
"""

import keras
from keras import ops

from fcn_tf.models import dropout as _dropout  # noqa: F401  (registers its layer)
from fcn_tf.models import resizing as _resizing  # noqa: F401  (the same)
from fcn_tf.models.layers import UpsampleLike


@keras.saving.register_keras_serializable("fcn_tf")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides every activation by a power of the energy around it (Krizhevsky et al. 2012, section 3.3).

    Args:
      size: how many neighbouring channels are summed over; odd.
      bias, alpha, beta: x / (bias + alpha * sum of squares) ** beta.
    """

    def __init__(self, size, bias, alpha, beta, **kwargs):
        super().__init__(**kwargs)
        self.size, self.bias, self.alpha, self.beta = int(size), float(bias), float(alpha), float(beta)

    def call(self, inputs):
        """Float (B, H, W, C) -> the same shape."""
        x = ops.cast(inputs, "float32")
        around, channels = self.size // 2, x.shape[-1]
        squares = ops.pad(ops.square(x), [(0, 0), (0, 0), (0, 0), (around, around)])
        energy = sum(squares[..., i : i + channels] for i in range(self.size))
        return ops.cast(x * (self.bias + self.alpha * energy) ** -self.beta, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """The shape of the input."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        own = {"size": self.size, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("fcn_tf")
class SumInitializer(keras.initializers.Initializer):
    """Starts a 1x1 convolution over maps side by side as their sum."""

    def __call__(self, shape, dtype=None):
        """Kernel (1, 1, n C, C): n identities, one under the other."""
        _, _, channels, filters = shape
        kernel = ops.tile(ops.eye(filters), (channels // filters, 1))[None, None]
        return ops.cast(kernel, dtype or "float32")


# Older files name layers by how CPUs compute them (now models/cpu.py). Keras finds a layer's weights in a file by
# the name of its class, so these classes keep theirs.
@keras.saving.register_keras_serializable("fcn_tf")
class PatchConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` in old model files."""


@keras.saving.register_keras_serializable("fcn_tf")
class SubPixelUpsampleLike(UpsampleLike):
    """`UpsampleLike` in old model files."""


keras.saving.get_custom_objects()["fcn_tf>Conv2D"] = keras.layers.Conv2D
