"""The layers against TensorFlow's own operations and numbers by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.models import layers


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def reloaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


ENLARGING = [layers.UpsampleLike, layers.SubPixelUpsampleLike]


@pytest.mark.parametrize("stride", [2, 8])
@pytest.mark.parametrize("kind", ENLARGING)
def test_upsample_like_is_conv2d_transpose_with_an_output_shape(kind, stride):
    """For every remainder of height and width; upstream's kernels are twice as wide as their stride."""
    coarse = normal(2, 3, 2, 5)
    layer = kind(4, 2 * stride, stride, bias_initializer="random_normal")
    for remainder in range(stride):
        height, width = 2 * stride + 1 + remainder, 2 * stride - remainder
        like = np.zeros((2, height, width, 1), np.float32)
        got = layer(coarse, like=like)
        want = tf.nn.conv2d_transpose(coarse, layer.kernel, (2, height, width, 4), stride) + layer.bias
        assert got.shape == want.shape == layer.compute_output_shape(coarse.shape, like.shape)
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_sub_pixel_upsampling_has_the_gradients_of_the_transposed_convolution(stride):
    """In a graph that knows no sizes, as training's: the sizes are odd, so the surplus is cut."""
    theirs, ours = (kind(4, 2 * stride, stride, bias_initializer="random_normal") for kind in ENLARGING)
    coarse, like = normal(2, 3, 2, 5), np.zeros((2, 3 * stride - 1, 2 * stride - 1, 1), np.float32)
    for layer in (theirs, ours):
        layer.build(coarse.shape, like.shape)
    ours.set_weights(theirs.get_weights())
    results = []
    for layer in (theirs, ours):

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 5)), tf.TensorSpec((None, None, None, 1))])
        def outputs_and_gradients(coarse, like, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(coarse)
                outputs = layer(coarse, like=like)
                loss = tf.reduce_sum(outputs * normal(2, 3 * stride - 1, 2 * stride - 1, 4, seed=1))
            return [outputs, *tape.gradient(loss, [coarse, layer.kernel.value, layer.bias.value])]

        results.append(outputs_and_gradients(coarse, like))
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (8, 2), (6, 3)])
def test_sub_pixel_upsampling_refuses_other_kernels(kernel, stride):
    with pytest.raises(ValueError, match=f"kernel is {kernel} and stride {stride}"):
        layers.SubPixelUpsampleLike(4, kernel, stride)


@pytest.mark.parametrize(("side", "channels"), [(1, 3), (3, 3), (7, 3), ((2, 4), 3), (3, 512), ((2, 4), 128)])
def test_patch_conv2d_is_conv2d_with_its_gradients(side, channels):
    keras.utils.set_random_seed(0)
    inputs = tf.constant(normal(2, 5, 6, channels))
    ours = layers.PatchConv2D(4, side, activation="relu", bias_initializer="random_normal")
    theirs = keras.layers.Conv2D(4, side, padding="same", activation="relu")
    ours.build(inputs.shape)
    theirs.build(inputs.shape)
    theirs.set_weights(ours.get_weights())
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(outputs * normal(*outputs.shape, seed=1))
        sources = [inputs, layer.kernel.value, layer.bias.value]
        results.append([outputs, *tape.gradient(loss, sources)])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)
        assert np.ptp(want) > 0.5


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
    graph = tf.function(layers._forward).get_concrete_function(left, right).graph
    batches = [op for op in graph.get_operations() if op.type == "BatchMatMulV2"]
    assert [op.outputs[0].shape for op in batches] == ([] if products == 1 else [(products, rows, 5)])
    want = tf.matmul(tf.cast(left, "float32"), tf.cast(right, "float32"))
    np.testing.assert_allclose(
        tf.cast(layers._forward(left, right), "float32"), want, atol=1e-3 if dtype == "float32" else 1
    )


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.PatchConv2D])
def test_convolutions_have_a_bias(kind):
    with pytest.raises(ValueError, match="use_bias"):
        kind(4, 3, use_bias=False)


@pytest.mark.parametrize("stride", [2, 8])
@pytest.mark.parametrize("kind", ENLARGING)
def test_bilinear_upsampling_of_a_ramp_is_a_ramp(kind, stride):
    """Pixel centres: the fine pixel i lies at (i + 0.5) / stride - 0.5 of the coarse grid."""
    rows, columns = np.mgrid[:6, :7].astype(np.float32)
    ramp = np.stack([3 * rows - 2 * columns + 1, rows], axis=-1)[None]
    like = np.zeros((1, 6 * stride, 7 * stride, 1), np.float32)
    layer = kind(2, 2 * stride, stride, kernel_initializer=layers.BilinearInitializer())
    fine_rows, fine_columns = (np.mgrid[: 6 * stride, : 7 * stride] + 0.5) / stride - 0.5
    want = np.stack([3 * fine_rows - 2 * fine_columns + 1, fine_rows], axis=-1)
    inside = slice(stride, -stride)  # the border fades to zero: there is nothing outside to blend with
    np.testing.assert_allclose(layer(ramp, like=like)[0, inside, inside], want[inside, inside], atol=1e-4)


