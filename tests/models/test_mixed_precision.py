"""Convolutions in bfloat16 and float16, with the processor's own products and with float32's."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.io import system
from fcn_tf.models import cpu, layers, mixed_precision

CONV = {"padding": "same", "bias_initializer": "random_normal"}
LAYERS = {
    cpu.WidenedConv2D: lambda dtype: keras.layers.Conv2D(4, 3, **CONV, dtype=dtype),
    cpu.PatchConv2D: lambda dtype: keras.layers.Conv2D(4, 3, **CONV, dtype=dtype),
    cpu.WidenedUpsampleLike: lambda dtype: layers.UpsampleLike(4, 4, 2, bias_initializer="random_normal", dtype=dtype),
    cpu.SubPixelUpsampleLike: lambda dtype: layers.UpsampleLike(4, 16, 8, dtype=dtype),
}


def multiplied(dtype):
    """Whether convolutions that add up in float32 are there without us: oneDNN, where it is on, has some."""
    flags = pathlib.Path("/proc/cpuinfo")
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" or not flags.exists():
        return False
    return system.has_instructions(dtype) or dtype == "bfloat16" and "avx512_vnni" in flags.read_text()


def results(layer, swapped, inputs, dtype):
    """(outputs, gradient to the inputs, to the kernel, to the bias) in a graph, as training computes them."""
    inputs = tf.cast(inputs, dtype)
    like = {}
    if isinstance(layer, layers.UpsampleLike):
        _, height, width, _ = inputs.shape
        like = {"like": np.zeros((2, height * layer.stride - 1, width * layer.stride, 1), np.float32)}
    layer(inputs, **like)  # builds it

    @tf.function
    def compute(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = swapped(inputs, **like)
            slope = np.random.default_rng(1).standard_normal(outputs.shape).astype(np.float32)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * slope)
        return [outputs, *tape.gradient(loss, [inputs, layer.kernel.value, layer.bias.value])]

    return compute(inputs)


@pytest.mark.parametrize("emulated", [True, False])
@pytest.mark.parametrize(("dtype", "digits"), [("bfloat16", 2**-8), ("float16", 2**-11)])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_a_convolution_computes(kind, dtype, digits, emulated, monkeypatch):
    """The outputs and gradients of float32 on the same inputs, within a few roundings, in the types they belong to.

    The maps are large enough to tell apart in which type the gradient of a bias is added up.
    """
    if not emulated and not multiplied(dtype):
        pytest.skip(f"neither this processor nor oneDNN on it multiplies {dtype}")
    monkeypatch.setattr(mixed_precision, "emulated", lambda dtype: emulated and dtype != "float32")
    inputs = np.random.default_rng(0).standard_normal((2, 20, 25, 3)).astype(np.float32)
    inputs = tf.cast(tf.cast(inputs, dtype), tf.float32)  # numbers that both types have
    keras.utils.set_random_seed(0)
    wide, ours = LAYERS[kind]("float32"), LAYERS[kind](f"mixed_{dtype}")
    want = results(wide, kind(wide), inputs, "float32")
    results(ours, kind(ours), inputs, dtype)  # builds it
    ours.set_weights(wide.get_weights())
    got = results(ours, kind(ours), inputs, dtype)
    assert [part.dtype for part in got] == [dtype, dtype, "float32", "float32"]
    for theirs, mine in zip(want, got, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(tf.cast(mine, tf.float32), theirs, atol=4 * digits * scale)
    # Products in float32 round outputs once and weights not at all.
    if emulated:
        np.testing.assert_allclose(tf.cast(got[0], tf.float32), want[0], rtol=1.01 * digits, atol=1e-6)


def test_between_the_passes_only_rounded_numbers_are_kept(monkeypatch):
    """The widened inputs of the backward pass are cast in it, from numbers that wait for its gradient."""
    monkeypatch.setattr(mixed_precision, "emulated", lambda dtype: dtype != "float32")
    convolution = keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")
    convolution.build((1, 8, 8, 2))
    layer = cpu.WidenedConv2D(convolution)

    @tf.function
    def gradient(inputs):
        with tf.GradientTape() as tape:
            outputs = layer(inputs)
        return tape.gradient(outputs, convolution.kernel.value)

    graph = gradient.get_concrete_function(tf.zeros((1, 8, 8, 2), tf.bfloat16)).graph
    (product,) = [op for op in graph.get_operations() if op.type == "Conv2DBackpropFilter"]
    widened = product.inputs[0].op
    assert widened.type == "Cast" and widened.inputs[0].dtype == "bfloat16"
    assert widened.inputs[0].op.control_inputs


def test_who_emulates(monkeypatch):
    monkeypatch.setattr(system, "has_instructions", lambda dtype: dtype == "bfloat16")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    types = ("float64", "float32", "bfloat16", "float16")
    assert [mixed_precision.emulated(dtype) for dtype in types] == [False, False, False, True]
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert [mixed_precision.emulated(dtype) for dtype in types] == [False, False, True, True]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    assert not any(mixed_precision.emulated(dtype) for dtype in types)
