import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from fcn_tf.errors import UserError
from fcn_tf.models import matconvnet
from fcn_tf.models.matconvnet import ConvWeights, MatConvNet
from tests.matfiles import MEAN_RGB, STAGES, cell, vgg_convs, write_mat

URL = "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat"
STAND_IN = Path(__file__).parents[3] / "shared/models/imagenet-vgg-verydeep-19.mat"


def error_of(path):
    """The message, which must be one line that names the file."""
    with pytest.raises(UserError) as caught:
        matconvnet.read(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: ")
    return message


def net_of(convs, mean=MEAN_RGB):
    return MatConvNet({name: ConvWeights(*conv) for name, conv in convs.items()}, np.array(mean, np.float32))


@pytest.mark.parametrize("layout", ["beta16", "newer"])
@pytest.mark.parametrize("compress", [False, True])
def test_reads_both_layouts(tmp_path, layout, compress):
    convs = vgg_convs(19, hidden=8)
    net = matconvnet.read(write_mat(tmp_path / "a.mat", convs, layout=layout, compress=compress))
    assert list(net.convs) == list(convs) and len(convs) == 18
    for name, (kernel, bias) in convs.items():
        np.testing.assert_array_equal(net.convs[name].kernel, kernel)
        np.testing.assert_array_equal(net.convs[name].bias, bias)
        assert net.convs[name].kernel.dtype == net.convs[name].bias.dtype == np.float32
    np.testing.assert_array_equal(net.mean_rgb, np.array(MEAN_RGB, np.float32))
    assert net.mean_rgb.dtype == np.float32


@pytest.mark.parametrize("depth", STAGES)
def test_depth_and_widths_follow_from_the_file(tmp_path, depth):
    net = matconvnet.read(write_mat(tmp_path / "a.mat", vgg_convs(depth, widths=(1, 2, 1, 3, 1))))
    assert len(net.convs) == depth - 3
    assert net.convs["conv1_1"].kernel.shape == (3, 3, 3, 1)
    assert net.convs["conv4_1"].kernel.shape == (3, 3, 1, 3)


def test_mean_is_over_the_pixels_of_the_picture(tmp_path):
    picture = np.zeros((2, 2, 3))
    picture[:, :, 0] = [[1, 2], [3, 6]]
    picture[0, 0, 2] = 4
    net = matconvnet.read(write_mat(tmp_path / "a.mat", vgg_convs(11), mean=picture))
    np.testing.assert_array_equal(net.mean_rgb, [3, 0, 1])


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), (1, 1, 3)])
def test_mean_may_be_one_colour(tmp_path, shape):
    mean = np.array([1.0, 2.0, 3.0]).reshape(shape)
    net = matconvnet.read(write_mat(tmp_path / "a.mat", vgg_convs(11), mean=mean, layout="newer"))
    np.testing.assert_array_equal(net.mean_rgb, [1, 2, 3])


def test_dimensions_of_one_that_matlab_dropped_come_back(tmp_path):
    convs = vgg_convs(11, widths=(1, 1, 1, 1, 1))
    dropped = {name: (kernel.squeeze(axis=3), bias) for name, (kernel, bias) in convs.items()}
    net = matconvnet.read(write_mat(tmp_path / "a.mat", dropped))
    for name, (kernel, _) in convs.items():
        np.testing.assert_array_equal(net.convs[name].kernel, kernel)


def test_doubles_become_singles(tmp_path):
    convs = {name: (kernel.astype(float), bias.astype(float)) for name, (kernel, bias) in vgg_convs(11).items()}
    net = matconvnet.read(write_mat(tmp_path / "a.mat", convs))
    assert net.convs["conv5_2"].kernel.dtype == np.float32


