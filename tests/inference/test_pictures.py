"""What counts as a picture: arrays of every usual kind, Pillow images, paths, and what is refused."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from fcn_tf.errors import UserError
from fcn_tf.inference import pictures
from fcn_tf.io import images

RGB = np.array([[[255, 0, 51], [102, 204, 0]]], np.uint8)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (RGB, RGB),
        (RGB[..., 0], RGB[..., [0, 0, 0]]),
        (RGB[..., :1], RGB[..., [0, 0, 0]]),
        (RGB[..., :2], RGB[..., [0, 0, 0]]),
        (np.concatenate([RGB, RGB[..., :1]], -1), RGB),
        (RGB.astype(np.uint16) * 257, RGB),
        (RGB.astype(np.int64), RGB),
        (RGB.astype(np.float32) + 0.4, None),
        (np.zeros((2, 2), np.float32), np.zeros((2, 2, 3))),
    ],
    ids=["rgb", "grey", "grey1", "grey and alpha", "rgba", "16 bits", "int64", "floats", "black floats"],
)
def test_arrays(array, wanted):
    if wanted is None:
        array, wanted = np.minimum(array, 255), RGB
    found = pictures.read(array)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, wanted)


def test_floats_in_0_1_are_scaled_with_a_word():
    with pytest.warns(UserWarning, match=r"floats in \[0, 1\]: multiplied by 255"):
        np.testing.assert_array_equal(pictures.read(RGB / 255), RGB)


@pytest.mark.parametrize(
    ("array", "told", "brightest"),
    [
        (RGB.astype(np.uint16) * 16, r"x is uint16 with no value above 4080 .*\(15 of 255\).* 12 bits by 16$", 15),
        ((RGB > 100).astype(np.uint8), "x holds 0 and 1 alone: nearly black; multiply it by 255 if 1 is white", 1),
        (np.full((2, 2), 16383, np.uint16), r"16383 of 65535, so it becomes dim .* of 14 bits by 4", 63),
        ((RGB > 100).astype(np.int64), "x holds 0 and 1 alone", 1),
    ],
)
def test_arrays_that_become_nearly_black_are_told(array, told, brightest):
    with pytest.warns(UserWarning, match=told):
        assert pictures.read(array, name="x").max() == brightest


def test_black_is_a_picture():
    for dtype in (np.uint8, np.uint16, np.int32, np.float32):
        assert not pictures.read(np.zeros((2, 2), dtype)).any()


@pytest.mark.parametrize("pillow", [False, True])
def test_dark_files_of_16_bits_are_told(pillow, tmp_path):
    Image.fromarray(np.array([[0, 225]], np.uint16)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="no value above 225 of 65535, so it becomes black"):
        pictures.read(Image.open(tmp_path / "a.png") if pillow else tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (RGB.astype(np.uint16), r"^x is uint16 with no value above 255 .* by 256, or give it as .astype\('uint8'\)\.$"),
        (RGB.transpose(2, 0, 1).repeat(5, 2), r"shape \(3, 1, 10\).*move the channels to the end"),
        (RGB[None], r"shape \(1, 1, 2, 3\).*list\(array\)"),
        (RGB[:0], r"shape \(0, 2, 3\)"),
        (np.float32(3), r"shape \(\)"),
        (RGB.astype(np.float32) - 128, r"from -128 to 127, expected \[0, 255\]"),
        (np.full((2, 2), np.nan), "from nan to nan"),
        (RGB.astype(np.int32) * 9, "from 0 to 2295"),
        (RGB > 3, "holds bool, expected uint8 RGB"),
        (np.array([["a"]]), "expected uint8 RGB"),
        (RGB.tolist(), r"^x is a list, expected an array, .* np.array\(numbers, 'uint8'\)\.$"),  # not two rows of grey
        (Image.new("RGB", (0, 3)), "^x has 0x3 pixels, expected 1x1 or more"),
    ],
)
def test_what_is_no_picture_is_refused(array, message):
    with pytest.raises(UserError, match=message):
        pictures.read(array, name="x")


def encoded(picture, form="PNG", **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_pillow_images_are_read_as_their_files_are(mode, tmp_path):
    grey = np.array([[0, 255], [255, 0]], np.uint16) * 257
    picture = Image.fromarray(grey) if mode == "I;16" else Image.fromarray(RGB.repeat(2, 0)).convert(mode)
    data = encoded(picture, "TIFF" if mode == "CMYK" else "PNG")
    (tmp_path / "a").write_bytes(data)
    wanted = images.decode_image(data, name="a")
    for source in (picture, tmp_path / "a", str(tmp_path / "a"), Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(pictures.read(source), wanted)


def test_pillow_images_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(RGB), "JPEG", exif=exif, quality=95)
    opened = Image.open(io.BytesIO(data))
    assert pictures.read(opened).shape == (2, 1, 3)
    np.testing.assert_array_equal(pictures.read(opened), images.decode_image(data, name="a"))


def test_files_that_are_no_pictures_are_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 cut short")
    with pytest.raises(UserError, match=r"a.jpg: not a readable image"):
        pictures.read(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"b.jpg"):
        pictures.read(tmp_path / "b.jpg")
    with pytest.raises(UserError, match=r"Pillow image: a picture of floating point numbers"):
        pictures.read(Image.fromarray(np.zeros((2, 2), np.float32)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.read(RGB.astype(np.float32))
