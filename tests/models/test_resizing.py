"""Photos brought to one size inside of a model: as TensorFlow resizes them, and only where nothing is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.models import build, precision, resizing
from fcn_tf.models.resizing import FitLongestSide, ResizeLike, fitted_size, interpolate, resize

SIDE = 64


def photos(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (2, height, width, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def networks():
    """The same weights, once with photos brought to 64 pixels."""
    made = []
    for side in (0, SIDE):
        keras.utils.set_random_seed(0)
        model = build.build_model("light", num_classes=4, longest_side=side)
        rng = np.random.default_rng(0)
        for layer in model.layers:
            if layer.name.startswith(("score_", "conv8")):  # they start at zero
                layer.set_weights([rng.normal(0, 0.1, array.shape) for array in layer.get_weights()])
        made.append(model)
    return made


@pytest.mark.parametrize("size", [(7, 5), (64, 48), (33, 90), (1, 1), (13, 31)])
@pytest.mark.parametrize("before", [(13, 31), (1, 3), (120, 47)])
def test_it_resizes_as_tensorflow_does(before, size):
    x = photos(*before, channels=2)
    dynamic = tf.function(resize, autograph=False)
    wanted = tf.image.resize(x, size, antialias=True)
    np.testing.assert_allclose(resize(x, *size), wanted, atol=2e-3)
    np.testing.assert_allclose(dynamic(x, *map(tf.constant, size)), wanted, atol=2e-3)


@pytest.mark.parametrize("size", [(7, 5), (64, 48), (33, 90), (1, 1), (13, 31)])
@pytest.mark.parametrize("before", [(13, 31), (1, 3), (120, 47)])
def test_it_interpolates_as_tensorflow_does(before, size):
    x = photos(*before, channels=2)
    dynamic = tf.function(interpolate, autograph=False)
    np.testing.assert_allclose(interpolate(x, *size), tf.image.resize(x, size), atol=2e-3)
    np.testing.assert_allclose(dynamic(x, *map(tf.constant, size)), tf.image.resize(x, size), atol=2e-3)


def test_the_same_size_is_the_same_picture():
    x = photos(13, 31)
    np.testing.assert_array_equal(resize(x, 13, 31), x)
    np.testing.assert_array_equal(interpolate(x, 13, 31), x)


@pytest.mark.parametrize(
    ("before", "after"),
    [((3000, 4000), (384, 512)), ((4000, 3000), (512, 384)), ((1, 4000), (1, 512)), ((8, 16), (256, 512)),
     ((1023, 1024), (512, 512)), ((512, 512), (512, 512)), ((3, 7), (219, 512))],
)  # fmt: skip
def test_the_longer_side_gets_the_length_and_the_other_follows(before, after):
    assert fitted_size(*before, 512) == after
    tensors = fitted_size(*map(tf.constant, before), 512)
    assert tuple(int(each) for each in tensors) == after


@pytest.mark.parametrize("size", [(100, 160), (48, 31), (200, 64), (1, 1)])
def test_photos_are_labelled_at_that_size_and_logits_have_theirs(networks, size):
    plain, fitted = networks
    images = photos(*size)
    small = tf.image.resize(images, fitted_size(*size, SIDE), antialias=True)
    wanted = tf.image.resize(plain(small), size)
    found = fitted(images)
    assert found.shape == (2, *size, 4)
    np.testing.assert_allclose(found, wanted, atol=1e-2 * float(tf.math.reduce_std(wanted)))


def test_photos_of_that_size_are_labelled_as_by_a_plain_network(networks):
    plain, fitted = networks
    images = photos(48, SIDE)
    np.testing.assert_allclose(fitted(images), plain(images), atol=1e-5)


def test_crops_to_train_on_stay_as_they_are(networks):
    _, fitted = networks
    images = photos(32, 96)
    layer = FitLongestSide(SIDE)
    np.testing.assert_array_equal(layer(images, training=True), images)
    assert layer(images).shape == (2, 21, SIDE, 3)
    assert ResizeLike()(images, images[:, :16], training=True).shape == images.shape
    assert ResizeLike()(images, images[:, :16]).shape == (2, 16, 96, 3)
    assert fitted(images, training=True).shape == (2, 32, 96, 4)


def test_without_resizing_crops_are_taken_as_they_are(networks):
    plain, fitted = networks
    crops = photos(32, 96)
    bare = resizing.without_resizing(fitted)
    np.testing.assert_allclose(bare(crops), plain(crops), atol=1e-5)
    assert bare.get_layer("relu1_1").output is not None and resizing.longest_side(bare) == 0
    assert resizing.without_resizing(plain) is plain


def test_another_length_shares_the_weights(networks):
    _, fitted = networks
    other = resizing.with_longest_side(fitted, 96)
    assert (resizing.longest_side(fitted), resizing.longest_side(other)) == (SIDE, 96)
    assert resizing.longest_side(networks[0]) == 0
    assert all(one is two for one, two in zip(fitted.variables, other.variables, strict=True))
    images = photos(96, 96)
    np.testing.assert_allclose(other(images), networks[0](images), atol=1e-5)


def test_it_is_saved_with_the_model_and_stays_float32(networks, tmp_path):
    _, fitted = networks
    images = photos(100, 160)
    fitted.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), fitted(images))
    narrow = precision.in_precision(fitted, "bfloat16")
    types = {layer.name: layer.compute_dtype for layer in narrow.layers}
    assert types["fit"] == types["resize"] == "float32" and types["conv6"] == "bfloat16"
    assert narrow(images).shape == (2, 100, 160, 4)