@pytest.mark.parametrize("layout", ["beta16", "newer"])
def test_what_is_written_reads_back(tmp_path, layout):
    convs = vgg_convs(16, hidden=8)
    matconvnet.write(tmp_path / "new" / "a.mat", net_of(convs), layout=layout)
    net = matconvnet.read(tmp_path / "new" / "a.mat")
    assert list(net.convs) == list(convs)
    for name, (kernel, bias) in convs.items():
        np.testing.assert_array_equal(net.convs[name].kernel, kernel)
        np.testing.assert_array_equal(net.convs[name].bias, bias)
    np.testing.assert_array_equal(net.mean_rgb, np.array(MEAN_RGB, np.float32))


def test_written_file_looks_like_matconvnets(tmp_path):
    matconvnet.write(tmp_path / "a.mat", net_of(vgg_convs(19)))
    contents = scipy.io.loadmat(tmp_path / "a.mat")
    layers = [layer[0, 0] for layer in contents["layers"][0]]
    assert len(layers) == 37  # 16 convolutions, 16 ReLUs, 5 pools
    assert layers[0].dtype.names == ("weights", "pad", "type", "name", "stride")
    names = [layer["name"].item() for layer in layers]
    assert names[:5] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"] and names[-1] == "pool5"
    assert contents["normalization"]["averageImage"].item().shape == (224, 224, 3)


def test_writing_is_deterministic(tmp_path):
    # Another process, another name, another second: SciPy alone would write the time.
    script = (
        "import sys; from fcn_tf.models import matconvnet; "
        "matconvnet.write(sys.argv[2], matconvnet.read(sys.argv[1])); "
        "assert 'tensorflow' not in sys.modules"
    )
    matconvnet.write(tmp_path / "a.mat", net_of(vgg_convs(11)))
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.mat", tmp_path / "b.mat"],
        check=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "SOURCE_DATE_EPOCH": "0"},
    )
    data = (tmp_path / "a.mat").read_bytes()
    assert data == (tmp_path / "b.mat").read_bytes()
    assert b"Created on" not in data


def test_write_refuses_what_read_would(tmp_path):
    convs = vgg_convs(11)
    del convs["conv3_2"]
    with pytest.raises(UserError, match="conv3_2"):
        matconvnet.write(tmp_path / "a.mat", net_of(convs))
    with pytest.raises(ValueError, match="layout"):
        matconvnet.write(tmp_path / "a.mat", net_of(vgg_convs(11)), layout="newest")
    assert not (tmp_path / "a.mat").exists()


def test_missing_file_says_where_to_get_it(tmp_path):
    message = error_of(str(tmp_path / "a.mat"))
    assert "no such file" in message and URL in message


def test_folder(tmp_path):
    assert "is a folder" in error_of(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes among files here")
def test_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "vgg.mat")
    assert "cannot be read: is a named pipe" in error_of(str(tmp_path / "vgg.mat"))


HDF5 = (
    b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2024 HDF5 schema 1.00 .".ljust(116)
    + bytes(8)
    + b"\x00\x02IM"
    + bytes(384)
    + b"\x89HDF\r\n\x1a\n"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html>\n<html><body>Sign in</body></html>" * 20, "web page (HTML)"),
        (b"<html>", "web page (HTML)"),
        (HDF5, "MATLAB 7.3 (HDF5)"),
        (HDF5[512:] + bytes(200), "an HDF5 file, such as a .h5 of Keras"),
        (b"MATLAB 5.0 MAT-file, Platform", "cut short in its header"),
        (b"PK\x03\x04" + bytes(500), "not a MATLAB 5 to 7 file: it starts with b'PK"),
        (np.random.default_rng(0).bytes(4096), "not a MATLAB 5 to 7 file"),
        (b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"\xff" * 500, "no variable begins at byte 128"),
    ],
    ids=["empty", "page", "short-page", "v7.3", "hdf5", "header", "zip", "random", "rubbish"],
)
def test_not_a_matlab_file(tmp_path, data, expected):
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    assert expected in error_of(str(path))


