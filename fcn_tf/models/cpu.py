"""The same network, faster on CPUs: some layers are computed in other ways while it runs.

Model files know nothing of this. What is swapped, and for which shapes, was measured (benchmarks/README.md, "Tried").
On GPUs and on other backends nothing is.
"""

import math

import keras
import tensorflow as tf
from keras import ops

from fcn_tf.models import mixed_precision
from fcn_tf.models.custom_gradient import custom_gradient
from fcn_tf.models.layers import UpsampleLike, crop_like


def accelerated(model: keras.Model) -> keras.Model:
    """A model of the same variables, names of layers and results, for training and inference on this machine.

    Args:
      model: stays as it was, and is the one to save.

    Returns:
      A Keras model; `model` itself where nothing is to be swapped.
    """
    kinds = {layer.name: kind for layer in model.layers if (kind := _faster(layer))}
    if not kinds or not mixed_precision.on_cpu():
        return model

    def swapped(layer):
        return kinds[layer.name](layer) if layer.name in kinds else layer

    return keras.models.clone_model(model, clone_function=swapped)


def patch_size(layer: keras.layers.Layer) -> int:
    """How many numbers `accelerated` keeps of each pixel's neighbourhood for the backward pass; 0 for none."""
    if _faster(layer) is not PatchConv2D or not mixed_precision.on_cpu():
        return 0
    rows, columns, channels, _ = layer.kernel.shape
    return rows * columns * channels if rows * columns > 1 else 0  # of one pixel: the input itself


def _faster(layer):
    """Which of the classes below computes `layer` faster, or None."""
    if isinstance(layer, UpsampleLike):
        if layer.kernel_side == 2 * layer.stride and layer.stride in _SUB_PIXEL_STRIDES:
            return SubPixelUpsampleLike
        return WidenedUpsampleLike if layer.compute_dtype != "float32" else None
    if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1:
        return GroupedConv2D
    if isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
        plain = (layer.strides, layer.dilation_rate, layer.padding) == ((1, 1), (1, 1), "same")
        wide = layer.filters >= layer.kernel.shape[2]  # layers of class scores are not
        if plain and wide and math.prod(layer.kernel_size) not in _LEFT_TO_ONEDNN:
            return PatchConv2D
        return WidenedConv2D if mixed_precision.emulated(layer.compute_dtype) else None
    return None


_SUB_PIXEL_STRIDES = (8,)  # by 2 oneDNN's transposed convolution is faster
_LEFT_TO_ONEDNN = range(2, 26)  # pixels of a kernel: of 3x3 a product is no faster, and takes memory for its patches


class _Swapped(keras.layers.Layer):
    """A convolution with the variables of another layer."""

    def __init__(self, layer: keras.layers.Layer):
        # Not the layer's policy: weights stay float32 until `mixed_precision.convolve`.
        super().__init__(name=layer.name, dtype="float32", autocast=False)
        self.layer = layer

    def call(self, inputs, **like):
        """As the layer's."""

        def linear(x, *weights):
            return self._linear(x, *weights, **like)

        x = ops.cast(inputs, self.layer.compute_dtype)
        weights = (self.layer.kernel, self.layer.bias) if self.layer.use_bias else (self.layer.kernel,)
        return self.layer.activation(mixed_precision.convolve(linear, x, *weights))

    def compute_output_spec(self, inputs, **like):
        """As the layer's."""
        return self.layer.compute_output_spec(inputs, **like)


class WidenedConv2D(_Swapped):
    """A convolution in bfloat16 or float16 without instructions for it."""

    def _linear(self, inputs, kernel, bias):
        return ops.add(self.layer.convolution_op(inputs, kernel), bias)


class GroupedConv2D(_Swapped):
    """A convolution in groups of channels, one after the other: Keras has XLA compile it anew for every size."""

    def _linear(self, inputs, kernel, bias=None):
        layer = self.layer
        parts = zip(tf.split(inputs, layer.groups, -1), tf.split(kernel, layer.groups, -1), strict=True)
        options = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
        return _plus(ops.concatenate([ops.conv(part, each, **options) for part, each in parts], axis=-1), bias)


