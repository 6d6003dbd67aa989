"""The layers of FCN-8s that Keras does not have, but for dropout.py. Pure Keras: they run on every backend."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("fcn_tf")
class UpsampleLike(keras.layers.Conv2DTranspose):
    """Learned transposed convolution onto the height and width of a second tensor.

    "same" padding enlarges a map exactly `stride` times; where the map it came from was odd, that is up to
    `stride` - 1 pixels too much, and the surplus is cut evenly (offset = surplus // 2), which equals
    `tf.nn.conv2d_transpose` with that output_shape and shifts nothing.

    Args:
      filters: output channels.
      kernel: side of the square kernel.
      stride: enlargement.
    """

    def __init__(self, filters: int, kernel: int, stride: int, **kwargs):
        for fixed in ("kernel_size", "strides", "padding"):
            kwargs.pop(fixed, None)
        super().__init__(filters, kernel, strides=stride, padding="same", **kwargs)
        self.kernel_side, self.stride = kernel, stride

    def build(self, inputs_shape, like_shape):
        """Creates kernel (kernel, kernel, filters, C) and bias (filters,)."""
        del like_shape
        super().build(inputs_shape)

    def call(self, inputs, like):
        """Float (B, h, w, C), like (B, H, W, *) with h = ceil(H / stride) -> (B, H, W, filters)."""
        return crop_like(super().call(inputs), like)

    def compute_output_shape(self, inputs_shape, like_shape):
        """The batch of `inputs`, the height and width of `like`, `filters` channels."""
        return (inputs_shape[0], like_shape[1], like_shape[2], self.filters)

    def compute_output_spec(self, inputs, like):
        """The symbolic result."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape, like.shape), dtype=self.compute_dtype)

    def get_config(self):
        """Returns the constructor's arguments."""
        config = super().get_config()
        for fixed in ("kernel_size", "strides", "padding"):
            config.pop(fixed)
        return {**config, "kernel": self.kernel_side, "stride": self.stride}


def crop_like(x, like):
    """The middle of x (B, h, w, C), as high and wide as `like` (B, H, W, *)."""
    batch, height, width = ops.shape(like)[:3]
    top = (ops.shape(x)[1] - height) // 2
    left = (ops.shape(x)[2] - width) // 2
    # `ops.slice`, not brackets: in TensorFlow the gradient of those is several times as slow.
    return ops.slice(x, (0, top, left, 0), (batch, height, width, x.shape[-1]))


@keras.saving.register_keras_serializable("fcn_tf")
class RMSNormalize(keras.layers.Layer):
    """Divides every pixel's feature vector by its root mean square, then scales each channel by a learned gain.

    VGG's activations grow from RMS 1 to hundreds with depth and from one weights file to another. After this
    layer a skip has the same magnitude whatever it comes from (ParseNet, Liu et al. 2015, normalises skips by L2).
    """

    def build(self, input_shape):
        """Creates the gain (C,)."""
        self.gain = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gain")

    def call(self, inputs):
        """Float (B, H, W, C) -> the same shape."""
        x = ops.cast(inputs, "float32")
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-6)
        return ops.cast(x, self.compute_dtype) * self.gain


@keras.saving.register_keras_serializable("fcn_tf")
class BilinearInitializer(keras.initializers.Initializer):
    """Starts a transposed convolution as bilinear enlargement, channel by channel (FCN, Long et al. 2015)."""

    def __call__(self, shape, dtype=None):
        """Kernel (k, k, C, C), or (k, k, filters, C) with zeros where the channels differ."""
        side, _, filters, channels = shape
        centre = (side - 1) / 2
        # Half the kernel is one step of the coarse grid: weights fall to zero where the next pixel begins.
        ramp = 1 - ops.abs(ops.arange(side, dtype="float32") - centre) / (side / 2)
        kernel = ramp[:, None, None, None] * ramp[None, :, None, None] * ops.eye(filters, channels)
        return ops.cast(kernel, dtype or "float32")