def test_a_trained_model_is_told_from_weights(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04" + bytes(500))
    message = error_of(str(path))
    assert "a trained Keras model" in message and f"--logs_dir={tmp_path}" in message
    assert "elete" not in message


@pytest.mark.parametrize(
    ("name", "source"),
    [("imagenet-vgg-verydeep-19.mat", "deep-19.mat"), ("imagenet-vgg-verydeep-16.mat", "deep-16.mat")],
)
def test_a_damaged_file_is_replaced_by_what_it_is_named_after(tmp_path, name, source):
    (tmp_path / name).write_bytes(b"<html>")
    assert error_of(str(tmp_path / name)).endswith(source)
    (tmp_path / "mine.mat").write_bytes(b"<html>")
    message = error_of(str(tmp_path / "mine.mat"))
    assert "other --weights" in message and "elete" not in message


@pytest.mark.parametrize("compress", [False, True])
def test_truncated_anywhere(tmp_path, compress):
    path = Path(write_mat(tmp_path / "a.mat", vgg_convs(11), compress=compress))
    data = path.read_bytes()
    for keep in (len(data) - 1, len(data) * 3 // 4, 300, 131):
        path.write_bytes(data[:keep])
        message = error_of(str(path))
        assert "cut short" in message and f"{keep:,} bytes" in message


def test_flipped_bytes_never_pass_in_silence(tmp_path):
    # The real file is compressed: its checksums must be looked at.
    path = Path(write_mat(tmp_path / "a.mat", vgg_convs(11), compress=True))
    data = bytearray(path.read_bytes())
    for position in np.random.default_rng(1).integers(144, len(data) // 2, 20):
        broken = data.copy()
        broken[position] ^= 0x55
        path.write_bytes(broken)
        error_of(str(path))


def test_other_matlab_file(tmp_path):
    path = str(tmp_path / "color150.mat")
    scipy.io.savemat(path, {"colors": np.zeros((150, 3), np.uint8), "more": 1})
    assert "no variable `layers`, found colors, more" in error_of(path)


def test_dagnn(tmp_path):
    path = str(tmp_path / "resnet.mat")
    layers = np.array(
        [[("conv1", "dagnn.Conv"), ("bn_conv1", "dagnn.BatchNorm")]], [("name", object), ("type", object)]
    )
    scipy.io.savemat(path, {"layers": layers, "params": 0, "vars": 0})
    assert "DagNN" in error_of(path)


def test_batch_normalisation_is_not_skipped(tmp_path):
    bnorm = {"name": "bn1_1", "type": "bnorm", "weights": cell([np.ones((4, 1))] * 3)}
    assert "'bn1_1', is of type 'bnorm'" in error_of(write_mat(tmp_path / "a.mat", vgg_convs(11), others=[bnorm]))


def test_duplicate(tmp_path):
    again = {"name": "conv1_1", "type": "conv", "weights": cell([np.zeros((3, 3, 3, 2)), np.zeros((1, 2))])}
    message = error_of(write_mat(tmp_path / "a.mat", vgg_convs(11), others=[again]))
    assert "two convolutions conv1_1" in message


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, "no cell `weights`"),
        (np.zeros((3, 3, 3, 2)), "no cell `weights`"),
        (cell([np.zeros((3, 3, 3, 2))]), "no cell `weights`"),
        (cell([np.zeros((3, 3, 3, 2)), "bias"]), "not plain numbers"),
        (cell([np.zeros((3, 3, 3, 2)) * 1j, np.zeros((1, 2))]), "not plain numbers"),
        (cell([np.zeros((3, 3, 3, 2)), np.zeros((0, 0))]), "bias conv1_1 has shape (0,), expected (2,)"),
    ],
    ids=["none", "bare", "one", "text", "complex", "no-bias"],
)
def test_malformed_weights(tmp_path, weights, expected):
    convs = vgg_convs(11)
    layer = {"name": "conv1_1", "type": "conv"} | ({} if weights is None else {"weights": weights})
    path = Path(write_mat(tmp_path / "a.mat", convs))
    contents = scipy.io.loadmat(path)
    contents["layers"][0, 0] = layer
    scipy.io.savemat(path, {name: contents[name] for name in ("layers", "normalization")})
    assert expected in error_of(str(path))


