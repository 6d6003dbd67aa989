"""tools/convert_torchvision.py: state dicts as torch.save writes them, here by hand, and what is no state dict."""

import pickle
import struct
import zipfile

import numpy as np
import pytest

from fcn_tf.models import torchvision_vgg
from tests import matfiles
from tests.models.test_torchvision_vgg import VGG16, WIDTHS, state_dict
from tools import convert_torchvision

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
NUMBERS = np.arange(24, dtype=np.float32)


def code(value):
    """The opcodes that make a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(key, storage, shape, strides, *, offset=0, rebuild="_rebuild_tensor_v2", view=b""):
    """The opcodes of a tensor; those of old files say, too, which part of a storage they view."""
    kind = b"ctorch\n" + STORAGES[storage.dtype.name].encode() + b"\n"
    place = b"(" + code("storage") + kind + code(key) + code("cpu") + code(storage.size) + view + b"tQ"
    more = b"\x89ccollections\nOrderedDict\n)R" if rebuild.endswith("v2") else b""
    numbers = code(offset) + code(shape) + code(strides)
    return b"ctorch._utils\n" + rebuild.encode() + b"\n(" + place + numbers + more + b"tR"


def named(tensors):
    """The pickle of an ordered dict of {name: opcodes}, with `_metadata` as a state dict has it."""
    items = b"".join(code(name) + value for name, value in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u" + code({"_metadata": {"": 1}}) + b"b."


def write_zip(path, content, storages, byteorder="little"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vgg/data.pkl", content)
        archive.writestr("vgg/byteorder", byteorder)
        for key, storage in storages.items():
            archive.writestr(f"vgg/data/{key}", storage.tobytes())


def write_parts(path, content, storages, system=SYSTEM):
    begin = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system)]
    numbers = [struct.pack("<q", storage.size) + storage.tobytes() for storage in storages.values()]
    path.write_bytes(b"".join([*begin, content, pickle.dumps(list(storages), 2), *numbers]))


def convert(path):
    return convert_torchvision.main([f"--input={path}", f"--output={path}.safetensors"])


@pytest.mark.parametrize(
    ("write", "options"),
    [(write_zip, {}), (write_parts, {"view": b"N"}), (write_parts, {"view": b"N", "rebuild": "_rebuild_tensor"})],
)
def test_weights_takes_what_is_written(write, options, tmp_path, capsys):
    convs = matfiles.vgg_convs(16, WIDTHS, hidden=8)
    arrays = {name: np.ascontiguousarray(array) for name, array in state_dict(convs, VGG16).items()}
    storages = {str(number): array for number, array in enumerate(arrays.values())}
    tensors = {
        name: tensor(key, array, array.shape, tuple(stride // 4 for stride in array.strides), **options)
        for (name, array), key in zip(arrays.items(), storages, strict=True)
    }
    path = tmp_path / "vgg16.pth"
    write(path, named(tensors), storages)
    assert convert(path) == 0
    assert f"{path}.safetensors: {2 * 15} arrays, " in capsys.readouterr().out
    found = torchvision_vgg.read(f"{path}.safetensors").convs
    assert list(found) == list(convs)
    np.testing.assert_array_equal(found["conv5_3"].kernel, convs["conv5_3"][0])
    np.testing.assert_array_equal(found["fc7"].bias, convs["fc7"][1])


@pytest.mark.parametrize("write", [write_zip, write_parts])
def test_parts_of_storages_and_other_floats(write, tmp_path):
    end = b"N" if write is write_parts else b""
    tensors = {
        "turned": tensor("a", NUMBERS, (6, 4), (1, 6), view=end),
        "part": tensor("a", NUMBERS, (2, 3), (3, 1), offset=12, view=end),
        "one": tensor("a", NUMBERS, (), (), offset=23, view=end),
        "half": tensor("b", NUMBERS.astype(np.float16), (24,), (1,), view=end),
    }
    if write is write_parts:
        tensors["view"] = tensor("a", NUMBERS, (2,), (1,), offset=1, view=code(("c", 10, 4)))
    path = tmp_path / "a.pth"
    write(path, named(tensors), {"a": NUMBERS, "b": NUMBERS.astype(np.float16)})
    found = convert_torchvision.read(str(path))
    wanted = {"turned": NUMBERS.reshape(4, 6).T, "part": NUMBERS[12:18].reshape(2, 3), "one": NUMBERS[23]}
    wanted |= {"half": NUMBERS, "view": NUMBERS[11:13]}
    assert {name: kind for name, (kind, _) in found.items() if kind != "F32"} == {"half": "F16"}
    for name, (_, array) in found.items():
        np.testing.assert_array_equal(array, wanted[name])
    assert convert(path) == 0
    assert list(torchvision_vgg._tensors("a", (tmp_path / "a.pth.safetensors").read_bytes())) == list(tensors)


def whole(**changes):
    """The pickle of one tensor."""
    return named({"a": tensor("a", NUMBERS, **{"shape": (24,), "strides": (1,), **changes})})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cposix\nsystem\n(X\x04\x00\x00\x00truetR.", "it names posix.system"),
        (b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "it names builtins.eval"),
        # Hashing that would take for ever, and a change that would outlast the file.
        (b"ccollections\nOrderedDict\n)R(K\x01" + b"2\x86" * 60 + b"K\x01u.", "it names something by a tuple"),
        (b"ctorch._utils\n_rebuild_parameter\nN}X\x01\x00\x00\x00xK\x01s\x86b.", "it changes a function"),
        (named({"a": tensor("a", np.arange(3), (3,), (1,))}), "it names torch.LongStorage"),
        (named({"a": tensor("b", NUMBERS, (24,), (1,))}), "KeyError"),
        (named({"a": code(1)}), "its 'a' is int"),
        (code([1]) + b".", "it holds list"),
        (named({}), "it holds nothing"),
        (whole(offset=1), "from 1 on in 24 numbers"),
        (whole(offset=-1), "from -1 on in 24 numbers"),
        (whole(shape=(2**40,), strides=(0,)), "in 24 numbers"),
        (whole(shape=(2, 12), strides=(-1, 1)), "in 24 numbers"),
        (whole(strides=(1, 1)), "ValueError: zip"),
        (whole()[:-20], "damaged"),
        (b"", "damaged"),
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_parts])
def test_anything_else_is_refused_in_one_line(content, said, write, tmp_path, capsys):
    path = tmp_path / "a.pth"
    write(path, content, {"a": NUMBERS})
    assert convert(path) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path}: ") and told.count("\n") == 1 and said in told and len(told) < 600
    assert [each.name for each in tmp_path.iterdir()] == ["a.pth"]


def test_tensors_that_share_numbers_do_not_multiply(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(convert_torchvision.archives, "most_bytes", lambda size: 2 * size)
    numbers = np.zeros(10_000, np.float32)
    tensors = {f"{i}": tensor("a", numbers, numbers.shape, (1,)) for i in range(60)}
    write_zip(tmp_path / "a.pth", named(tensors), {"a": numbers})
    assert convert(tmp_path / "a.pth") == 2 and "would become 2,400,000 bytes" in capsys.readouterr().err


def test_files_of_other_kinds_are_refused(tmp_path, capsys):
    path = tmp_path / "a.pth"
    write_zip(path, whole(), {"a": NUMBERS}, "big")
    zipped = path.read_bytes()
    write_parts(path, whole(), {"a": NUMBERS}, SYSTEM | {"little_endian": False})
    turned = path.read_bytes()
    write_parts(path, whole(), {"a": NUMBERS})
    good = path.read_bytes()
    too_many = good.replace(struct.pack("<q", 24), struct.pack("<q", 2**60))
    for data in (zipped, turned, good[:-4], good[:10], too_many, b"", b"<html>", b"PK\x03\x04", bytes(600)):
        path.write_bytes(data)
        assert convert(path) == 2
        assert capsys.readouterr().err.count("\n") == 1
    path.write_bytes(good)
    for source, target in ((tmp_path / "none.pth", "a.safetensors"), (tmp_path, "a.safetensors"), (path, "a.npz")):
        assert convert_torchvision.main([f"--input={source}", f"--output={tmp_path / target}"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "folder.safetensors").mkdir()
    assert convert_torchvision.main([f"--input={path}", f"--output={tmp_path / 'folder.safetensors'}"]) == 2
    assert "folder.safetensors: " in capsys.readouterr().err
