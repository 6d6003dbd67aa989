"""images: every kind of file in, RGB or class ids out, or one clear line."""

import io
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn_tf.errors import OutOfMemory, UserError
from fcn_tf.io import images

_RED, _GREEN, _BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _bytes(picture, form="PNG", **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _array(*rows):
    return np.array(rows, np.uint8)


def test_rgb_png_comes_back_exactly():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    decoded = images.decode_image(images.encode_png(pixels), name="x")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


def test_greyscale_becomes_rgb():
    decoded = images.decode_image(_bytes(Image.fromarray(_array([0, 200]))), name="x")
    np.testing.assert_array_equal(decoded, [[[0, 0, 0], [200, 200, 200]]])


def test_alpha_is_dropped_not_blended():
    picture = Image.fromarray(np.array([[[10, 20, 30, 0], [40, 50, 60, 255]]], np.uint8))
    np.testing.assert_array_equal(images.decode_image(_bytes(picture), name="x"), [[[10, 20, 30], [40, 50, 60]]])


def test_grey_with_alpha():
    picture = Image.fromarray(np.array([[[7, 0], [9, 255]]], np.uint8))
    np.testing.assert_array_equal(images.decode_image(_bytes(picture), name="x"), [[[7] * 3, [9] * 3]])
    np.testing.assert_array_equal(images.decode_label(_bytes(picture), name="x"), [[7, 9]])


def test_sixteen_bit_grey_keeps_its_upper_byte():
    picture = Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.uint16))
    decoded = images.decode_image(_bytes(picture), name="x")
    np.testing.assert_array_equal(decoded[..., 0], [[0, 0x12, 0xFF]])


def test_photos_that_are_not_read_are_counted_and_named():
    assert images.describe_unread(("a/b.HEIC", "c.jpg")) == "; 1 photo is .heic, which is not read: save it as JPEG"
    several = images.describe_unread(("a.heic", "b.avif", "c.heic"))
    assert several == "; 3 photos are .avif and .heic, which are not read: save them as JPEG"
    assert images.describe_unread(("c.jpg", "heic")) == ""


