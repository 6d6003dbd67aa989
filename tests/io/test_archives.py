"""Zip and gzip files of others: bombs, ways out of the folder, and damage at every byte."""

import gzip
import io
import stat
import zipfile

import numpy as np
import pytest

from fcn_tf.data.datasets import ade20k
from fcn_tf.errors import UserError
from fcn_tf.io import archives

TOP = "ADEChallengeData2016"


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    """Writes a zip of {name: bytes}; returns its path."""
    with zipfile.ZipFile(path, "w", compression) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return str(path)


def refused(archive, folder):
    """The one line of the error."""
    with pytest.raises(UserError) as caught:
        ade20k.unpack(archive, str(folder))
    assert "\n" not in str(caught.value) and str(caught.value).startswith(archive)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../a", "images/../../../a", "/etc/a", "images\\..\\a", "C:/a"])
def test_no_file_lands_outside(tmp_path, name):
    """Names that begin with the folder, and others, which are not unpacked."""
    root = tmp_path / "data"
    root.mkdir()
    for number, where in enumerate((name, f"{TOP}/{name}")):
        if archives.is_inside(where):
            continue
        archive = zipped(tmp_path / f"{number}.zip", {f"{TOP}/images/a.jpg": b"a", where: b"outside"})
        assert "would land outside" in refused(archive, root / TOP)
    assert not any(root.rglob("*")) and not (tmp_path / "a").exists()


def test_a_link_in_a_zip_is_no_link_on_the_disk(tmp_path):
    link = zipfile.ZipInfo(f"{TOP}/images")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(link, str(tmp_path))
        opened.writestr(f"{TOP}/images/a.jpg", b"a")
    refused(str(tmp_path / "a.zip"), tmp_path / "data" / TOP)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*")) and not (tmp_path / "a.jpg").exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    archive = zipped(tmp_path / "a.zip", {f"{TOP}/{i}": bytes(1 << 24) for i in range(6)})
    assert "would become 100,663,296" in refused(archive, tmp_path / "data" / TOP)
    assert not (tmp_path / "data").exists()


def test_damage_is_told_in_one_line(tmp_path):
    members = {f"{TOP}/images/{i}.txt": np.random.default_rng(i).bytes(50) * 3 for i in range(4)}
    whole = zipped(tmp_path / "a.zip", members)
    data, rng = (tmp_path / "a.zip").read_bytes(), np.random.default_rng(0)
    found = 0
    for number in range(300):
        harmed = bytearray(data)
        harmed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (tmp_path / "b.zip").write_bytes(harmed if number % 3 else data[: rng.integers(len(data))])
        try:
            ade20k.unpack(str(tmp_path / "b.zip"), str(tmp_path / str(number) / TOP))
        except UserError as error:
            assert "\n" not in str(error)
            found += 1
    assert found > 200
    ade20k.unpack(whole, str(tmp_path / "whole" / TOP))
    assert (tmp_path / "whole" / TOP / "images/3.txt").read_bytes() == members[f"{TOP}/images/3.txt"]


def test_two_files_of_one_name():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened, pytest.warns(UserWarning):
        opened.writestr("a", b"1")
        opened.writestr("a", b"2")
    with pytest.raises(zipfile.BadZipFile, match="one name"):
        archives.check_zip(buffer)


def test_gunzip_gives_what_gzip_took():
    data = gzip.compress(b"one") + gzip.compress(b"two")
    assert archives.gunzip(data) == b"onetwo"
    with pytest.raises(ValueError, match="cut short"):
        archives.gunzip(data[:-4])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        archives.gunzip(b"onetwo")
    with pytest.raises(ValueError, match="would become more than"):
        archives.gunzip(gzip.compress(bytes(80 << 20)))