def test_bilinear_kernel_by_hand():
    kernel = np.asarray(layers.BilinearInitializer()((4, 4, 2, 3)))
    ramp = np.array([0.25, 0.75, 0.75, 0.25])
    for out in range(2):
        for channel in range(3):
            np.testing.assert_allclose(kernel[:, :, out, channel], np.outer(ramp, ramp) * (out == channel))


def test_rms_normalize_by_hand():
    pixels = np.array([[[[3, 4]], [[0, 0]], [[-300, 400]]]], np.float32)  # RMS sqrt(12.5), 0, 100 sqrt(12.5)
    layer = layers.RMSNormalize()
    layer.build(pixels.shape)
    layer.gain.assign([1, 10])
    r = 12.5**0.5
    np.testing.assert_allclose(layer(pixels), [[[[3 / r, 40 / r]], [[0, 0]], [[-3 / r, 40 / r]]]], rtol=1e-5)


def test_rms_normalize_survives_what_float16_cannot_square():
    layer = layers.RMSNormalize(dtype="mixed_float16")
    np.testing.assert_allclose(layer(np.full((1, 1, 1, 8), 1000, np.float16)), np.ones((1, 1, 1, 8)), rtol=1e-3)


def dropped(layer, seed=None, inputs=None, training=True):
    inputs = np.ones((1, 20, 20, 4), np.float32) if inputs is None else inputs
    if seed is None:
        return np.asarray(layer(inputs, training=training))
    with layers.step_seed(tf.constant(seed, tf.int32)):
        return np.asarray(layer(inputs, training=training))


def test_dropout_keeps_the_mean_and_does_nothing_in_use():
    layer = layers.StepDropout(0.25)
    values = dropped(layer, [1, 2])
    assert set(np.unique(values)) == {0, np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 0.05
    assert (dropped(layer, [1, 2], training=False) == 1).all()
    assert (dropped(layers.StepDropout(0), [1, 2]) == 1).all()


def test_the_step_decides_the_mask():
    first, second = layers.StepDropout(0.5, salt=0), layers.StepDropout(0.5, salt=1)
    again = layers.StepDropout(0.5, salt=0)
    dropped(again, [9, 9])  # what a layer did before is of no account
    np.testing.assert_array_equal(dropped(first, [1, 2]), dropped(again, [1, 2]))
    for other in (dropped(first, [1, 3]), dropped(first, [2, 2]), dropped(second, [1, 2])):
        assert (dropped(first, [1, 2]) != other).mean() > 0.3


def test_the_seed_ends_with_its_context():
    layer = layers.StepDropout(0.5)
    with pytest.raises(ZeroDivisionError), layers.step_seed(tf.constant([1, 2])):
        raise ZeroDivisionError
    assert (dropped(layer) != dropped(layer)).any()  # its own sequence again


def test_the_step_decides_the_mask_inside_a_graph_too():
    layer = layers.StepDropout(0.5)

    @tf.function
    def graph(seed):
        with layers.step_seed(seed):
            return layer(tf.ones((1, 20, 20, 4)), training=True)

    for seed in ([1, 2], [3, 4]):
        np.testing.assert_array_equal(graph(tf.constant(seed)), dropped(layer, seed))


def test_all_of_them_come_back_from_a_file(tmp_path):
    images = keras.Input((None, None, 3))
    x = layers.PatchConv2D(4, 3, strides=1, name="patch")(images)
    x = layers.StepDropout(0.5, salt=7, name="drop")(layers.RMSNormalize(name="norm")(x))
    x = layers.UpsampleLike(4, 4, 2, kernel_initializer=layers.BilinearInitializer(), name="up")(
        keras.layers.MaxPooling2D(2, padding="same")(x), like=images
    )
    x = layers.SubPixelUpsampleLike(2, 4, 2, name="sub_pixel")(keras.layers.MaxPooling2D(2, padding="same")(x), like=x)
    model = keras.Model(images, x)
    copy = reloaded(model, tmp_path)
    photos = normal(2, 7, 9, 3)
    np.testing.assert_array_equal(copy(photos), model(photos))
    assert (copy.get_layer("drop").rate, copy.get_layer("drop").salt) == (0.5, 7)
    np.testing.assert_array_equal(dropped(copy.get_layer("drop"), [1, 2]), dropped(model.get_layer("drop"), [1, 2]))
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in model.layers]