@pytest.mark.parametrize(
    ("highest", "told"),
    [
        (0, None),
        (225, "x: 16 bits with no value above 225 of 65535, so it becomes black; multiply values of 8 bits by 256"),
        (1000, r"above 1000 of 65535, so it becomes nearly black \(3 of 255\); multiply values of 10 bits by 64"),
        (4095, r"above 4095 of 65535, so it becomes nearly black \(15 of 255\); multiply values of 12 bits by 16"),
        (4096, None),
        (16382, None),  # 16 bits, perhaps, in dim light
        (16383, r"above 16383 of 65535, so it becomes dim \(63 of 255\); multiply values of 14 bits by 4"),
        (16384, None),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_that_become_black_are_told(highest, told, form):
    said = []
    data = _bytes(Image.fromarray(np.array([[0, highest]], np.uint16)), form)
    assert images.decode_image(data, name="x", say=said.append).max() == highest >> 8
    assert len(said) == (told is not None) and (told is None or re.search(told, said[0]))


@pytest.mark.parametrize("form", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_of_colours_that_become_black_are_told(form, alpha):
    """Of these Pillow keeps the upper 8 bits, so what was lost is known to 255."""
    for highest, told in ((225, "x: 16 bits with no value above 255"), (1000, "x: 16 bits with no value above 1023")):
        pixels = np.full((2, 3, 3 + alpha), highest, np.uint16)
        pixels[..., 3:] = 65535
        said = []
        images.decode_image(cv2.imencode(form, pixels)[1].tobytes(), name="x", say=said.append)
        assert len(said) == 1 and said[0].startswith(told)
    # So whether the highest value is the white of 14 bits is not known.
    white = np.full((2, 3, 3), 16383, np.uint16)
    images.decode_image(cv2.imencode(form, white)[1].tobytes(), name="x", say=pytest.fail)


def test_a_probe_finds_the_highest_of_sixteen_bits():
    grey = Image.fromarray(np.array([[0, 1000]], np.uint16))
    color = cv2.imencode(".png", np.full((2, 3, 3), 1000, np.uint16))[1].tobytes()
    turned = Image.Exif()
    turned[0x0112] = 6
    for data, highest, exact in (
        (_bytes(grey), 1000, True),
        (_bytes(grey, "TIFF", exif=turned), 1000, True),
        (color, 1023, False),  # the lower 8 bits are not known
        (_bytes(grey.convert("L")), 0, True),
        (images.encode_jpeg(np.full((80, 80, 3), 9, np.uint8)), 0, True),
    ):
        probe = images.probe_image(data, name="x")
        assert (probe.highest, probe.exact) == (highest, exact)


def test_further_pictures_of_a_file_are_told():
    said = []
    pages = [Image.new("L", (4, 3), number) for number in range(3)]
    for form, told in (("TIFF", 3), ("GIF", 3), ("WEBP", 0), ("PNG", 0)):
        data = _bytes(pages[0], form, save_all=True, append_images=pages[1:])
        images.tell_pages(data, name="x", say=said.append)
        assert said == [f"x: holds {told} pictures, of which the first is labelled; save the others as files"][:told]
        said.clear()
        images.tell_pages(_bytes(pages[0], form), name="x", say=pytest.fail)
        images.tell_pages(data[:100], name="x", say=pytest.fail)
    # A map's smaller copies are none.
    pages[1].encoderinfo = pages[2].encoderinfo = {"tiffinfo": {254: 1}}
    images.tell_pages(_bytes(pages[0], "TIFF", save_all=True, append_images=pages[1:]), name="x", say=pytest.fail)


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0"])
def test_tiffs_that_are_not_read_are_told_as_such(start):
    with pytest.raises(UserError, match="x: a TIFF of a kind that is not read.* expected 1, 3 or 4 bands of 8 or 16"):
        images.decode_image(start + bytes(40), name="x")


def test_eight_bits_may_be_black():
    for mode in ("RGB", "L", "P", "1", "RGBA", "LA"):
        images.decode_image(_bytes(Image.new(mode, (2, 2))), name="x", say=pytest.fail)


def test_palette_gives_colours_for_photos_and_indices_for_labels():
    picture = Image.fromarray(_array([0, 2, 1]), mode=None)
    picture = picture.convert("P")
    picture.putdata([0, 2, 1])
    picture.putpalette([*_RED, *_GREEN, *_BLUE])
    np.testing.assert_array_equal(images.decode_image(_bytes(picture), name="x"), [[_RED, _BLUE, _GREEN]])
    np.testing.assert_array_equal(images.decode_label(_bytes(picture), name="x"), [[0, 2, 1]])


def test_cmyk_jpeg():
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    decoded = images.decode_image(_bytes(picture, "JPEG", quality=95), name="x")
    assert decoded.shape == (8, 8, 3)
    assert np.abs(decoded.astype(int) - _RED).max() < 10


def test_exif_turn_is_applied_to_photos_and_not_to_labels():
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees clockwise"
    data = _bytes(Image.fromarray(_array([1, 2, 3])), exif=exif)
    np.testing.assert_array_equal(images.decode_image(data, name="x")[..., 0], [[1], [2], [3]])
    np.testing.assert_array_equal(images.decode_label(data, name="x"), [[1, 2, 3]])


@pytest.mark.parametrize("form", ["WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_other_formats(form):
    data = _bytes(Image.new("RGB", (5, 3), _GREEN), form, **({"lossless": True} if form == "WEBP" else {}))
    np.testing.assert_array_equal(images.decode_image(data, name="x"), np.full((3, 5, 3), _GREEN))


def test_progressive_jpeg():
    data = _bytes(Image.new("RGB", (16, 16), (90, 90, 90)), "JPEG", progressive=True)
    assert np.abs(images.decode_image(data, name="x").astype(int) - 90).max() < 5


def test_labels_of_every_depth():
    ids = np.array([[0, 1, 150], [255, 7, 3]])
    decoded = images.decode_label(images.encode_png(ids), name="x")
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, ids)
    np.testing.assert_array_equal(images.decode_label(images.encode_png(ids * 100), name="x"), ids * 100)
    two_valued = Image.fromarray(np.array([[True, False]]))
    assert two_valued.mode == "1"
    np.testing.assert_array_equal(images.decode_label(_bytes(two_valued), name="x"), [[1, 0]])


def test_a_photo_is_encoded_without_loss_in_about_the_same_room():
    rows, columns = np.indices((120, 160))
    noise = np.random.default_rng(0).integers(0, 12, (120, 160, 3))
    photo = (noise + np.stack([rows, columns, rows + columns], -1) // 2).astype(np.uint8)
    whole, quick = images.encode_png(photo), images.encode_png(photo, quick=True)
    np.testing.assert_array_equal(images.decode_image(quick, name="x"), photo)
    assert 0.8 < len(quick) / len(whole) < 1.1
    flat = images.encode_png(np.full((500, 500, 3), 7, np.uint8), quick=True)
    assert len(flat) < 20_000  # of 750,000


def test_encode_png_uses_as_few_bits_as_it_can():
    def mode(ids):
        return Image.open(io.BytesIO(images.encode_png(np.array(ids)))).mode

    assert mode([[255]]) == "L"
    assert mode([[256]]).startswith("I;16")
    with pytest.raises(ValueError, match="-1"):
        images.encode_png(np.array([[-1]]))


def test_labels_saved_as_grey_rgb_are_taken():
    np.testing.assert_array_equal(
        images.decode_label(images.encode_png(np.full((1, 2, 3), 9, np.uint8)), name="x"), [[9, 9]]
    )


@pytest.mark.parametrize("header", ["P2\n3 1\n2\n", "P2 # ids\n3 1\n# most\n2\n", "P2\n3 1\n255\n", "P2\n3 1\n300\n"])
def test_grey_values_of_pgm_are_ids_whatever_the_highest_is(header):
    data = f"{header}0 1 2\n".encode()
    np.testing.assert_array_equal(images.decode_label(data, name="x"), [[0, 1, 2]])
    np.testing.assert_array_equal(images.decode_mask(data, name="x")[0], [[0, 1, 2]])


def test_ppm_and_pgm_as_text_and_as_bytes():
    for data in (b"P6\n2 1\n2\n\0\0\0\1\1\1", b"P3\n2 1\n2\n0 0 0 1 1 1", b"P5\n2 1\n2\n\0\1"):
        np.testing.assert_array_equal(images.decode_label(data, name="x"), [[0, 1]])
        np.testing.assert_array_equal(
            images.decode_image(data, name="x")[..., 0], [[0, 128]]
        )  # half as bright as white
    colors = b"P3\n2 1\n1\n1 0 0 0 0 1\n"
    np.testing.assert_array_equal(images.decode_mask(colors, name="x")[0], [[_RED, _BLUE]])
    np.testing.assert_array_equal(images.decode_mask(b"P5\n2 1\n1000\n\0\1\3\xe8", name="x")[0], [[1, 1000]])


def test_labels_coded_in_colours_are_refused():
    data = images.encode_png(np.array([[_RED, _BLUE]], np.uint8))
    with pytest.raises(UserError, match=r"mask\.png.*coded in colours.*class id"):
        images.decode_label(data, name="mask.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "begins with b'<!DOCTYP'"),
        (b"road,128,64,128\n", "begins with b'road,128'); expected a whole JPEG, PNG, WebP, BMP, TIFF, GIF or PPM."),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC, which is not read; expected a whole JPEG, "),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "it is AVIF, which is not read"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "it begins with b'\\x00\\x00\\x00 ftyp'"),
        (b"P3\n2 1\n255\n1 2", "not a readable image"),
        (images.encode_png(np.zeros((64, 64, 3), np.uint8))[:-30], "not a readable image"),
        (images.encode_jpeg(np.zeros((64, 64, 3), np.uint8))[:400], "not a readable image"),
    ],
)
def test_bad_files_get_one_line_that_names_them(data, reason):
    for decode in (images.decode_image, images.decode_label):
        with pytest.raises(UserError) as caught:
            decode(data, name="folder/bad.jpg")
        assert str(caught.value).startswith("folder/bad.jpg: ") and reason in str(caught.value)
        assert "\n" not in str(caught.value)


_PNG = images.encode_png(np.arange(64).reshape(8, 8))


@settings(max_examples=150)
@given(st.binary(max_size=60), st.integers(0, len(_PNG)), st.booleans())
def test_any_bytes_decode_or_get_the_clear_error(junk, position, of_png):
    data = _PNG[:position] + junk + _PNG[position + len(junk) :] if of_png else junk
    for decode, channels in ((images.decode_image, (3,)), (images.decode_label, ())):
        try:
            pixels = decode(data, name="x")
        except UserError:
            continue
        assert pixels.shape[2:] == channels


def _turned(orientation, form="JPEG"):
    """A picture, twice as wide as high, whose EXIF data say how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker whose name does not fit into the four bytes of an entry"
    pixels = np.add.outer(np.arange(8) * 8, np.arange(16) * 4).astype(np.uint8)
    return _bytes(Image.fromarray(pixels), form, exif=exif)


def test_damaged_exif_costs_the_turn_and_not_the_photo():
    data = _turned(6)
    assert images.decode_image(data, name="x").shape[:2] == (16, 8)
    assert images.probe_image(data, name="x")[:2] == ((16, 8), 6)
    place = data.index(b"Exif\0\0") + 6
    damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert images.decode_image(damaged, name="x").shape[:2] == (8, 16)
    assert images.probe_image(damaged, name="x")[:2] == ((16, 8), 1)


def test_a_large_picture_is_no_bomb_where_there_is_memory_for_it():
    data = _bytes(Image.new("L", (13_400, 13_400)), compress_level=1)  # more pixels than Pillow's own limit
    assert images.probe_image(data, name="x")[0] == (13_400, 13_400)
    assert images.decode_mask(data, name="x")[0].shape == images.decode_label(data, name="x").shape == (13_400, 13_400)


def test_a_picture_beyond_the_memory_is_refused_before_it_is_decoded(monkeypatch):
    data = _bytes(Image.new("L", (5000, 4000)), compress_level=1)
    left: dict[str, int | None] = {"bytes": 100_000_000}
    monkeypatch.setattr(images.system, "memory_left", lambda: left["bytes"])
    with pytest.raises(OutOfMemory, match=r"^x: decoding 5000x4000 pixels takes about 0.3 GB, 0.1 GB are free; .*"):
        images.decode_image(data, name="x")
    for left["bytes"] in (300_000_000, None):
        assert images.decode_image(data, name="x").shape == (4000, 5000, 3)


def test_memory_that_runs_out_all_the_same_is_no_damage(monkeypatch):
    def fails(*arguments):
        raise MemoryError

    monkeypatch.setattr(np, "asarray", fails)
    with pytest.raises(OutOfMemory, match="^x: there is not enough memory left to decode it; make it smaller"):
        images.decode_label(_PNG, name="x")


LIMITED = """
import resource, sys
from fcn_tf.io import files, images
data = files.read_bytes(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (700_000_000, 700_000_000))
for decode in (images.decode_image, images.decode_label, images.decode_mask, images.probe_image):
    try:
        decode(data, name="large.png")
    except ValueError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory there is")
def test_a_process_with_little_memory_says_so_in_one_line(tmp_path):
    (tmp_path / "large.png").write_bytes(_bytes(Image.new("RGB", (9700, 9700)), compress_level=1))
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "large.png")]
    done = subprocess.run(command, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(large\.png: decoding 9700x9700 pixels takes about \d\.\d GB, .*\n){4}", done.stdout)


def _outcome(decode, data):
    try:
        return decode(data, name="folder/bad.jpg")
    except UserError as error:
        assert str(error).startswith("folder/bad.jpg: ") and "\n" not in str(error)
        return None


# Pillow warns of some damage, which is not what is tested here.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_one_wrong_byte_anywhere_gives_a_picture_or_the_clear_error(form, monkeypatch):
    # A wrong byte in a TIFF's header makes a picture of up to gigabytes of it, which takes time and tests no more.
    monkeypatch.setattr(images.system, "memory_left", lambda: 3_000_000)
    data = _turned(6, form)
    for place in sorted({*range(min(len(data), 256)), *range(0, len(data), 7)}):
        for flip in (1, 0x80, 0xFF):
            damaged = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            pixels, label, mask = (
                _outcome(decode, damaged) for decode in (images.decode_image, images.decode_label, images.decode_mask)
            )
            assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape[2:] == (3,))
            assert label is None or (label.dtype == np.int32 and label.ndim == 2)
            assert mask is None or mask[0].ndim in (2, 3)
            probed = _outcome(images.probe_image, damaged)
            if probed is not None and pixels is not None:
                width, height = probed.size
                assert pixels.shape[:2] == ((width, height) if probed.orientation >= 5 else (height, width))
                assert probed.thumbnail.shape == (16, 17)


def test_the_size_is_read_from_the_header_alone():
    data = images.encode_jpeg(np.zeros((5, 7, 3), np.uint8))
    whole = images.encode_png(np.zeros((5, 7, 3), np.uint8))
    assert images.read_size(data, name="a") == (7, 5) and images.read_size(whole[:60], name="a") == (7, 5)
    for broken in (b"", b"hello"):
        with pytest.raises(UserError, match="^a: "):
            images.read_size(broken, name="a")