def without(name):
    return lambda convs: convs.pop(name)


def setting(name, kernel_shape, bias_length):
    return lambda convs: convs.update({name: (np.zeros(kernel_shape), np.zeros(bias_length))})


def moved_to_the_end(name):
    return lambda convs: convs.update({name: convs.pop(name)})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("conv3_2"), "nearest to VGG19, but without conv3_2"),
        (without("fc6"), "in the order"),
        (setting("conv5_5", (3, 3, 6, 6), 6), "convolution 'conv5_5'"),
        (moved_to_the_end("conv2_2"), "in the order"),
        (
            setting("conv1_1", (3, 3, 1, 2), 2),
            "kernel conv1_1 has shape (3, 3, 1, 2), expected (3, 3, 3, any)",
        ),
        (
            setting("conv2_1", (3, 3, 3, 3), 3),
            "kernel conv2_1 has shape (3, 3, 3, 3), expected (3, 3, 2, any)",
        ),
        (
            setting("conv1_2", (5, 5, 2, 2), 2),
            "kernel conv1_2 has shape (5, 5, 2, 2), expected (3, 3, 2, any)",
        ),
        (setting("conv1_2", (3, 3, 2, 2), 3), "bias conv1_2 has shape (3,), expected (2,)"),
        (setting("fc6", (7, 7, 5, 8), 8), "kernel fc6 has shape (7, 7, 5, 8), expected (any, any, 6, any)"),
    ],
)
def test_inconsistent_network(tmp_path, change, expected):
    convs = vgg_convs(19, hidden=8)
    change(convs)
    assert expected in error_of(write_mat(tmp_path / "a.mat", convs))


def test_one_convolution_too_many_for_the_depth(tmp_path):
    convs = vgg_convs(16, widths=(2, 2, 2, 2, 2))
    names = list(convs)
    names.insert(names.index("conv3_3") + 1, "conv3_4")
    convs["conv3_4"] = convs["conv3_3"]
    message = error_of(write_mat(tmp_path / "a.mat", {name: convs[name] for name in names}))
    assert "nearest to VGG16, but with conv3_4 as well" in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("part", [0, 1])
def test_weights_that_are_not_finite(tmp_path, bad, part):
    convs = vgg_convs(11)
    conv = [w.astype(float) for w in convs["conv4_2"]]
    conv[part].flat[1] = bad
    convs["conv4_2"] = tuple(conv)
    assert "conv4_2 has NaN or infinite" in error_of(write_mat(tmp_path / "a.mat", convs))


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (None, "no normalization.averageImage"),
        (np.array([["mean"]]), "no normalization.averageImage"),
        (np.zeros((4, 4)), "averageImage has shape (4, 4)"),
        (np.zeros((4, 4, 1)), "averageImage has shape"),
        (np.zeros((0, 0)), "averageImage has shape (0, 0)"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), 1e300), "infinite"),
    ],
)
@pytest.mark.parametrize("layout", ["beta16", "newer"])
def test_bad_mean(tmp_path, mean, expected, layout):
    assert expected in error_of(write_mat(tmp_path / "a.mat", vgg_convs(11), mean=mean, layout=layout))


@pytest.mark.skipif(not STAND_IN.exists(), reason="the stand-in VGG19 is not in ../shared")
def test_stand_in():
    net = matconvnet.read(STAND_IN)
    assert len(net.convs) == 16
    assert net.convs["conv1_1"].kernel.shape == (3, 3, 3, 64)
    assert net.convs["conv5_4"].kernel.shape == (3, 3, 512, 512)
    np.testing.assert_allclose(net.mean_rgb, [122.67892, 116.66877, 104.00699], rtol=1e-6)
