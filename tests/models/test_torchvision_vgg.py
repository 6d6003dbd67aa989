"""torchvision's VGG files: its preprocessing becomes part of conv1_1, and hostile files are refused."""

import json
import struct

import keras
import numpy as np
import pytest

from fcn_tf.errors import UserError
from fcn_tf.models import build, pretrained, torchvision_vgg
from tests import matfiles

WIDTHS = (2, 3, 4, 5, 6)
MEAN, DEVIATION = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
# torchvision.models.vgg16().features: the numbers of its convolutions.
VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG11 = (0, 3, 6, 8, 11, 13, 16, 18)


def state_dict(convs, numbers):
    """{name: array} as torchvision has it."""
    trunk = [conv for name, conv in convs.items() if name.startswith("conv")]
    tensors = {}
    for number, (kernel, bias) in zip(numbers, trunk, strict=True):
        tensors[f"features.{number}.weight"] = kernel.transpose(3, 2, 0, 1)
        tensors[f"features.{number}.bias"] = bias
    for number, name in ((0, "fc6"), (3, "fc7")):
        if name in convs:
            kernel, bias = convs[name]
            tensors[f"classifier.{number}.weight"] = kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[3], -1)
            tensors[f"classifier.{number}.bias"] = bias
    return tensors


KINDS = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64"}


def write(path, tensors, *, kind=None, **header):
    """A .safetensors file, by other means than its library."""
    about, data = dict(header), b""
    for name, tensor in tensors.items():
        raw = np.ascontiguousarray(tensor).tobytes()
        if kind == "BF16":
            raw = (np.ascontiguousarray(tensor, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        place = [len(data), len(data) + len(raw)]
        about[name] = {"dtype": kind or KINDS[tensor.dtype.name], "shape": tensor.shape, "data_offsets": place}
        data += raw
    text = json.dumps(about).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return str(path)


@pytest.mark.parametrize(("depth", "numbers"), [(11, VGG11), (16, VGG16)])
def test_every_kernel_in_its_place(depth, numbers, tmp_path):
    convs = matfiles.vgg_convs(depth, WIDTHS, hidden=8)
    net = torchvision_vgg.read(write(tmp_path / "a.safetensors", state_dict(convs, numbers), __metadata__={}))
    assert list(net.convs) == list(convs)
    for name, (kernel, bias) in convs.items():
        factor = {"conv1_1": 58 / (255 * DEVIATION[:, None]), "fc6": 1 / 58}.get(name, 1.0)
        np.testing.assert_allclose(net.convs[name].kernel, kernel * factor, rtol=1e-6)
        np.testing.assert_allclose(net.convs[name].bias, bias if name.startswith("fc") else 58 * bias, rtol=1e-6)
    np.testing.assert_allclose(net.mean_rgb, 255 * MEAN, rtol=1e-6)


def test_the_first_layer_sees_what_torchvision_sees(tmp_path):
    convs = matfiles.vgg_convs(16, WIDTHS)
    path = write(tmp_path / "a.safetensors", state_dict(convs, VGG16))
    model = build.build_model("fcn8s", num_classes=2, weights=path)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 20, 30, 3)).astype(np.float32)
    found = keras.Model(model.input, model.get_layer("conv1_1").output)(picture)
    normalized = ((picture / 255 - MEAN) / DEVIATION).astype(np.float32)
    wanted = keras.ops.conv(normalized, convs["conv1_1"][0], padding="same") + convs["conv1_1"][1]
    np.testing.assert_allclose(found / 58, wanted, atol=1e-4)  # the borders, too: zeros are the mean in both


