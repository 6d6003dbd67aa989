"""The layers against TensorFlow's own operations and numbers by hand."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.models import cpu, dropout, layers
from fcn_tf.models import more_layers as _more_layers  # noqa: F401  (registers what older files are made of)

HERE = pathlib.Path(__file__).parent


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def reloaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("stride", [2, 8])
def test_upsample_like_is_conv2d_transpose_with_an_output_shape(stride):
    """For every remainder of height and width; upstream's kernels are twice as wide as their stride."""
    coarse = normal(2, 3, 2, 5)
    layer = layers.UpsampleLike(4, 2 * stride, stride, bias_initializer="random_normal")
    for remainder in range(stride):
        height, width = 2 * stride + 1 + remainder, 2 * stride - remainder
        like = np.zeros((2, height, width, 1), np.float32)
        got = layer(coarse, like=like)
        want = tf.nn.conv2d_transpose(coarse, layer.kernel, (2, height, width, 4), stride) + layer.bias
        assert got.shape == want.shape == layer.compute_output_shape(coarse.shape, like.shape)
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("stride", [2, 8])
def test_bilinear_upsampling_of_a_ramp_is_a_ramp(stride):
    """Pixel centres: the fine pixel i lies at (i + 0.5) / stride - 0.5 of the coarse grid."""
    rows, columns = np.mgrid[:6, :7].astype(np.float32)
    ramp = np.stack([3 * rows - 2 * columns + 1, rows], axis=-1)[None]
    like = np.zeros((1, 6 * stride, 7 * stride, 1), np.float32)
    layer = layers.UpsampleLike(2, 2 * stride, stride, kernel_initializer=layers.BilinearInitializer())
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
    with dropout.step_seed(tf.constant(seed, tf.int32)):
        return np.asarray(layer(inputs, training=training))


def test_dropout_keeps_the_mean_and_does_nothing_in_use():
    layer = dropout.StepDropout(0.25)
    values = dropped(layer, [1, 2])
    assert set(np.unique(values)) == {0, np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 0.05
    assert (dropped(layer, [1, 2], training=False) == 1).all()
    assert (dropped(dropout.StepDropout(0), [1, 2]) == 1).all()


def test_the_step_decides_the_mask():
    first, second = dropout.StepDropout(0.5, salt=0), dropout.StepDropout(0.5, salt=1)
    again = dropout.StepDropout(0.5, salt=0)
    dropped(again, [9, 9])  # what a layer did before is of no account
    np.testing.assert_array_equal(dropped(first, [1, 2]), dropped(again, [1, 2]))
    for other in (dropped(first, [1, 3]), dropped(first, [2, 2]), dropped(second, [1, 2])):
        assert (dropped(first, [1, 2]) != other).mean() > 0.3


def test_the_seed_ends_with_its_context():
    layer = dropout.StepDropout(0.5)
    with pytest.raises(ZeroDivisionError), dropout.step_seed(tf.constant([1, 2])):
        raise ZeroDivisionError
    assert (dropped(layer) != dropped(layer)).any()  # its own sequence again


def test_the_step_decides_the_mask_inside_a_graph_too():
    layer = dropout.StepDropout(0.5)

    @tf.function
    def graph(seed):
        with dropout.step_seed(seed):
            return layer(tf.ones((1, 20, 20, 4)), training=True)

    for seed in ([1, 2], [3, 4]):
        np.testing.assert_array_equal(graph(tf.constant(seed)), dropped(layer, seed))


def test_all_of_them_come_back_from_a_file(tmp_path):
    images = keras.Input((None, None, 3))
    x = dropout.StepDropout(0.5, salt=7, name="drop")(layers.RMSNormalize(name="norm")(images))
    x = layers.UpsampleLike(4, 4, 2, kernel_initializer=layers.BilinearInitializer(), name="up")(
        keras.layers.MaxPooling2D(2, padding="same")(x), like=images
    )
    model = keras.Model(images, x)
    copy = reloaded(model, tmp_path)
    photos = normal(2, 7, 9, 3)
    np.testing.assert_array_equal(copy(photos), model(photos))
    assert (copy.get_layer("drop").rate, copy.get_layer("drop").salt) == (0.5, 7)
    np.testing.assert_array_equal(dropped(copy.get_layer("drop"), [1, 2]), dropped(model.get_layer("drop"), [1, 2]))
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in model.layers]


def test_older_model_files_load():
    """One that names layers Conv2D, PatchConv2D and SubPixelUpsampleLike of ours, and what it computed then."""
    saved = keras.models.load_model(HERE / "old_names.keras")
    kinds = {type(layer).__name__ for layer in saved.layers}
    assert {"Conv2D", "PatchConv2D", "SubPixelUpsampleLike", "UpsampleLike", "RMSNormalize", "StepDropout"} <= kinds
    with np.load(HERE / "old_names.npz") as then:
        assert np.std(then["logits"]) > 1
        for model in (saved, cpu.accelerated(saved)):
            np.testing.assert_allclose(model(then["image"].astype(np.float32)), then["logits"], atol=1e-5)
