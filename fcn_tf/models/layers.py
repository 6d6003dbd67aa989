"""The few layers Keras does not have. Pure Keras: they run on every backend."""

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


@keras.saving.register_keras_serializable("fcn_tf")
class SumInitializer(keras.initializers.Initializer):
    """Starts a 1x1 convolution over maps side by side as their sum."""

    def __call__(self, shape, dtype=None):
        """Kernel (1, 1, n C, C): n identities, one under the other."""
        _, _, channels, filters = shape
        kernel = ops.tile(ops.eye(filters), (channels // filters, 1))[None, None]
        return ops.cast(kernel, dtype or "float32")


# Older model files name layers by how CPUs compute them (now models/cpu.py). Keras finds a layer's weights in a file by
# the name of its class, so these classes keep theirs.
@keras.saving.register_keras_serializable("fcn_tf")
class PatchConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` in old model files."""


@keras.saving.register_keras_serializable("fcn_tf")
class SubPixelUpsampleLike(UpsampleLike):
    """`UpsampleLike` in old model files."""


keras.saving.get_custom_objects()["fcn_tf>Conv2D"] = keras.layers.Conv2D