class PatchConv2D(_Swapped):
    """A stride-1, "same" convolution as one matrix product over its patches.

    For many weights on a small map (conv6: 7x7 on 7x7, and conv7) one large product is faster than oneDNN's
    convolution.
    """

    def _linear(self, inputs, kernel, bias):
        rows, columns, _, filters = kernel.shape
        above, left = (rows - 1) // 2, (columns - 1) // 2
        padded = ops.pad(inputs, [(0, 0), (above, rows - 1 - above), (left, columns - 1 - left), (0, 0)])
        size = ops.shape(inputs)
        shifted = [ops.slice(padded, (0, i, j, 0), size) for i in range(rows) for j in range(columns)]
        patches = ops.concatenate(shifted, axis=-1) if len(shifted) > 1 else inputs  # (B, H, W, rows * columns * C)
        matrix = ops.reshape(kernel, (-1, filters))
        product = _product(ops.reshape(patches, (-1, matrix.shape[0])), matrix)
        return _plus(ops.reshape(product, (*size[:3], filters)), bias)


class WidenedUpsampleLike(_Swapped):
    """`UpsampleLike` in bfloat16 or float16, the gradient of whose bias is added up in float32."""

    def _linear(self, inputs, kernel, bias=None, *, like):
        enlarged = ops.conv_transpose(inputs, kernel, strides=self.layer.stride, padding="same")
        return _plus(crop_like(enlarged, like), bias)


class SubPixelUpsampleLike(_Swapped):
    """`UpsampleLike` with a kernel of twice its even stride, as one matrix product.

    Such a kernel covers two steps of the coarse grid, so every block of stride x stride results follows from 2 x 2
    pixels: a convolution that makes a whole block of a pixel, whose channels are then laid out as pixels (sub-pixel
    convolution, Shi et al. 2016). Where the stride is large that is faster than oneDNN's transposed convolution.
    """

    def _linear(self, inputs, kernel, bias=None, *, like):
        stride, filters, channels = self.layer.stride, self.layer.filters, inputs.shape[-1]
        batch, height, width = ops.shape(inputs)[:3]
        rows, columns = height + 1, width + 1  # of blocks: each pixel's kernel ends in the middle of its neighbours'
        padded = ops.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)])
        corners = [
            ops.slice(padded, (0, 1 - i, 1 - j, 0), (batch, rows, columns, channels)) for i in (0, 1) for j in (0, 1)
        ]
        patches = ops.reshape(ops.concatenate(corners, axis=-1), (-1, 4 * channels))
        kernel = ops.reshape(kernel, (2, stride, 2, stride, filters, channels))
        # (stride, stride, filters | 2, 2, C)
        kernel = ops.reshape(ops.transpose(kernel, (1, 3, 4, 0, 2, 5)), (-1, 4 * channels))
        blocks = ops.matmul(patches, ops.transpose(kernel))
        blocks = ops.reshape(blocks, (batch, rows, columns, stride, stride * filters))
        pixels = ops.transpose(blocks, (0, 1, 3, 2, 4))
        enlarged = ops.reshape(pixels, (batch, rows * stride, columns * stride, filters))
        return _plus(crop_like(enlarged, like), bias)


def _plus(x, bias):
    """`x + bias`, (..., C) + (C,), or x where there is no bias.

    Not `ops.add`: for that TensorFlow takes a BiasAdd, whose gradient in bfloat16 is added up in bfloat16. Over the
    pixels of two crops the result is noise. (In a graph oneDNN computes that of a convolution together with the
    filters', and adds up in float32.)
    """
    return x if bias is None else ops.subtract(x, ops.negative(bias))


@custom_gradient
def _product(rows, matrix):
    """`tf.matmul(rows, matrix)`, (M, K) x (K, N), with a faster gradient where M is small.

    The gradient to the rows multiplies by the transposed matrix. oneDNN does that in half the time if it is told that
    it multiplies batches, of which there is one.
    """

    def gradient(upstream):
        to_rows = tf.matmul(upstream[None], tf.transpose(matrix[None], (0, 2, 1)))[0]
        return to_rows, tf.matmul(tf.transpose(rows), upstream)

    return _forward(rows, matrix), gradient


_FEW = range(32, 112)  # rows
_DEPTH = 512


def _forward(rows, matrix):
    """`tf.matmul(rows, matrix)`; in float32 and for few rows a sum of products, each of less depth.

    That is faster, and takes the result's size for each of the products.
    """
    height, depth = rows.shape
    if height not in _FEW or depth % _DEPTH or rows.dtype != tf.float32:
        return tf.matmul(rows, matrix)
    parts = tf.transpose(tf.reshape(rows, (height, -1, _DEPTH)), (1, 0, 2))
    return tf.reduce_sum(tf.matmul(parts, tf.reshape(matrix, (-1, _DEPTH, matrix.shape[1]))), axis=0)
