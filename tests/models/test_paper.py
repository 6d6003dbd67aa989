"""The paper's networks: how they start, what of them learns, and what their layers compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.models import blocks, cpu, layers
from fcn_tf.models.build import build_network
from tests import matfiles

STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s_paper": 8, "fcn4s": 4, "fcn2s": 2}
SKIPS = {32: [], 16: ["pool4"], 8: ["pool4", "pool3"], 4: ["pool4", "pool3", "pool2"]}
SKIPS[2] = [*SKIPS[4], "pool1"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A VGG11 with fc6 and fc7 of the width that conv6 and conv7 get: 8 x 6."""
    path = tmp_path_factory.mktemp("weights") / "narrow.mat"
    return matfiles.write_mat(path, matfiles.vgg_convs(11, (2, 3, 4, 5, 6), hidden=48))


def photos(*size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.float32)


def build(arch, weights, **flags):
    return build_network(arch, num_classes=3, weights=weights, dropout_rate=0.5, flags=flags)


@pytest.mark.parametrize("arch, stride", STRIDES.items())
def test_scores_start_at_zero_and_upsampling_bilinear_with_kernels_of_twice_the_stride(arch, stride, weights):
    model = build(arch, weights).model
    assert not np.any(model(photos(1, 40, 33)))
    names = [layer.name for layer in model.layers]
    assert [name.removeprefix("score_") for name in names if name.startswith("score_")] == SKIPS[stride]
    upsampling = [layer for layer in model.layers if isinstance(layer, layers.UpsampleLike)]
    assert [layer.kernel_side for layer in upsampling] == [4] * len(SKIPS[stride]) + [2 * stride]
    for layer in upsampling:
        assert not layer.use_bias
        np.testing.assert_array_equal(layer.kernel, layers.BilinearInitializer()(layer.kernel.shape))
    factors = {name: model.get_layer(f"scale_{name}").scale for name in SKIPS[stride]}
    assert factors.get("pool4", 0.01) == 0.01 and factors.get("pool3", 0.0001) == 0.0001


@pytest.mark.parametrize("arch, stride", STRIDES.items())
@pytest.mark.parametrize("learns", [False, True])
def test_the_last_upsampling_learns_only_if_asked(arch, stride, learns, weights):
    network = build(arch, weights, learn_last_upsampling=learns)
    trained = {variable.path for variable in network.model.trainable_variables}
    assert (f"upsample{stride}/kernel" in trained) == learns
    assert {f"upsample_{name}/kernel" for name in SKIPS[stride]} <= trained
    factors = network.learning_rate_factors()
    assert set(factors) == trained and set(factors.values()) == {1.0}


def test_hidden_layers_come_from_the_file(weights):
    convs = matfiles.vgg_convs(11, (2, 3, 4, 5, 6), hidden=48)
    model = build("fcn8s_paper", weights).model
    np.testing.assert_array_equal(model.get_layer("conv6").kernel, convs["fc6"][0])
    np.testing.assert_array_equal(model.get_layer("conv7").kernel, convs["fc7"][0])
    assert model.get_layer("dropout6").rate == model.get_layer("dropout7").rate == 0.5


def randomized(model):
    """The model with score layers that say something."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name == "conv8" or layer.name.startswith(("score_", "upsample_", "fuse_")) and layer.weights:
            layer.set_weights([rng.normal(0, 0.3, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.mark.parametrize(("size", "plain"), [((48, 64), False), ((37, 45), False), ((37, 45), True)])
def test_fcn8s_by_plain_operations(size, plain, weights):
    """From the pools on, in TensorFlow's own operations; skips scaled as at once, and as they come."""
    model = randomized(build("fcn8s_paper", weights, plain_skips=plain).model)
    images = photos(1, *size)
    pools = keras.Model(model.input, [model.get_layer(f"pool{i}").output for i in (3, 4, 5)])(images)
    variable = {v.path: tf.convert_to_tensor(v.value) for v in model.variables}
    x = pools[2]
    for name in ("conv6", "conv7", "conv8"):
        x = tf.nn.conv2d(x, variable[f"{name}/kernel"], 1, "SAME") + variable[f"{name}/bias"]
        x = x if name == "conv8" else tf.nn.relu(x)
    for name, pool, factor in (("pool4", pools[1], 0.01), ("pool3", pools[0], 0.0001)):
        scores = tf.nn.conv2d(pool if plain else factor * pool, variable[f"score_{name}/kernel"], 1, "SAME")
        scores += variable[f"score_{name}/bias"]
        x = tf.nn.conv2d_transpose(x, variable[f"upsample_{name}/kernel"], scores.shape, 2) + scores
    want = tf.nn.conv2d_transpose(x, variable["upsample8/kernel"], (1, *size, 3), 8)
    assert np.std(want) > 0.1
    for network in (model, cpu.accelerated(model)):
        np.testing.assert_allclose(network(images), want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("arch", ["fcn8s", "fcn8s_paper"])
def test_concatenation_starts_as_addition_and_learns_its_own_mixture(arch, weights):
    added, mixed = (build(arch, weights, fuse=how).model for how in ("add", "concat"))
    by_name = {layer.name: layer for layer in randomized(added).layers if layer.weights}
    for layer in mixed.layers:
        if layer.name in by_name:
            layer.set_weights(by_name[layer.name].get_weights())
    np.testing.assert_allclose(mixed(photos(1, 40, 33)), added(photos(1, 40, 33)), atol=1e-5)
    assert {"fuse_pool4/kernel", "fuse_pool3/kernel"} <= {v.path for v in mixed.trainable_variables}


def test_concatenation_by_hand():
    low, high = keras.Input((1, 1, 2)), keras.Input((1, 1, 2))
    model = keras.Model([low, high], blocks.fuse("concat", low, high, "fuse", "float32"))
    model.get_layer("fuse").set_weights([np.array([[[[1, 0], [0, 1], [2, 0], [0, 10]]]]), np.array([0.5, 0])])
    got = model([np.array([[[[1.0, 2.0]]]]), np.array([[[[3.0, 4.0]]]])])
    np.testing.assert_allclose(got, [[[[1 + 2 * 3 + 0.5, 2 + 10 * 4]]]])


@pytest.mark.parametrize("arch", ["fcn2s", "fcn8s_paper"])
def test_it_comes_back_from_a_file_with_what_is_fixed(arch, weights, tmp_path):
    model = randomized(build(arch, weights, fuse="concat").model)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy(photos(1, 33, 40)), model(photos(1, 33, 40)))
    assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]


def test_a_trunk_without_the_stride_is_a_user_error(weights, monkeypatch):
    from fcn_tf import registry
    from fcn_tf.models import vgg

    def coarse(images, **options):
        trunk = vgg.vgg(images, **options)
        features = {name: x for name, x in trunk.features.items() if name not in ("stride2", "stride4")}
        return type(trunk)(features, trunk.stages, trunk.weights, trunk.classifier)

    monkeypatch.setattr(vgg, "coarse", coarse, raising=False)
    monkeypatch.setitem(registry.TRUNKS, "coarse", "fcn_tf.models.vgg:coarse")
    assert build_network("fcn8s_paper", num_classes=3, weights=weights, trunk="coarse").model
    with pytest.raises(UserError, match="--arch=fcn4s takes features of stride 4; --trunk=coarse has stride8"):
        build_network("fcn4s", num_classes=3, weights=weights, trunk="coarse")
