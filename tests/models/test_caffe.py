"""Weights of Caffe's FCNs: arrays called as its layers, and what the network computes with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.models import build, caffe, pretrained, weights_table
from tests import matfiles

CLASSES, WIDTHS = 4, (2, 3, 4, 5, 6)
HIDDEN = 8 * WIDTHS[-1]  # as wide as conv6 is made here
SCORES = {"score_fr": HIDDEN, "score_pool4": WIDTHS[3], "score_pool3": WIDTHS[2]}
UPSCORES = {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16}


def layers():
    """{Caffe's layer: [kernel (out, in, h, w), bias]} of a VGG16 of few filters under the head of FCN-8s."""
    rng = np.random.default_rng(0)
    convs = matfiles.vgg_convs(16, WIDTHS, hidden=HIDDEN)
    found = {name: [kernel.transpose(3, 2, 0, 1), bias] for name, (kernel, bias) in convs.items()}
    found["conv1_1"][0] = found["conv1_1"][0][:, ::-1]  # sees BGR
    for name, channels in SCORES.items():
        found[name] = [rng.normal(0, 0.3, (CLASSES, channels, 1, 1)), rng.normal(0, 0.1, CLASSES)]
    for name, side in UPSCORES.items():
        found[name] = [rng.normal(0, 0.3, (CLASSES, CLASSES, side, side))]
    return {name: [np.float32(array) for array in arrays] for name, arrays in found.items()}


def save(folder, arrays, **more):
    """Writes the file as the documented command does; returns its path."""
    named = {f"{name}_{i}": array for name, pair in arrays.items() for i, array in enumerate(pair)}
    np.savez(folder / "fcn8s.npz", **named, **more)
    return str(folder / "fcn8s.npz")


def made(path, arch="fcn8s_paper", classes=CLASSES, **flags):
    return build.build_model(arch, num_classes=classes, weights=path, dropout_rate=0.0, flags=flags)


def photos():
    return np.random.default_rng(0).integers(0, 256, (1, 37, 45, 3)).astype(np.float32)


def by_plain_operations(arrays, model, scales=(1.0, 1.0)):
    """Caffe's layers above the pools, in TensorFlow's own operations, padded as here."""
    pools = keras.Model(model.input, [model.get_layer(f"pool{i}").output for i in (3, 4, 5)])(photos())
    kernels = {name: np.transpose(pair[0], (2, 3, 1, 0)) for name, pair in arrays.items()}

    def conv(x, name):
        return tf.nn.conv2d(x, kernels[name], 1, "SAME") + arrays[name][1]

    x = conv(tf.nn.relu(conv(tf.nn.relu(conv(pools[2], "fc6")), "fc7")), "score_fr")
    for up, name, pool, scale in zip(
        UPSCORES, ("score_pool4", "score_pool3"), (pools[1], pools[0]), scales, strict=False
    ):
        scores = conv(scale * pool, name)
        x = tf.nn.conv2d_transpose(x, kernels[up], scores.shape, 2) + scores
    return tf.nn.conv2d_transpose(x, kernels["upscore8"], (1, 37, 45, CLASSES), 8)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("scales", [None, (0.01, 0.0001)])
def test_the_network_computes_what_caffe_does(scales, plain, tmp_path):
    """With the skips as they are, and as the at-once networks scale them, there and here."""
    more = {} if scales is None else {f"scale_pool{4 - i}_0": np.float32(scale) for i, scale in enumerate(scales)}
    path = save(tmp_path, layers(), **more)
    model = made(path, plain_skips=plain)
    want = by_plain_operations(layers(), model, scales or (1.0, 1.0))
    np.testing.assert_allclose(model(photos()), want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
    rgb = model.get_layer("conv1_1").get_weights()[0]
    np.testing.assert_array_equal(rgb[:, :, 0], layers()["conv1_1"][0].transpose(2, 3, 1, 0)[:, :, 2])
    np.testing.assert_allclose(-np.array(model.get_layer("subtract_mean").offset), caffe._MEAN_RGB, rtol=1e-6)


def test_the_table_tells_what_became_of_every_array(tmp_path):
    path = save(tmp_path, layers(), fc8_0=np.zeros((2, 2)), scale_pool4_0=np.float32(0.01))
    rows = {row.variable: row for row in pretrained.table(path, made(path))}
    assert rows["fc6_0"] == ("fc6_0", (HIDDEN, WIDTHS[-1], 7, 7), "loaded", "conv6 kernel")
    assert rows["upscore_pool4_0"].note == "upsample_pool3 kernel" and rows["conv5_3_1"].note == "conv5_3 bias"
    assert rows["score_pool3_0"].note == "score_pool3 kernel, times 10000: skips are scaled otherwise here"
    assert rows["score_pool4_0"].note == "score_pool4 kernel"  # scaled there as here
    plain = {row.variable: row.note for row in pretrained.table(path, made(path, plain_skips=True))}
    assert plain["score_pool4_0"] == "score_pool4 kernel, times 0.01: skips are scaled otherwise here"
    assert plain["score_pool3_0"] == "score_pool3 kernel"
    assert rows["scale_pool4_0"].note == "into the kernel of score_pool4"
    assert rows["fc8_0"][2:] == ("skipped", "unknown")
    last = weights_table.show(list(rows.values())).splitlines()[-1]
    assert last == f"{2 * (13 + 2 + 3) + 3 + 1} loaded, 0 reshaped, 1 skipped"


def test_other_shapes_of_the_same_numbers_are_reshaped(tmp_path):
    arrays = layers()
    arrays["fc6"][0] = arrays["fc6"][0].reshape(HIDDEN, -1)
    arrays["conv1_1"][1] = arrays["conv1_1"][1].reshape(1, 1, 1, -1)
    path = save(tmp_path, arrays)
    model = made(path)
    np.testing.assert_array_equal(model.get_layer("conv6").get_weights()[0], layers()["fc6"][0].transpose(2, 3, 1, 0))
    assert [row.variable for row in pretrained.table(path, model) if row.action == "reshaped"] == ["conv1_1_1", "fc6_0"]


def test_another_number_of_classes_and_another_arch_take_what_fits(tmp_path):
    path = save(tmp_path, layers())
    model = made(path, classes=5)
    skipped = {row.note.split()[0] for row in pretrained.table(path, model) if row.action == "skipped"}
    assert skipped == {"conv8", "score_pool4", "score_pool3", "upsample_pool4", "upsample_pool3", "upsample8"}
    assert not np.any(model.get_layer("conv8").get_weights()[0])
    coarse = made(path, "fcn16s")
    np.testing.assert_array_equal(
        coarse.get_layer("upsample_pool4").get_weights()[0], layers()["upscore2"][0].transpose(2, 3, 1, 0)
    )
    rows = {row.variable: row.note for row in pretrained.table(path, coarse)}
    assert rows["upscore8_0"] == "--arch=fcn16s has no upsample8"


@pytest.mark.parametrize("arch", ["fcn8s", "original", "light"])
def test_networks_of_other_layers_are_refused(arch, tmp_path):
    with pytest.raises(UserError, match="is an FCN of Caffe, whose networks are --arch=fcn32s, fcn16s, fcn8s_paper"):
        made(save(tmp_path, layers()), arch)


def test_the_trunk_alone_goes_under_any_head(tmp_path):
    trunk = {name: pair for name, pair in layers().items() if name.startswith("conv")}
    path = save(tmp_path, trunk)
    model = made(path, "fcn8s")
    np.testing.assert_array_equal(
        model.get_layer("conv3_2").get_weights()[0], trunk["conv3_2"][0].transpose(2, 3, 1, 0)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("conv1_1"), "is no FCN of Caffe: it has no conv1_1"),
        (lambda arrays: arrays.pop("conv3_2"), "without conv3_2"),
        (lambda arrays: arrays["conv2_1"].pop(), "conv2_1 has no bias"),
        (lambda arrays: arrays["conv2_1"].append(np.zeros(2)), "conv2_1 has 3 arrays"),
        (lambda arrays: arrays["fc7"][0].fill(np.nan), "fc7 has NaN"),
        (lambda arrays: arrays.update(score_fr=[np.zeros((4, 48))]), r"score_fr_0 has the shape \(4, 48\)"),
    ],
)
def test_other_arrays_are_user_errors(change, message, tmp_path):
    arrays = layers()
    change(arrays)
    with pytest.raises(UserError, match=message):
        made(save(tmp_path, arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04no", b"\x93NUMPY"])
def test_a_damaged_file_is_a_user_error(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="or damaged"):
        caffe.read(str(tmp_path / "a.npz"))


def test_a_bomb_is_not_inflated(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", conv1_1_0=np.zeros(40_000_000, np.float32))
    with pytest.raises(UserError, match="bytes would become 160,000,"):
        caffe.read(str(tmp_path / "a.npz"))


def test_pickles_are_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", conv1_1_0=np.array([{}], object))
    with pytest.raises(UserError, match="or damaged"):
        caffe.read(str(tmp_path / "a.npz"))
