"""The few layers Keras does not have. Pure Keras: they run on every backend."""

import contextlib
import contextvars
import functools

import keras
from keras import ops

from fcn_tf.models import mixed_precision

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


class _Wide:
    """Leaves it to `narrow.convolve` in which type a convolution multiplies: its weights stay float32 until there."""

    def __init__(self, *args, **kwargs):
        if not kwargs.get("use_bias", True):
            raise ValueError("use_bias is False; expected a bias.")
        super().__init__(*args, **kwargs)

    def add_weight(self, *args, **kwargs):
        """As Keras', but not cast where it is read."""
        return super().add_weight(*args, **{**kwargs, "autocast": False})


@keras.saving.register_keras_serializable("fcn_tf")
class Conv2D(_Wide, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, always with a bias, fast in narrow types on every processor (models/mixed_precision.py).

    Raises:
      ValueError: if there is to be no bias.
    """

    def call(self, inputs):
        """Float (B, H, W, C) -> (B, H', W', filters)."""
        return self.activation(mixed_precision.convolve(self._affine, inputs, self.kernel, self.bias))

    def _affine(self, inputs, kernel, bias):
        return ops.add(self.convolution_op(inputs, kernel), bias)


def _plus(x, bias):
    """`x + bias`, (..., C) + (C,).

    Not `ops.add`: for that TensorFlow takes a BiasAdd, whose gradient in bfloat16 is added up in bfloat16. Over the
    pixels of two crops what it gets is noise. (In a graph oneDNN computes that of `Conv2D` together with the
    filters', and adds up in float32.)
    """
    return ops.subtract(x, ops.negative(bias))


@keras.saving.register_keras_serializable("fcn_tf")
class PatchConv2D(Conv2D):
    """A stride-1, "same" convolution computed as one matrix product over its patches.

    The same function, weights and gradients as `keras.layers.Conv2D`. For many weights on a small map (conv6: 7x7 on
    7x7, and conv7) one large product is faster than oneDNN's convolution, see benchmarks/README.md.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **{**kwargs, "padding": "same"})

    def _affine(self, inputs, kernel, bias):
        rows, columns = self.kernel_size
        above, left = (rows - 1) // 2, (columns - 1) // 2
        padded = ops.pad(inputs, [(0, 0), (above, rows - 1 - above), (left, columns - 1 - left), (0, 0)])
        size = ops.shape(inputs)
        # `ops.slice`, not brackets: in TensorFlow the gradient of those is several times as slow.
        shifted = [ops.slice(padded, (0, i, j, 0), size) for i in range(rows) for j in range(columns)]
        patches = ops.concatenate(shifted, axis=-1) if len(shifted) > 1 else inputs  # (B, H, W, rows * columns * C)
        matrix = ops.reshape(kernel, (-1, self.filters))
        product = _product(ops.reshape(patches, (-1, matrix.shape[0])), matrix)
        return _plus(ops.reshape(product, (*size[:3], self.filters)), bias)


@ops.custom_gradient
def _product(rows, matrix):
    """`ops.matmul(rows, matrix)`, (M, K) x (K, N), with a faster gradient where M is small.

    The gradient to the rows multiplies by the transposed matrix. oneDNN does that in half the time if it is told that
    it multiplies batches, of which there is one.
    """

    def gradient(*arguments, upstream=None):
        if upstream is None:  # PyTorch names it
            (upstream,) = arguments
        to_rows = ops.matmul(upstream[None], ops.transpose(matrix[None], (0, 2, 1)))[0]
        return to_rows, ops.matmul(ops.transpose(rows), upstream)

    return _forward(rows, matrix), gradient


_FEW = range(32, 112)  # rows
_DEPTH = 512


def _forward(rows, matrix):
    """`ops.matmul(rows, matrix)`; in float32 and for few rows a sum of products, each of less depth.

    That is faster on CPUs (see benchmarks/README.md), and takes the result's size for each of the products.
    """
    height, depth = rows.shape
    if height not in _FEW or depth % _DEPTH or keras.backend.standardize_dtype(rows.dtype) != "float32":
        return ops.matmul(rows, matrix)
    parts = ops.transpose(ops.reshape(rows, (height, -1, _DEPTH)), (1, 0, 2))
    return ops.sum(ops.matmul(parts, ops.reshape(matrix, (-1, _DEPTH, matrix.shape[1]))), axis=0)


@keras.saving.register_keras_serializable("fcn_tf")
class UpsampleLike(_Wide, keras.layers.Conv2DTranspose):
    """Learned transposed convolution onto the height and width of a second tensor.

    "same" padding enlarges a map exactly `stride` times; where the map it came from was odd, that is up to
    `stride` - 1 pixels too much, and the surplus is cut evenly (offset = surplus // 2), which equals
    `tf.nn.conv2d_transpose` with that output_shape and shifts nothing.

    Args:
      filters: output channels.
      kernel: side of the square kernel.
      stride: enlargement.
    """

    def __init__(self, filters, kernel, stride, **kwargs):
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
        affine = functools.partial(self._affine, like=like)
        return self.activation(mixed_precision.convolve(affine, inputs, self.kernel, self.bias))

    def _affine(self, inputs, kernel, bias, like):
        enlarged = ops.conv_transpose(inputs, kernel, strides=self.stride, padding="same")
        return _plus(self._cut(enlarged, like), bias)

    def _cut(self, enlarged, like):
        """The middle of `enlarged`, as high and wide as `like`."""
        batch, height, width = ops.shape(like)[:3]
        top = (ops.shape(enlarged)[1] - height) // 2
        left = (ops.shape(enlarged)[2] - width) // 2
        return ops.slice(enlarged, (0, top, left, 0), (batch, height, width, self.filters))

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


@keras.saving.register_keras_serializable("fcn_tf")
class SubPixelUpsampleLike(UpsampleLike):
    """`UpsampleLike` with a kernel of twice its stride, computed as one matrix product.

    The same function, weights and gradients. Such a kernel covers two steps of the coarse grid, so every block of
    stride x stride results follows from 2 x 2 pixels: a convolution that gives a whole block a pixel, whose channels
    are then laid out as pixels (sub-pixel convolution, Shi et al. 2016). Where the stride is large that is faster than
    oneDNN's transposed convolution, see benchmarks/README.md.

    Raises:
      ValueError: if the kernel's side is not twice the stride, or the stride is odd.
    """

    def __init__(self, filters, kernel, stride, **kwargs):
        if kernel != 2 * stride or stride % 2:
            raise ValueError(f"kernel is {kernel} and stride {stride}; expected an even stride and twice as much.")
        super().__init__(filters, kernel, stride, **kwargs)

    def _affine(self, inputs, kernel, bias, like):
        stride, channels = self.stride, inputs.shape[-1]
        batch, height, width = ops.shape(inputs)[:3]
        rows, columns = height + 1, width + 1  # of blocks: each pixel's kernel ends in the middle of its neighbours'
        padded = ops.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)])
        corners = [
            ops.slice(padded, (0, 1 - i, 1 - j, 0), (batch, rows, columns, channels)) for i in (0, 1) for j in (0, 1)
        ]
        patches = ops.reshape(ops.concatenate(corners, axis=-1), (-1, 4 * channels))
        kernel = ops.reshape(kernel, (2, stride, 2, stride, self.filters, channels))
        # (stride, stride, filters | 2, 2, C)
        kernel = ops.reshape(ops.transpose(kernel, (1, 3, 4, 0, 2, 5)), (-1, 4 * channels))
        blocks = ops.matmul(patches, ops.transpose(kernel))
        blocks = ops.reshape(blocks, (batch, rows, columns, stride, stride * self.filters))
        pixels = ops.transpose(blocks, (0, 1, 3, 2, 4))
        enlarged = ops.reshape(pixels, (batch, rows * stride, columns * stride, self.filters))
        return _plus(self._cut(enlarged, like), bias)


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
