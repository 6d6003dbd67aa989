"""Layers swapped on CPUs: the functions and gradients of those they stand for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import build_model
from fcn_tf.models import cpu, layers, mixed_precision
from tests import matfiles


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def assert_same(layer, swapped, *inputs):
    """Outputs, and gradients to the first input, kernel and bias, in a graph that knows no sizes, as evaluation's."""
    slope = normal(*layer(*inputs).shape, seed=1)
    results = []
    for function in (layer, swapped):

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, x.shape[-1])) for x in inputs])
        def outputs_and_gradients(x, *more, function=function):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = function(x, *more)
                loss = tf.reduce_sum(outputs * slope)
            return [outputs, *tape.gradient(loss, [x, layer.kernel.value, layer.bias.value])]

        results.append(outputs_and_gradients(*inputs))
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)
        assert np.ptp(want) > 0.5


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("kind", [cpu.SubPixelUpsampleLike, cpu.WidenedUpsampleLike])
def test_upsampling_is_the_same(kind, stride):
    layer = layers.UpsampleLike(4, 2 * stride, stride, bias_initializer="random_normal")
    # The sizes are odd, so the surplus is cut.
    coarse, like = normal(2, 3, 2, 5), np.zeros((2, 3 * stride - 1, 2 * stride - 1, 1), np.float32)
    layer(coarse, like=like)
    swapped = kind(layer)
    assert_same(layer, lambda x, like: swapped(x, like=like), coarse, like)


@pytest.mark.parametrize(("side", "channels"), [(1, 3), (3, 3), (7, 3), ((2, 4), 3), (3, 512), ((2, 4), 128)])
@pytest.mark.parametrize("kind", [cpu.PatchConv2D, cpu.WidenedConv2D])
def test_convolution_is_the_same(kind, side, channels):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Conv2D(4, side, padding="same", activation="relu", bias_initializer="random_normal")
    inputs = normal(2, 5, 6, channels)
    layer.build(inputs.shape)
    assert_same(layer, kind(layer), inputs)


@pytest.mark.parametrize(
    ("rows", "depth", "dtype", "products"),
    [
        (31, 1024, "float32", 1),
        (32, 1024, "float32", 2),
        (111, 1536, "float32", 3),
        (112, 1024, "float32", 1),
        (98, 1000, "float32", 1),
        (98, 1024, "bfloat16", 1),
    ],
)
def test_few_rows_are_multiplied_with_less_depth_at_a_time(rows, depth, dtype, products):
    left, right = (tf.cast(tf.constant(normal(*shape)), dtype) for shape in ((rows, depth), (depth, 5)))
    graph = tf.function(cpu._forward).get_concrete_function(left, right).graph
    batches = [op for op in graph.get_operations() if op.type == "BatchMatMulV2"]
    assert [op.outputs[0].shape for op in batches] == ([] if products == 1 else [(products, rows, 5)])
    want = tf.matmul(tf.cast(left, "float32"), tf.cast(right, "float32"))
    np.testing.assert_allclose(
        tf.cast(cpu._forward(left, right), "float32"), want, atol=1e-3 if dtype == "float32" else 1
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.mat"
    return matfiles.write_mat(path, matfiles.vgg_convs(19, (2, 3, 4, 5, 6)))


SWAPPED = {"conv6": cpu.PatchConv2D, "conv7": cpu.PatchConv2D, "conv_t3": cpu.SubPixelUpsampleLike}


def kinds(model):
    return {layer.name: type(layer) for layer in model.layers if type(layer).__module__ == cpu.__name__}


@pytest.mark.parametrize("arch", ["original", "fcn8s"])
def test_what_is_swapped(arch, weights, monkeypatch):
    model = build_model(arch, num_classes=3, weights=weights)
    fast = cpu.accelerated(model)
    assert kinds(model) == {} and kinds(fast) == SWAPPED
    assert [layer.name for layer in fast.layers] == [layer.name for layer in model.layers]
    assert [id(variable) for variable in fast.variables] == [id(variable) for variable in model.variables]
    assert cpu.accelerated(fast) is fast, "nothing is left to swap"
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    assert cpu.accelerated(model) is model
    assert cpu.patch_size(model.get_layer("conv6")) == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_every_convolution_is_swapped_where_there_are_no_instructions(dtype, weights, monkeypatch):
    model = build_model("fcn8s", num_classes=3, weights=weights, dtype=dtype)
    for emulated in (False, True):
        monkeypatch.setattr(mixed_precision, "emulated", lambda dtype, answer=emulated: answer)
        found = kinds(cpu.accelerated(model))
        upsampling = {"conv_t1": cpu.WidenedUpsampleLike, "conv_t2": cpu.WidenedUpsampleLike}
        convolutions = {
            layer.name: cpu.WidenedConv2D
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D) and layer.name not in SWAPPED
        }
        assert found == SWAPPED | upsampling | (convolutions if emulated else {})


@pytest.mark.parametrize("arch", ["original", "fcn8s"])
@pytest.mark.parametrize("size", [(33, 47), (64, 32)])
def test_results_are_the_same(arch, size, weights):
    model = build_model(arch, num_classes=3, weights=weights)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if not np.any(variable.numpy()):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    images = rng.integers(0, 256, (2, *size, 3)).astype(np.float32)
    logits = model(images)
    assert np.std(logits) > 1e-3
    np.testing.assert_allclose(cpu.accelerated(model)(images), logits, atol=1e-5 * np.abs(logits).max())


def test_patches_are_counted_for_kernels_of_several_pixels(weights):
    model = build_model("fcn8s", num_classes=3, weights=weights)
    assert [cpu.patch_size(model.get_layer(name)) for name in ("conv5_1", "conv6", "conv7", "relu6")] == [
        0,
        7 * 7 * 6,
        0,
        0,
    ]


def test_files_hold_plain_layers(weights, tmp_path):
    model = build_model("fcn8s", num_classes=3, weights=weights, dtype="bfloat16")
    cpu.accelerated(model)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    convolutions = [layer for layer in copy.layers if layer.name.startswith("conv")]
    assert {type(layer) for layer in convolutions} == {keras.layers.Conv2D, layers.UpsampleLike}
    images = normal(1, 16, 16, 3)
    np.testing.assert_array_equal(copy(images), model(images))
