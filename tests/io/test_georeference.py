"""World files and GeoTIFF tags, by hand."""

import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fcn_tf.io import georeference

SCALE, TIEPOINT, TRANSFORMATION, KEYS = 33550, 33922, 34264, 34735


def tiff(**tags):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[globals()[name]] = value
    file = io.BytesIO()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(file, "TIFF", tiffinfo=directory)
    return file.getvalue()


def world(**tags):
    found = georeference.of("none/a.tif", tiff(**tags))
    return found and found.world and [float(line) for line in found.world.split()]


def test_tags_by_hand():
    tie = (10.0, 20.0, 0.0, 500.0, 900.0, 0.0)  # pixel (10, 20) is at (500, 900)
    corner = [500 - 10 * 2, 900 + 20 * 4]
    assert world(SCALE=(2.0, 4.0, 0.0), TIEPOINT=tie) == [2, 0, 0, -4, corner[0] + 1, corner[1] - 2]
    point = (1, 1, 0, 1, 1025, 0, 1, 2)  # the tiepoint is a pixel's centre
    assert world(SCALE=(2.0, 4.0, 0.0), TIEPOINT=tie, KEYS=point) == [2, 0, 0, -4, *corner]
    matrix = (1.0, 2.0, 0.0, 7.0, 3.0, 4.0, 0.0, 8.0, *[0.0] * 7, 1.0)
    assert world(TRANSFORMATION=matrix) == [1, 3, 2, 4, 7 + 1.5, 8 + 3.5]
    assert world(TIEPOINT=tie) is None and georeference.of("none/a.png", b"") is None


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ((1, 1, 0, 1, 3072, 0, 1, 32633), 32633),
        ((1, 1, 0, 1, 2048, 0, 1, 4326), 4326),
        ((1, 1, 0, 2, 2048, 0, 1, 4326, 3072, 0, 1, 32633), 32633),
        ((1, 1, 0, 1, 3072, 0, 1, 32767), None),  # user-defined
        ((1, 1, 0, 1, 3072, 34736, 1, 0), None),  # not in the directory
        ((1, 1), None),
    ],
)
def test_the_coordinate_reference_system(keys, code):
    found = georeference.of("none/a.tif", tiff(KEYS=keys))
    assert (found and found.epsg) == code


@pytest.mark.parametrize(
    ("photo", "beside"), [("a.jpg", "a.jgw"), ("a.jpeg", "a.jgw"), ("a.tif", "a.TFW"), ("a.png", "a.wld")]
)
def test_world_files_are_found_and_written(photo, beside, tmp_path):
    (tmp_path / beside).write_bytes(b"1\n")
    (tmp_path / "a.prj").write_bytes(b"PROJCS")
    found = georeference.of(str(tmp_path / photo), tiff(SCALE=(2.0, 4.0, 0.0)))
    assert found == georeference.Georeference(b"1\n", b"PROJCS")
    found.write(str(tmp_path / "out/a_label.png"))
    assert (tmp_path / "out/a_label.pgw").read_bytes() == b"1\n"
    assert (tmp_path / "out/a_label.prj").read_bytes() == b"PROJCS"


def test_damaged_tags_are_none():
    assert georeference.of("none/a.tif", tiff(SCALE=(2.0, 4.0, 0.0))[:60]) is None
