"""The reader of .mat files against SciPy's, and against damage that ends SciPy's process."""

import io
import json
import shutil
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io

from fcn_tf.io import matfile
from tests.conftest import ROOT
from tests.matfiles import cell
from tests.processes import start

TINY = ROOT / "fcn_tf/models/tiny-vgg19.mat"
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"


def saved(contents, **options):
    """The file that SciPy writes."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, contents, **options)
    return stream


def element(kind, data):
    """One element of a file: its tag, and its bytes up to a multiple of eight."""
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def array(kind, shape, content, name=b""):
    """An array of class `kind`."""
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name) + content)


def refused(data):
    """What the reader says about a variable `x` of these bytes."""
    with pytest.raises(matfile.Damaged) as caught:
        matfile.read(io.BytesIO(HEADER + data), ("x",))
    return str(caught.value)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "u4", "i8"])
def test_numbers_are_those_of_scipy(dtype, compress):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found, names = matfile.read(saved({"x": values, "y": 1.0}, do_compression=compress), ("x",))
    assert names == ["x", "y"] and list(found) == ["x"]
    np.testing.assert_array_equal(found["x"], values)
    assert found["x"].dtype == dtype and found["x"].flags.f_contiguous


def test_cells_structs_and_texts():
    contents = {"x": {"name": "conv1_1", "none": np.zeros((0, 0)), "weights": cell([np.eye(2), {"a": "é"}, ""])}}
    value = matfile.read(saved(contents), ("x",))[0]["x"]
    assert list(value) == ["name", "none", "weights"] and value["name"] == "conv1_1"
    assert value["none"].shape == (0, 0)
    np.testing.assert_array_equal(value["weights"][0], np.eye(2))
    assert value["weights"][1:] == ({"a": "é"}, "")


def test_an_array_of_structs_is_a_list():
    values = np.array([[(1.0,), (2.0,)]], [("a", object)])
    value = matfile.read(saved({"x": values}), ("x",))[0]["x"]
    assert [each["a"].item() for each in value] == [1, 2]


def test_what_has_no_use_is_none():
    contents = {"x": {"a": np.array([[1j]]), "b": scipy.sparse.csc_array(np.eye(3)), "c": np.array(["ab", "cd"])}}
    assert matfile.read(saved(contents), ("x",))[0]["x"] == {"a": None, "b": None, "c": None}


def test_big_endian():
    values = struct.pack(">II", 9, 16) + struct.pack(">2d", 1.5, -2)
    body = (
        struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 2) + struct.pack(">HH4s", 1, 1, b"x") + values
    )
    data = HEADER[:126] + b"MI" + struct.pack(">II", 14, len(body)) + body
    np.testing.assert_array_equal(matfile.read(io.BytesIO(data), ("x",))[0]["x"], [[1.5, -2]])


def test_lengths_are_held_against_what_is_left():
    numbers = element(9, struct.pack("<d", 1.0))
    assert "1 numbers in an array of shape (1000, 1000)" in refused(array(6, (1000, 1000), numbers, b"x"))
    assert "1000000000 elements in 0 bytes" in refused(array(1, (1, 10**9), b"", b"x"))
    assert "shape [-1, 1]" in refused(array(6, (-1, 1), numbers, b"x"))
    assert "4294967295 bytes announced" in refused(struct.pack("<II", 14, 2**32 - 1) + bytes(80))
    long = array(6, (1, 1), struct.pack("<II", 9, 2**31) + bytes(8), b"x")
    assert "bytes announced, 8 are left" in refused(long)
    assert "of type 9 where an array belongs" in refused(array(1, (1, 1), numbers, b"x"))


def test_nesting_is_bounded():
    data = array(6, (1, 1), element(9, bytes(8)))
    for _ in range(5000):
        data = array(1, (1, 1), data)
    assert "elements inside each other" in refused(array(1, (1, 1), data, b"x"))


def test_many_empty_elements():
    count = 10_000
    data = zlib.compress(array(1, (1, count), element(14, b"") * count, b"x"))
    found, _ = matfile.read(io.BytesIO(HEADER + struct.pack("<II", 15, len(data)) + data), ("x",))
    assert len(found["x"]) == count
    assert "more than 100000 elements" in refused(array(1, (1, 10**6), element(14, b"") * 10**6, b"x"))


def test_a_bomb_is_inflated_no_further_than_its_size_allows():
    data = zlib.compress(array(1, (1, 20), array(9, (1, 1 << 22), element(2, bytes(1 << 22))) * 20, b"x"))
    data = HEADER + struct.pack("<II", 15, len(data)) + data
    assert len(data) < 200_000 and matfile.most_bytes(len(data)) < 72e6
    tracemalloc.start()
    with pytest.raises(matfile.Damaged, match="bytes where at most"):
        matfile.read(io.BytesIO(data), ("x",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_never_ends_the_process(tmp_path, compressed):
    """Some of these ended it by signal 11 when SciPy read the file."""
    path = tmp_path / "tiny.mat"
    if compressed:
        shutil.copy(TINY, path)
    else:
        contents = scipy.io.loadmat(TINY)
        contents["normalization"]["averageImage"][0, 0] = np.zeros((1, 1, 3), np.float32)
        scipy.io.savemat(path, {name: contents[name] for name in ("layers", "normalization")})
    process = start("-m", "tests.flips", str(path), "60" if compressed else "240", "7")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    found = json.loads(output)
    assert found.pop("grown") < 100e6
    assert set(found) <= {"read", "refused"} and found["refused"] >= 20, found
