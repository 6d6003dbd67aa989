"""The trunk alone: names, strides and pooling."""

import keras
import numpy as np
import pytest

from fcn_tf.models.vgg import build_layers

VGG11 = {"conv1_1": 2, "conv2_1": 3, "conv3_1": 4, "conv3_2": 4, "conv4_1": 5, "conv4_2": 5, "conv5_1": 6, "conv5_2": 6}


def trunk(**options):
    images = keras.Input((None, None, 3))
    features, _ = build_layers(images, VGG11, mean_rgb=(1, 2, 3), **options)
    return keras.Model(images, features)


@pytest.mark.parametrize("size", [(32, 64), (33, 65), (1, 1), (31, 47)])
def test_features_are_the_ceiling_of_the_size_over_the_stride(size):
    features = trunk()(np.zeros((2, *size, 3), np.float32))
    for name, channels in (("stride8", 4), ("stride16", 5), ("stride32", 6)):
        stride = int(name.removeprefix("stride"))
        assert features[name].shape == (2, -(-size[0] // stride), -(-size[1] // stride), channels)


def test_every_convolution_has_a_relu_and_every_stage_a_pool():
    names = [layer.name for layer in trunk().layers]
    assert [name for name in names if name.startswith("conv")] == list(VGG11)
    assert [name for name in names if name.startswith("relu")] == [name.replace("conv", "relu") for name in VGG11]
    assert [name for name in names if name.startswith("pool")] == [f"pool{stage}" for stage in range(1, 6)]


def test_below_top_there_is_no_relu_and_above_it_nothing():
    names = [layer.name for layer in trunk(last_conv="conv5_1").layers]
    assert names[-2:] == ["conv5_1", "pool5"] and "relu5_1" not in names and "conv5_2" not in names


def test_average_pooling_stops_before_pool5():
    pools = {layer.name: type(layer) for layer in trunk(pooling="average").layers if layer.name.startswith("pool")}
    average, maximum = keras.layers.AveragePooling2D, keras.layers.MaxPooling2D
    assert pools == {f"pool{stage}": average for stage in range(1, 5)} | {"pool5": maximum}


def test_a_top_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="conv5_3.*conv5_2"):
        trunk(last_conv="conv5_3")


def test_the_mean_is_subtracted_in_float32_whatever_the_policy():
    model = trunk(dtype="mixed_bfloat16")
    mean = keras.Model(model.input, model.get_layer("subtract_mean").output)
    got = mean(np.full((1, 1, 1, 3), 200.25, np.float32))
    np.testing.assert_array_equal(got, [[[[199.25, 198.25, 197.25]]]])
    assert model(np.zeros((1, 8, 8, 3), np.float32))["stride8"].dtype == "bfloat16"


def test_every_layer_belongs_to_a_stage_that_ends_with_its_pool():
    images = keras.Input((None, None, 3))
    features, stages = build_layers(images, VGG11, mean_rgb=(1, 2, 3), last_conv="conv5_1")
    assert [name for stage in stages for name in stage] == [
        layer.name for layer in keras.Model(images, features).layers[1:]
    ]
    assert stages[0] == ["subtract_mean", "conv1_1", "relu1_1", "pool1"] and stages[4] == ["conv5_1", "pool5"]
    assert [stage[-1] for stage in stages] == [f"pool{number}" for number in range(1, 6)]
