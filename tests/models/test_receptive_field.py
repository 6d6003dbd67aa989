"""Receptive fields: known numbers, and every arch against the pixels whose gradient is not zero."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.models import build, vgg
from fcn_tf.models.layers import UpsampleLike
from fcn_tf.models.receptive_field import Box, ReceptiveFields
from tests import matfiles

# Convolutions and poolings of VGG16, as in Simonyan & Zisserman 2014; fields as anybody's calculator gives them.
VGG16 = {f"conv{stage}_{i}": 2 for stage, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1)}
KNOWN = {"conv1_1": 3, "conv1_2": 5, "pool1": 6, "pool2": 16, "pool3": 44, "pool4": 100, "conv5_3": 196, "pool5": 212}


def fields_of(layer, size=(None, None)):
    images = keras.Input((*size, 1))
    return ReceptiveFields(keras.Model(images, layer(images)))


def test_vgg16_has_the_known_fields_and_strides():
    images = keras.Input((None, None, 3))
    features, _ = vgg.build_layers(images, VGG16, mean_rgb=(0, 0, 0))
    fc6 = keras.layers.Conv2D(2, 7, name="fc6")(features["stride32"])
    fields = ReceptiveFields(keras.Model(images, fc6))
    assert {name: fields.side(name) for name in KNOWN} == KNOWN
    assert fields.side("fc6") == 404
    assert [fields.stride(name) for name in ("conv1_1", "pool1", "pool5", "fc6")] == [1, 2, 32, 32]
    assert fields.map_size("pool5", 224, 225) == (7, 8)


@pytest.mark.parametrize(
    ("layer", "row", "seen"),
    [
        (keras.layers.Conv2D(1, 3, padding="same", name="x"), 4, (3, 5)),
        (keras.layers.Conv2D(1, 3, name="x"), 4, (4, 6)),
        (keras.layers.Conv2D(1, 3, dilation_rate=4, padding="same", name="x"), 4, (0, 8)),
        (keras.layers.Conv2D(1, 3, strides=2, padding="same", name="x"), 2, (4, 6)),  # 10 rows: one of padding, below
        (keras.layers.MaxPooling2D(2, name="x"), 1, (2, 3)),
        (keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="x"), 4, (1, 2)),
        (keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", name="x"), 5, (2, 3)),
        (keras.layers.UpSampling2D(2, name="x"), 5, (2, 2)),
        (keras.layers.UpSampling2D(2, interpolation="bilinear", name="x"), 5, (2, 3)),
        (keras.layers.UpSampling2D(2, interpolation="lanczos3", name="x"), 5, (0, 9)),
        (keras.layers.ZeroPadding2D(2, name="x"), 5, (3, 3)),
        (keras.layers.Cropping2D(2, name="x"), 5, (7, 7)),
        (keras.layers.ReLU(name="x"), 5, (5, 5)),
        (keras.layers.GlobalAveragePooling2D(keepdims=True, name="x"), 0, (0, 9)),  # no rule: everything
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_layer_by_hand(layer, row, seen):
    assert fields_of(layer).box("x", row, 0, height=10, width=10)[::2] == seen


def test_branches_are_joined():
    images = keras.Input((None, None, 1))
    near, far = (keras.layers.Conv2D(1, side, padding="same")(images) for side in (1, 5))
    fields = ReceptiveFields(keras.Model(images, keras.layers.Add(name="sum")([near, far])))
    assert fields.box("sum", 5, 7, height=20, width=20) == Box(3, 5, 7, 9)
    assert (fields.box("sum", 5, 7, height=20, width=20).height, fields.side("sum")) == (5, 5)


def test_what_only_gives_a_size_is_not_seen():
    images = keras.Input((None, None, 1))
    half = keras.layers.MaxPooling2D(2, padding="same")(images)
    wide = keras.layers.Conv2D(1, 9, padding="same")(images)
    fields = ReceptiveFields(keras.Model(images, UpsampleLike(1, 4, 2, name="up")(half, like=wide)))
    assert fields.box("up", 4, 5, height=9, width=9) == Box(2, 4, 5, 7)


def positive(model):
    """The same layers with random positive weights and no maximum, so that everything that is seen has a gradient."""

    def swap(layer):
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.AveragePooling2D.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=swap)
    rng = np.random.default_rng(0)
    for variable in clone.trainable_variables:
        fan_in = max(np.prod(variable.shape[:-1]), 1) if len(variable.shape) > 1 else 1
        variable.assign(rng.uniform(0.5, 1.5, variable.shape) / fan_in)
    return clone


@pytest.fixture(scope="module", params=registry.HEADS)
def positive_model(request, tmp_path_factory):
    """Of each arch, narrow, for a field does not depend on the channels."""
    weights = None
    path = tmp_path_factory.mktemp("weights") / "narrow.mat"
    trunk = registry.resolve(registry.HEADS[request.param]).trunk
    if trunk == "alexnet":
        weights = matfiles.write_alexnet(path, matfiles.alexnet_convs())
    elif trunk != "vgg":  # untrained, that one is narrow
        weights = matfiles.write_mat(path, matfiles.vgg_convs(16))
    return positive(build.build_model(request.param, num_classes=2, weights=weights))


@pytest.mark.parametrize("width", [1280, 1273])  # 1273: odd at every stride
def test_every_arch_sees_what_its_gradient_says(positive_model, width):
    model = positive_model
    strip = tf.random.stateless_uniform((1, 16, width, 3), (0, 0), 200, 255)
    with tf.GradientTape() as tape:
        tape.watch(strip)
        logits = model(strip)
    middle = width // 2
    seed = np.zeros(logits.shape, np.float32)
    seed[0, 8, middle, 0] = 1
    found = np.flatnonzero(np.abs(tape.gradient(logits, strip, output_gradients=seed)[0]).sum((0, 2)))
    box = ReceptiveFields(model).box(model.operations[-1].name, 8, middle, height=16, width=width)
    assert (found[0], found[-1]) == (max(box.left, 0), min(box.right, width - 1))
