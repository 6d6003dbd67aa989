"""AlexNet from a tiny file of MatConvNet's layout: groups, local response normalisation, strides."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.models import cpu, matconvnet, more_layers, remat
from fcn_tf.models.build import build_network
from tests import matfiles


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """(path, convolutions) with fc6 and fc7 of the width that conv6 and conv7 get: 16 x 6."""
    convs = matfiles.alexnet_convs(hidden=96)
    return matfiles.write_alexnet(tmp_path_factory.mktemp("weights") / "alex.mat", convs), convs


def photos(*size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.float32)


@pytest.mark.parametrize("kind, layout", [("lrn", "newer"), ("normalize", "beta16")])
def test_both_layouts_are_read(kind, layout, tmp_path):
    convs = matfiles.alexnet_convs()
    net = matconvnet.read(matfiles.write_alexnet(tmp_path / "alex.mat", convs, kind=kind, layout=layout))
    assert net.is_alexnet and net.normalizations == matfiles.ALEXNET_NORMALIZATIONS
    assert list(net.convs) == list(convs)
    for name, (kernel, bias) in convs.items():
        np.testing.assert_array_equal(net.convs[name].kernel, kernel)
        np.testing.assert_array_equal(net.convs[name].bias, bias)


def without(convs, name):
    return {key: value for key, value in convs.items() if key != name}


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda convs: without(convs, "conv4"), "nearest to AlexNet, but without conv4"),
        (lambda convs: convs | {"conv5_1": convs["conv3"]}, "nearest to AlexNet, but with conv5_1 as well"),
        (
            lambda convs: convs | {"conv3": (np.zeros((3, 3, 5, 8), np.float32), np.zeros(8))},
            r"kernel conv3 has shape \(3, 3, 5, 8\)",
        ),
        (lambda convs: {"conv2": convs["conv2"], **convs}, "the convolutions come in the order conv2, conv1"),
        (lambda convs: convs | {"conv2": (convs["conv2"][0], np.zeros(5, np.float32))}, "bias conv2"),
    ],
)
def test_a_damaged_file_is_told(damage, named, tmp_path):
    path = matfiles.write_mat(tmp_path / "alex.mat", damage(matfiles.alexnet_convs()))
    with pytest.raises(UserError, match=named) as caught:
        matconvnet.read(path)
    assert "\n" not in str(caught.value)


def test_a_normalisation_is_never_left_out(tmp_path):
    path = matfiles.write_mat(tmp_path / "a.mat", matfiles.alexnet_convs(), others=[{"name": "norm1", "type": "lrn"}])
    with pytest.raises(UserError, match="norm1 has no `param` of four numbers"):
        matconvnet.read(path)
    path = matfiles.write_alexnet(tmp_path / "vgg.mat", matfiles.vgg_convs(11))
    with pytest.raises(UserError, match="norm1 normalises, as in AlexNet, but there is no conv1"):
        matconvnet.read(path)


def plain(images, convs):
    """pool1, pool2 and pool5 in TensorFlow's own operations, groups by hand."""
    x, found = images - np.array(matfiles.MEAN_RGB, np.float32), {}
    for i in range(1, 6):
        kernel, bias = convs[f"conv{i}"]
        groups, stride = x.shape[-1] // kernel.shape[2], 4 if i == 1 else 1
        parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
        x = tf.nn.relu(tf.concat([tf.nn.conv2d(part, each, stride, "SAME") for part, each in parts], -1) + bias)
        if i <= 2:
            size, k, alpha, beta = matfiles.ALEXNET_NORMALIZATIONS[f"norm{i}"]
            x = tf.nn.local_response_normalization(x, int(size) // 2, k, alpha, beta)
        if i != 3 and i != 4:
            found[i] = x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    return found


@pytest.mark.parametrize("size", [(64, 96), (70, 33)])
def test_features_are_those_of_plain_operations(size, alexnet):
    path, convs = alexnet
    network = build_network("fcn32s_alexnet", num_classes=3, weights=path)
    images = photos(2, *size)
    want = plain(images, convs)
    pools = [network.model.get_layer(f"pool{number}").output for number in want]
    trunk = keras.Model(network.model.input, pools)
    for model in (trunk, cpu.accelerated(trunk)):
        for got, number, stride in zip(model(images), want, (8, 16, 32), strict=True):
            np.testing.assert_allclose(got, want[number], atol=1e-4 * np.abs(want[number]).max())
            assert got.shape[1:3] == (-(-size[0] // stride), -(-size[1] // stride))
    again = remat.with_gradient_checkpointing(network.model, network.stages.values())
    np.testing.assert_allclose(again(images), network.model(images), atol=1e-6)
    assert list(network.stages) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert network.stages["conv1"] == ["subtract_mean", "conv1", "relu1", "norm1", "pool1"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_grouped_convolution_on_cpus_is_the_same(dtype):
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[dtype]
    layer = keras.layers.Conv2D(
        6, 5, strides=2, groups=2, padding="same", bias_initializer="random_normal", dtype=policy
    )
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 8, 4)), layer.compute_dtype)
    want = layer(x)
    swapped = cpu.GroupedConv2D(layer)
    results = []
    for each in (layer, swapped):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(each(x), tf.float32) ** 2)
        results.append(tape.gradient(loss, [layer.kernel.value, layer.bias.value]))
    np.testing.assert_allclose(swapped(x), want, atol=1e-5 if dtype == "float32" else 0.05)
    for ours, theirs in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=(1e-5 if dtype == "float32" else 0.05) * np.abs(theirs).max())


