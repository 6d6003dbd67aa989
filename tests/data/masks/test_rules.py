"""MaskRules: every way of storing classes in, class ids out, or one clear line."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn_tf.data.masks import histogram
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.errors import UserError
from fcn_tf.io import images
from tests.mask_files import encoded, halves, indexed, sixteen_bits

BINARY = MaskRules(values=(0, 255))
IDS = MaskRules(values=(0, 1, 2), ignore=255)
COLORS = MaskRules(colors=((0, 0, 0), (255, 0, 0), (0, 0, 255)))


def labels(data, rules):
    return rules.apply(*histogram.decode(data, name="mask"), name="mask")


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM"])
def test_0_255_in_every_lossless_format(form):
    np.testing.assert_array_equal(labels(encoded([[0, 255], [255, 0]], form), BINARY), [[0, 1], [1, 0]])


def test_0_1_and_ids_with_an_ignored_value():
    found = labels(encoded([[0, 1], [2, 255]]), IDS)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [[0, 1], [2, 255]])


def test_sixteen_bits():
    np.testing.assert_array_equal(labels(sixteen_bits(), MaskRules((0, 1000, 40000))), [[0, 1], [2, 0]])


def test_palette_gives_indices():
    picture = Image.new("P", (2, 1))
    picture.putpalette([9, 9, 9, 200, 0, 0])
    picture.putdata([0, 1])
    file = io.BytesIO()
    picture.save(file, "PNG")
    np.testing.assert_array_equal(labels(file.getvalue(), IDS), [[0, 1]])


def test_colors_with_alpha_and_a_mask_of_black_alone():
    pixels = [[[0, 0, 0, 9], [255, 0, 0, 128]], [[0, 0, 255, 255], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(labels(encoded(pixels), COLORS), [[0, 1], [2, 0]])
    np.testing.assert_array_equal(labels(encoded(np.zeros((1, 2, 3))), COLORS), [[0, 0]])


WHITE = (255, 255, 255)


def test_transparent_pixels_of_masks_in_colors_are_black():
    pixels = [[(*WHITE, 0), (255, 0, 0, 255)], [(255, 0, 0, 127), (0, 0, 255, 128)]]
    np.testing.assert_array_equal(labels(encoded(pixels), COLORS), [[0, 1], [0, 2]])
    np.testing.assert_array_equal(labels(encoded(pixels, "TIFF"), COLORS), [[0, 1], [0, 2]])
    faint = [[(*WHITE, 0), (255, 0, 0, 90)]]
    np.testing.assert_array_equal(labels(encoded(faint), COLORS), [[0, 1]])
    red = [[(*WHITE,), (255, 0, 0)]]
    np.testing.assert_array_equal(labels(encoded(red, transparency=WHITE), COLORS), [[0, 1]])
    for empty in ([[(*WHITE, 0)] * 2], [[(*WHITE, 0), (0, 0, 0, 255)]], [[(0, 0, 0, 0)] * 2]):
        np.testing.assert_array_equal(labels(encoded(empty), COLORS), [[0, 0]])
    np.testing.assert_array_equal(labels(encoded([[(255, 0), (255, 0)]]), COLORS), [[0, 0]])  # LA
    np.testing.assert_array_equal(labels(indexed([[0, 1]], WHITE, (255, 0, 0), transparency=0), COLORS), [[0, 1]])
    with pytest.raises(UserError, match=r"transparent pixels count as \(0, 0, 0\); expected the colours ffffff,ff0000"):
        labels(encoded(np.tile(pixels, (20, 20, 1))), MaskRules(colors=(WHITE, (255, 0, 0), (0, 0, 255))))


@pytest.mark.parametrize("alpha", [0, 90, 255])
def test_alpha_that_is_the_same_everywhere_says_nothing(alpha):
    pixels = [[(0, 0, 0, alpha), (255, 0, 0, alpha), (0, 0, 255, alpha)]]
    np.testing.assert_array_equal(labels(encoded(pixels), COLORS), [[0, 1, 2]])
    red = encoded([[(255, 0, 0, alpha)] * 3])
    np.testing.assert_array_equal(labels(red, COLORS), [[1, 1, 1]])


def test_values_stay_values_however_transparent():
    for alpha in ([0, 255], [255, 0], [0, 0], [255, 255]):
        grey = [[(0, alpha[0]), (255, alpha[1])]]
        np.testing.assert_array_equal(labels(encoded(grey), BINARY), [[0, 1]])
        np.testing.assert_array_equal(labels(encoded([[(v, v, v, a) for v, a in grey[0]]]), BINARY), [[0, 1]])
        data = indexed([[0, 1]], WHITE, (255, 0, 0), transparency=bytes(alpha))
        np.testing.assert_array_equal(labels(data, IDS), [[0, 1]])


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_jpeg_noise_goes_to_the_nearest_class(quality):
    found = labels(encoded(halves(0, 255), "JPEG", quality=quality), BINARY)
    np.testing.assert_array_equal(found, halves(0, 1))
    colors = np.array([(0, 0, 0), (255, 0, 0)])[halves(0, 1)]
    found = labels(encoded(colors, "JPEG", quality=quality), COLORS)
    assert (found == halves(0, 1)).mean() > 0.9 and found.max() <= 2


def test_a_grey_that_is_no_colour_names_the_colours():
    """A mask of greys among masks in colours holds values, of which there are none to expect."""
    with pytest.raises(UserError, match=r"holds 70 in .* expected the colours 000000,ff0000,0000ff\. .*,464646;"):
        labels(encoded([[0, 70]]), COLORS)
    with pytest.raises(UserError, match="expected the colours 000000,ff0000,0000ff, whose channels end at 255"):
        labels(images.encode_png(np.array([[0, 700]])), COLORS)


def test_blended_edges_of_a_resized_mask():
    edge = np.tile(np.linspace(0, 255, 20), (40, 1))
    ramp = np.concatenate([np.zeros((40, 200)), edge, np.full((40, 200), 255)], axis=1)
    found = labels(encoded(ramp), BINARY)
    assert set(found.ravel()) == {0, 1} and found[0, 209] == 0 and found[0, 210] == 1


def message(data, rules):
    with pytest.raises(UserError) as caught:
        labels(data, rules)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("mask: ")
    return str(caught.value)


def test_out_of_range_names_file_value_and_flag():
    assert "holds 7 in 1 of 2 pixels" in message(encoded([[0, 7]]), IDS)
    assert "--ignore_label=7" in message(encoded([[0, 7]]), IDS)
    assert "128" in message(encoded([[0, 128, 255]]), BINARY)
    assert "--mask_colors=000000,ff0000,0000ff,00ff00" in message(encoded([[[0, 255, 0]]]), COLORS)


def test_off_by_one_names_the_flag():
    assert "--mask_values=1-3" in message(encoded([[1, 2, 3]]), IDS)


def test_ids_in_jpegs_and_colors_without_rules_are_refused():
    assert "PNG" in message(encoded(halves(0, 2) + 3, "JPEG", quality=30), IDS)
    assert "--mask_colors" in message(encoded([[[0, 255, 0]]]), IDS)


_SEEDS = (encoded([[0, 255]]), encoded([[[255, 0, 0]]]), encoded(halves(0, 255), "JPEG"))


@settings(max_examples=150)
@given(st.sampled_from(_SEEDS), st.binary(max_size=40), st.integers(0, 900), st.sampled_from([BINARY, IDS, COLORS]))
def test_any_bytes_give_a_mask_or_the_clear_error(seed, junk, position, rules):
    data = seed[:position] + junk + seed[position + len(junk) :]
    try:
        found = labels(data, rules)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert found.dtype == np.int32 and set(np.unique(found)) <= {*range(rules.num_classes), rules.ignore_label}


@settings(max_examples=60)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=30), st.sampled_from([BINARY, IDS]))
def test_any_values_give_classes_or_the_clear_error(values, rules):
    try:
        found = labels(encoded([values]), rules)
    except UserError:
        return
    assert set(np.unique(found)) <= {*range(rules.num_classes), rules.ignore_label}
