"""Scans: what is kept of a photo and of a mask, and that no file is read twice."""

import os

import numpy as np
import pytest
from PIL import Image

from fcn_tf.data.base import Example
from fcn_tf.data.quality import scan
from fcn_tf.data.quality.scan import FileScanCache
from tests.mask_files import indexed
from tests.prepared import photo, write


@pytest.fixture
def examples(tmp_path):
    """Three photos of 20x24 with masks of 0 and 1."""
    for number in range(3):
        write(tmp_path / f"images/{number}.png", photo(number))
        write(tmp_path / f"masks/{number}.png", np.tile([0, 1, 1, 1], (24, 5)))
    return [Example(f"{n}", str(tmp_path / f"images/{n}.png"), str(tmp_path / f"masks/{n}.png")) for n in range(3)]


@pytest.fixture
def read(monkeypatch):
    """The paths that are read, in whatever order."""
    paths: list[str] = []

    def noting(path, **options):
        paths.append(path)
        return whole(path, **options)

    whole = scan.read_file
    monkeypatch.setattr(scan, "read_file", noting)
    return paths


def test_what_is_kept_by_hand(examples):
    found = FileScanCache().masks(examples)[examples[0].label]
    assert found.error == "" and found.histogram is not None
    assert found.histogram.counts == {0: 24 * 5, 1: 24 * 15} and found.histogram.distinct == 2
    assert (found.histogram.width, found.histogram.height) == (20, 24)
    info = FileScanCache().photos(examples)[examples[0].image]
    assert (info.error, info.width, info.height, info.orientation) == ("", 20, 24, 1)


def test_the_fingerprint_tells_photos_apart_and_not_their_sizes(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path / "a.png", np.kron(rng.integers(0, 256, (16, 17, 1)), np.ones((8, 8, 3))))
    Image.open(tmp_path / "a.png").resize((68, 64)).save(tmp_path / "small.png")
    write(tmp_path / "b.png", np.kron(rng.integers(0, 256, (16, 17, 1)), np.ones((8, 8, 3))))
    found = FileScanCache().photos([Example(name, str(tmp_path / f"{name}.png")) for name in ("a", "small", "b")])
    bits = [int(info.fingerprint, 16) for info in found.values()]
    assert (bits[0] ^ bits[1]).bit_count() <= 6 and (bits[0] ^ bits[2]).bit_count() > 64


def test_a_turned_photo_has_the_size_it_is_seen_in(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "a.png", photo(0), exif=exif)
    info = FileScanCache().photos([Example("a", str(tmp_path / "a.png"))])[str(tmp_path / "a.png")]
    assert (info.width, info.height, info.orientation) == (24, 20, 6)


def test_each_file_is_read_once_until_it_changes(examples, read, tmp_path):
    cache = str(tmp_path / "facts.json.gz")
    for _ in range(2):
        first = FileScanCache(cache)
        masks, photos = first.masks(examples), first.photos(examples)
    assert len(read) == len(set(read)) == 6
    path = examples[1].label
    write(tmp_path / "masks/1.png", np.zeros((24, 20)))
    os.utime(path, ns=(1, 1))
    again = FileScanCache(cache)
    assert again.photos(examples) == photos and read[6:] == []
    changed = again.masks(examples)
    assert read[6:] == [path] and changed[path].histogram.counts == {0: 480}
    assert all(changed[each.label] == masks[each.label] for each in examples if each.label != path)


def test_palettes_are_remembered(examples, read, tmp_path):
    cache, path = str(tmp_path / "facts.json.gz"), examples[0].label
    (tmp_path / "masks/0.png").write_bytes(indexed([[0, 1]], (0, 0, 0), (255, 0, 1)))
    found = [FileScanCache(cache).masks(examples)[path].histogram for _ in range(2)]
    assert found[0] == found[1] and found[0].palette == {0: 0, 1: 0xFF0001} and read.count(path) == 1


def test_files_that_cannot_be_read_are_looked_at_again(examples, read, tmp_path):
    cache, path = str(tmp_path / "facts.json.gz"), examples[0].image
    (tmp_path / "images/0.png").write_bytes(b"<html>")
    os.unlink(examples[1].image)
    for _ in range(2):
        found = FileScanCache(cache).photos(examples)
        assert "not a readable image" in found[path].error and "cannot be read" in found[examples[1].image].error
    assert read.count(path) == read.count(examples[1].image) == 2 and read.count(examples[2].image) == 1


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08\x00 cut short"])
def test_a_damaged_cache_is_made_anew(examples, read, tmp_path, content):
    (tmp_path / "facts.json.gz").write_bytes(content)
    for _ in range(2):
        FileScanCache(str(tmp_path / "facts.json.gz")).photos(examples)
    assert len(read) == 3