def test_layers_above_see_what_torchvision_computes(tmp_path):
    """The tutorials' head its features, the paper's conv6 what its fully connected layers see."""
    convs = matfiles.vgg_convs(11, WIDTHS, hidden=48)
    path = write(tmp_path / "a.safetensors", state_dict(convs, VGG11))
    picture = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    x, wanted = ((picture / 255 - MEAN) / DEVIATION).astype(np.float32), {}
    for name, (kernel, bias) in convs.items():
        x = keras.ops.relu(keras.ops.conv(x, kernel, padding="same") + bias)
        if name.startswith("fc"):
            wanted[f"relu{name[2:]}"] = x
        elif name in ("conv1_1", "conv2_1", "conv3_2", "conv4_2", "conv5_2"):
            x = wanted[f"scale_pool{name[4]}"] = keras.ops.max_pool(x, 2)
    for arch, names in {"fcn8s_pytorch": "scale_pool3 scale_pool4 scale_pool5", "fcn32s": "relu6 relu7"}.items():
        model = build.build_model(arch, num_classes=2, weights=path, dropout_rate=0.0)
        for name in names.split():
            found = keras.Model(model.input, model.get_layer(name).output)(picture)
            assert np.std(wanted[name]) > 0.01
            np.testing.assert_allclose(found, wanted[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", ["F64", "F16", "BF16"])
def test_other_floats(kind, tmp_path):
    convs = matfiles.vgg_convs(16, WIDTHS)
    dtype = {"F64": np.float64, "F16": np.float16, "BF16": np.float32}[kind]
    tensors = {name: tensor.astype(dtype) for name, tensor in state_dict(convs, VGG16).items()}
    net = torchvision_vgg.read(write(tmp_path / "a.safetensors", tensors, kind=kind))
    assert net.convs["conv2_1"].kernel.dtype == np.float32
    np.testing.assert_allclose(net.convs["conv2_1"].kernel, convs["conv2_1"][0], rtol=0.01, atol=1e-4)


def test_another_network_is_refused(tmp_path):
    tensors = state_dict(matfiles.vgg_convs(16, WIDTHS, hidden=8), VGG16)
    bias = tensors["features.2.bias"]
    for change, reason in (
        ({"features.1.running_mean": bias}, "batch normalisation"),
        ({"features.3.weight": bias, "features.3.bias": bias}, "layers features.0, features.2, features.3"),
        ({"classifier.1.weight": bias, "classifier.1.bias": bias}, "a layer classifier.1"),
        ({"features.2.bias": None}, "features.2 has only weight"),
        ({"features.2.weight": bias}, "features.2 has a kernel"),
        ({"classifier.0.weight": np.zeros((8, 7), np.float32)}, "fc6 has a kernel"),
        ({"features.2.weight": np.full_like(tensors["features.2.weight"], np.inf)}, "infinite"),
        ({"features.2.bias": bias.astype(np.int64)}, "other than float"),
    ):
        changed = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(UserError, match=reason) as caught:
            torchvision_vgg.read(write(tmp_path / "a.safetensors", changed))
        assert "\n" not in str(caught.value)


def test_hostile_headers_are_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path, state_dict(matfiles.vgg_convs(16, WIDTHS), VGG16))
    whole = path.read_bytes()
    entry = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    headers = [
        [1], "text", {"a": 1}, {"a": entry | {"shape": [2**62, 4]}}, {"a": entry | {"shape": [-3]}},
        {"a": entry | {"data_offsets": [-12, 0]}}, {"a": entry | {"data_offsets": [0, 10**30]}},
        {"a": entry | {"data_offsets": [0]}}, {"a": entry | {"shape": [[3]]}}, {"a": entry | {"dtype": "OBJECT"}},
        {"a": entry | {"shape": [True, 3]}},
    ]  # fmt: skip
    texts = [json.dumps(header).encode() for header in headers] + [b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff\xfe"]
    damaged = [struct.pack("<Q", len(text)) + text + bytes(12) for text in texts]
    for data in (b"", whole[:7], whole[:1000], whole[:-4], struct.pack("<Q", 2**63) + whole[8:], *damaged):
        path.write_bytes(data)
        with pytest.raises(UserError) as caught:
            torchvision_vgg.read(str(path))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_weights_takes_them_by_their_ending(tmp_path):
    path = write(tmp_path / "a.safetensors", state_dict(matfiles.vgg_convs(16, WIDTHS), VGG16))
    assert list(pretrained.read(path)[0].convs)[-1] == "conv5_3"


def test_timms_names_are_the_same_network(tmp_path):
    convs = matfiles.vgg_convs(16, WIDTHS, hidden=8)
    tensors = state_dict(convs, VGG16) | {"head.fc.weight": np.ones((3, 8), np.float32), "head.fc.bias": np.ones(3)}
    for theirs, ours in (("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2")):
        kernel = convs["fc6" if theirs.endswith("0") else "fc7"][0]
        tensors |= {f"{ours}.weight": kernel.transpose(3, 2, 0, 1), f"{ours}.bias": tensors.pop(f"{theirs}.bias")}
        del tensors[f"{theirs}.weight"]
    found = torchvision_vgg.read(write(tmp_path / "a.safetensors", tensors)).convs
    assert list(found) == [*convs, "fc8"]
    np.testing.assert_array_equal(found["fc7"].kernel, convs["fc7"][0])
    twice = tensors | {"classifier.0.weight": tensors["pre_logits.fc1.weight"], "classifier.0.bias": np.ones(8)}
    with pytest.raises(UserError, match="a layer classifier.0"):
        torchvision_vgg.read(write(tmp_path / "a.safetensors", twice))
