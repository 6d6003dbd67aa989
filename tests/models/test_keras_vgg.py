"""Keras' VGG files: the same picture gives the same features, and hostile files are refused."""

import h5py
import numpy as np
import pytest

from fcn_tf.errors import UserError
from fcn_tf.models import keras_vgg, pretrained, vgg
from tests import matfiles

WIDTHS = (2, 3, 4, 5, 6)
KERAS_NAMES = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}


def theirs(name):
    return KERAS_NAMES[name] if name in KERAS_NAMES else f"block{name[4]}_conv{name[6]}"


def write(path, convs, *, form="first"):
    """The kernels as they are, under the names of Keras' first files, of Keras 2 or of Keras 3."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", *(theirs(name).encode() for name in convs)]
        file.create_group("block1_pool")
        for name, (kernel, bias) in convs.items():
            layer = theirs(name)
            kernel = kernel.reshape(-1, kernel.shape[3]) if name.startswith("fc") else kernel
            names = {
                "first": (f"{layer}_W_1:0", f"{layer}_b_1:0"),
                "second": (f"{layer}/kernel:0", f"{layer}/bias:0"),
                "third": ("vars/0", "vars/1"),
            }[form]
            for each, array in zip(names, (kernel, bias), strict=True):
                file[f"{layer}/{each}"] = array
    return str(path)


@pytest.mark.parametrize("form", ["first", "second", "third"])
@pytest.mark.parametrize("depth", [16, 19])
def test_every_kernel_in_its_place_and_bgr_becomes_rgb(depth, form, tmp_path):
    convs = matfiles.vgg_convs(depth, WIDTHS, hidden=8)
    convs["fc8"] = np.ones((1, 1, 8, 5), np.float32), np.zeros(5, np.float32)
    net = keras_vgg.read(write(tmp_path / "a.h5", convs, form=form))
    assert list(net.convs) == list(convs)
    for name, (kernel, bias) in convs.items():
        wanted = kernel[:, :, ::-1] if name == "conv1_1" else kernel
        np.testing.assert_array_equal(net.convs[name].kernel, wanted)
        np.testing.assert_array_equal(net.convs[name].bias, bias)
    np.testing.assert_allclose(net.mean_rgb, (123.68, 116.779, 103.939))


def test_features_are_those_of_keras_own_network(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    reference = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        for layer in reference.layers:
            for name, array in zip(("kernel", "bias"), layer.get_weights(), strict=False):
                file[f"{layer.name}/{name}"] = array
    images = keras.Input((None, None, 3))
    trunk = vgg.vgg(images, weights=path, model_dir="")  # without a head, which would be as wide
    ours = keras.Model(images, trunk.features["stride32"])
    for name, arrays in trunk.weights.items():
        ours.get_layer(name).set_weights(arrays)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    wanted = reference(keras.applications.vgg16.preprocess_input(picture.copy()))
    np.testing.assert_allclose(ours(picture), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def spoil(path, name, value):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


CONV2_1 = "block2_conv1/block2_conv1_W_1:0"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (CONV2_1, h5py.ExternalLink("other.h5", "/secret"), "is a link"),
        (CONV2_1, h5py.SoftLink("/block1_conv1"), "is a link"),
        ("block2_conv1", h5py.ExternalLink("other.h5", "/"), "is a link"),
        ("block2_conv1", None, "nearest to VGG16, but without conv2_1"),
        (CONV2_1, None, r"block2_conv1 holds \(3,\) instead of a kernel and a bias"),
        (CONV2_1, np.zeros((3, 3, 2, 3), int), "no plain array"),
        (CONV2_1, np.array([b"text"], "S4"), "no plain array"),
        (CONV2_1, np.full((3, 3, 2, 3), np.nan, np.float32), "NaN"),
        (CONV2_1, np.zeros((3, 3, 5, 3), np.float32), "kernel conv2_1 has shape"),
        ("fc1/fc1_W_1:0", np.zeros((7, 8), np.float32), r"fc6 has a kernel \(7, 8\), above 6 channels"),
    ],
)
def test_what_is_no_vgg_of_plain_arrays_is_refused(name, value, reason, tmp_path):
    path = write(tmp_path / "a.h5", matfiles.vgg_convs(16, WIDTHS, hidden=8))
    spoil(path, name, value)
    with pytest.raises(UserError, match=reason) as caught:
        keras_vgg.read(path)
    assert "\n" not in str(caught.value)


def test_arrays_that_are_kept_elsewhere_or_are_too_large_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(1000))
    for arguments in (
        {"shape": (3, 3, 2, 3), "external": [(str(tmp_path / "secret"), 0, 1000)]},
        {"shape": (3, 3, 2**20, 2**20), "chunks": (3, 3, 16, 16)},  # never written: a few bytes in the file
    ):
        path = write(tmp_path / "a.h5", matfiles.vgg_convs(16, WIDTHS))
        with h5py.File(path, "r+") as file:
            del file[CONV2_1]
            file.create_dataset(CONV2_1, dtype="f4", **arguments)
        with pytest.raises(UserError, match="no plain array"):
            keras_vgg.read(path)


def test_damaged_files_are_one_line(tmp_path):
    path = write(tmp_path / "a.h5", matfiles.vgg_convs(16, WIDTHS))
    whole = (tmp_path / "a.h5").read_bytes()
    rng = np.random.default_rng(0)
    for data in (b"", b"text", whole[:1000], whole[:-500]):
        (tmp_path / "a.h5").write_bytes(data)
        with pytest.raises(UserError, match="damaged"):
            keras_vgg.read(path)
    for _ in range(50):
        flipped = np.frombuffer(whole, np.uint8).copy()
        flipped[rng.integers(0, len(whole), 20)] = rng.integers(0, 256, 20)
        (tmp_path / "a.h5").write_bytes(flipped.tobytes())
        try:
            keras_vgg.read(path)
        except UserError as error:
            assert "\n" not in str(error)


def test_weights_takes_them_by_their_ending(tmp_path):
    path = write(tmp_path / "a.H5", matfiles.vgg_convs(16, WIDTHS))
    assert list(pretrained.read(path)[0].convs)[-1] == "conv5_3"
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.pth: .*pickle.*convert_torchvision.py --input=.*a\.pth"):
        pretrained.read(str(tmp_path / "a.pth"))