def test_the_classifier_comes_from_the_file(alexnet):
    path, convs = alexnet
    model = build_network("fcn32s_alexnet", num_classes=3, weights=path).model
    np.testing.assert_array_equal(model.get_layer("conv6").kernel, convs["fc6"][0])
    np.testing.assert_array_equal(model.get_layer("conv7").kernel, convs["fc7"][0])


def test_it_stands_under_other_heads(alexnet):
    model = build_network("fcn8s", num_classes=3, weights=alexnet[0], trunk="alexnet").model
    assert model(photos(1, 40, 33)).shape == (1, 40, 33, 3) and model.get_layer("norm2").size == 3


def test_untrained_it_has_the_published_widths():
    model = build_network("fcn32s_alexnet", num_classes=2, weights=None).model
    kernels = [tuple(model.get_layer(f"conv{i}").kernel.shape) for i in range(1, 8)]
    assert kernels[:3] == [(11, 11, 3, 96), (5, 5, 48, 256), (3, 3, 256, 384)]
    assert kernels[3:] == [(3, 3, 192, 384), (3, 3, 192, 256), (6, 6, 256, 4096), (1, 1, 4096, 4096)]


def test_trunk_and_file_must_agree(alexnet, tmp_path):
    vgg = matfiles.write_mat(tmp_path / "vgg.mat", matfiles.vgg_convs(11))
    for arch, weights, named in (
        ("fcn8s", alexnet[0], "alex.mat is an AlexNet, expected a VGG network; .* add --trunk=alexnet"),
        ("fcn32s_alexnet", vgg, "vgg.mat is a VGG network, expected an AlexNet"),
    ):
        with pytest.raises(UserError, match=named):
            build_network(arch, num_classes=3, weights=weights)
    with pytest.raises(
        UserError, match="--trunk=alexnet has no transposed, pooling, last_conv, which this --arch needs"
    ):
        build_network("original", num_classes=3, weights=alexnet[0], trunk="alexnet")


def test_local_response_normalisation_by_hand():
    layer = more_layers.LocalResponseNormalization(3, 1.0, 0.5, 2.0)
    got = layer(np.array([[[[1.0, 2.0, 3.0, 0.0]]]], np.float32))
    energies = np.array([1 + 4, 1 + 4 + 9, 4 + 9, 9])
    np.testing.assert_allclose(got[0, 0, 0], [1, 2, 3, 0] / (1 + 0.5 * energies) ** 2, rtol=1e-5)
