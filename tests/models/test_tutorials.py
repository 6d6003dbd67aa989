"""The heads of the Keras, PyTorch and MindSpore tutorials against plain operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.config import Config
from fcn_tf.models import cpu
from fcn_tf.models.build import build_network
from tests import matfiles

WIDTHS = (2, 3, 8, 5, 6)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return matfiles.write_mat(tmp_path_factory.mktemp("weights") / "narrow.mat", matfiles.vgg_convs(11, WIDTHS))


def photos(*size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.float32)


def build(arch, weights, **flags):
    """A network whose biases and statistics say something."""
    keras.utils.set_random_seed(0)
    network = build_network(arch, num_classes=3, weights=weights, dropout_rate=0.0, flags=flags)
    rng = np.random.default_rng(1)
    for variable in network.model.variables:
        if variable.path.endswith(("/bias", "/gamma", "/beta", "/moving_mean", "/moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return network.model


class Plain:
    """TensorFlow's own operations on the variables of a model."""

    def __init__(self, model, images):
        self.of = {variable.path: tf.convert_to_tensor(variable.value) for variable in model.variables}
        pools = [model.get_layer(f"pool{number}").output for number in (3, 4, 5)]
        self.pools = keras.Model(model.input, pools)(images)

    def conv(self, name, x):
        return tf.nn.conv2d(x, self.of[f"{name}/kernel"], 1, "SAME") + self.of.get(f"{name}/bias", 0.0)

    def up(self, name, x, stride, like):
        kernel = self.of[f"{name}/kernel"]
        shape = (*like.shape[:3], kernel.shape[2])
        return tf.nn.conv2d_transpose(x, kernel, shape, stride) + self.of.get(f"{name}/bias", 0.0)

    def bn(self, name, x):
        gamma, beta, mean, variance = (
            self.of[f"{name}/{each}"] for each in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / tf.sqrt(variance + 1e-5) * gamma + beta


def same(model, images, want):
    assert np.std(want) > 1e-2
    for network in (model, cpu.accelerated(model)):
        np.testing.assert_allclose(network(images), want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("size", [(64, 96), (40, 64)])
def test_keras(size, weights):
    model, images = build("fcn8s_keras", weights), photos(2, *size)
    plain = Plain(model, images)
    pool3, pool4, x = plain.pools
    for name in ("conv6", "conv7"):
        x = tf.nn.relu(plain.conv(name, x))
    x = plain.up("upsample_conv7", x, 4, pool3)
    x += plain.up("upsample_pool4", tf.nn.relu(plain.conv("score_pool4", pool4)), 2, pool3)
    x += tf.nn.relu(plain.conv("score_pool3", pool3))
    same(model, images, plain.up("upsample8", x, 8, images))
    assert [path for path in plain.of if path.startswith("upsample") and path.endswith("bias")] == []
    scaled = keras.Model(model.input, model.get_layer("subtract_mean").output)(images)
    np.testing.assert_allclose(scaled, images / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_pytorch(size, weights):
    model, images = build("fcn8s_pytorch", weights), photos(2, *size)
    plain = Plain(model, images)
    pool3, pool4, x = (pool / 58 for pool in plain.pools)
    half, quarter = (np.zeros((2, size[0] // by, size[1] // by, 1)) for by in (2, 4))
    for number, like in enumerate((pool4, pool3, quarter, half, images), 1):
        x = tf.nn.relu(plain.up(f"conv_t{number}", x, 2, like))
        x = plain.bn(f"bn_t{number}", x + like if number <= 2 else x)
    same(model, images, plain.conv("classifier", x))
    filters = [model.get_layer(f"conv_t{number}").filters for number in range(1, 6)]
    assert filters == [5, 8, 4, 2, 1], "as wide as pool4 and pool3, then a half, a quarter and an eighth of it"


@pytest.mark.parametrize("trunk, source", [("vgg", None), ("vgg_bn", None), ("vgg_bn", "narrow")])
def test_pytorch_takes_features_of_one_size_from_every_trunk(trunk, source, weights):
    """Divided by 58 where pixels were not; what batch normalisation has made that small is not divided again."""
    keras.utils.set_random_seed(0)
    source = source and weights
    model = build_network("fcn8s_pytorch", num_classes=3, weights=source, trunk=trunk, dropout_rate=0.0).model
    names = ("scale_pool3", "scale_pool4", "scale_pool5", "relu_t2")
    found = keras.Model(model.input, [model.get_layer(name).output for name in names])(photos(2, 64, 64), training=True)
    *skips, below = (float(np.std(each)) for each in found)
    assert all(0.2 < size < 5 for size in skips), skips
    assert skips[0] > below / 3, "pool3 would not be seen beside what it is added to"


@pytest.mark.parametrize("arch, stride", [("fcn32s_mindspore", 32), ("fcn16s_mindspore", 16), ("fcn8s_mindspore", 8)])
def test_mindspore(arch, stride, weights):
    model, images = build(arch, weights), photos(2, 70, 45)
    plain = Plain(model, images)
    pool3, pool4, x = plain.pools
    for number in (6, 7):
        x = tf.nn.relu(plain.bn(f"bn{number}", plain.conv(f"conv{number}", x)))
    x = plain.conv("conv8", x)
    for skip_stride, name, pool in ((16, "pool4", pool4), (8, "pool3", pool3)):
        if skip_stride >= stride:
            x = plain.up(f"upsample_{name}", x, 2, pool) + plain.conv(f"score_{name}", pool)
    same(model, images, plain.up(f"upsample{stride}", x, stride, images))


def test_from_scratch_a_normalised_trunk_is_vgg16_at_full_width():
    model = build_network("fcn32s_mindspore", num_classes=2, weights=None).model
    widths = [layer.filters for layer in model.layers if layer.name.startswith("conv") and "_" in layer.name]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    names = [layer.name for layer in model.layers]
    assert names[names.index("conv4_2") :][:3] == ["conv4_2", "bn4_2", "relu4_2"]
    assert model.get_layer("conv6").filters == 4096


@pytest.mark.parametrize("arch", ["fcn8s_keras", "fcn8s_pytorch", "fcn8s_mindspore"])
def test_they_learn_at_one_rate_and_the_first_loss_is_moderate(arch, weights):
    network = build_network(arch, num_classes=3, weights=weights, dropout_rate=0.0)
    assert set(network.learning_rate_factors().values()) == {1.0}
    logits = network.model(photos(2, 64, 64), training=True)
    labels = np.random.default_rng(0).integers(0, 3, (2, 64, 64))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    assert loss < 5, "where raw features make it hundreds"


def test_dropout_is_where_the_flag_says(weights):
    for arch in registry.HEADS:
        if registry.resolve(registry.HEADS[arch]).trunk != "alexnet":
            model = build_network(arch, num_classes=3, weights=weights if arch != "original" else "tiny").model
            assert {layer.rate for layer in model.layers if layer.name.startswith("dropout")} == {Config().dropout}
