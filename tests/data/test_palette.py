"""palette: class ids to colours that can be told apart."""

import numpy as np
import pytest

from fcn_tf import registry
from fcn_tf.data import datasets, palette
from fcn_tf.data.datasets import ade20k, camvid, run_classes, shapes, voc

_COLORS = ((255, 0, 0), (0, 0, 255))


def test_colorize_by_hand():
    painted = palette.colorize(np.array([[0, 1, 255]]), _COLORS, ignore_label=255)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, [[_COLORS[0], _COLORS[1], palette.IGNORED]])


def test_an_ignored_class_is_painted_as_ignored():
    painted = palette.colorize(np.array([[0, 1]], np.uint8), _COLORS, ignore_label=0)
    np.testing.assert_array_equal(painted, [[palette.IGNORED, _COLORS[1]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_colorize_takes_any_integers(dtype):
    ids, wanted = np.array([[1, 2, 255]]), [[_COLORS[1], palette.IGNORED, palette.IGNORED]]
    np.testing.assert_array_equal(palette.colorize(ids.astype(dtype), _COLORS), wanted)
    many = [(number % 256, number // 256, 0) for number in range(300)]
    np.testing.assert_array_equal(palette.colorize(ids.astype(dtype), many), [[many[1], many[2], many[255]]])


def test_distinct_colors():
    colors = palette.distinct_colors(151)
    assert len(set(colors)) == 151 and colors[:7] == palette.distinct_colors(7)
    assert palette.IGNORED not in colors and (0, 0, 0) not in colors


def test_overlay_blends_photo_and_class():
    image = np.full((1, 2, 3), 100, np.uint8)
    blended = palette.overlay(image, np.array([[0, 1]]), _COLORS, opacity=0.5)
    np.testing.assert_array_equal(blended, [[[178, 50, 50], [50, 50, 178]]])
    np.testing.assert_array_equal(palette.overlay(image, np.array([[0, 1]]), _COLORS, opacity=0.0), image)


def test_errors_image_marks_wrong_pixels_alone():
    image = np.full((1, 3, 3), 60, np.uint8)
    shown = palette.errors_image(image, np.array([[0, 1, 255]]), np.array([[0, 0, 0]]), ignore_label=255)
    np.testing.assert_array_equal(shown, [[[148] * 3, [220, 30, 30], [255] * 3]])


def test_legend_shows_every_colour():
    picture = palette.legend(("sky", "a class with a long name"), _COLORS, width=100)
    assert picture.dtype == np.uint8 and picture.shape[1] >= 100
    for color in _COLORS:
        assert (picture == color).all(axis=-1).sum() > 100


def ink(name):
    """The dark pixels of a name in a legend, without its colour and the white around it."""
    letters = (palette.legend((name,), ((255, 0, 0),), width=200)[:, 30:] < 128).all(-1)
    return letters[:, letters.any(0)]


def test_legend_writes_letters_beyond_ascii():
    unknown = "\ufffe"  # no font has it: what is drawn stands for every letter that is missing
    for letter in "ßéøłñЖΩ":
        assert ink(letter).sum() > 10
        assert ink(letter).shape != ink(unknown).shape or (ink(letter) != ink(unknown)).any(), letter
    assert ink("Straße").shape[1] > ink("Strae").shape[1]


def _apart(colors):
    """The least distance in CIE L*a*b* between two of the colours."""
    lab = palette._lab(colors)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return apart[~np.eye(len(colors), dtype=bool)].min()


def test_colours_that_look_the_same_are_told_apart_and_others_stay():
    red, nearly, blue = (255, 0, 0), (253, 0, 2), (0, 0, 255)
    told = palette.told_apart((red, blue, red, nearly))
    assert told[:2] == (red, blue) and _apart(told) >= 6
    assert np.abs(np.subtract(told[2:], red)).max() < 64, "still reds"
    assert palette.told_apart((red, blue)) == (red, blue)
    assert palette.told_apart(((226, 226, 226), red))[0] != (226, 226, 226), "as what is ignored"


@pytest.mark.parametrize("name", registry.PALETTES)
@pytest.mark.parametrize("count", [1, 2, 11, 21, 151, 300])
def test_palettes_have_a_colour_for_each_class(name, count):
    colors = registry.resolve(registry.PALETTES[name])(count)
    assert len(colors) == count and all(0 <= channel <= 255 for color in colors for channel in color)
    told = palette.told_apart(colors)
    assert count == 1 or _apart((*told, palette.IGNORED)) >= 6


def test_colours_of_palettes_by_hand():
    assert registry.resolve(registry.PALETTES["voc"])(3) == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert registry.resolve(registry.PALETTES["camvid"])(12)[:2] == ((128, 128, 128), (128, 0, 0))
    assert palette.hls_colors(3) == ((219, 95, 87), (87, 219, 95), (95, 87, 219))  # as seaborn has them


def test_published_colours_stay_where_they_can_be_told():
    for spec in (voc.SPEC, camvid.SPEC, shapes.SPEC):
        assert palette.told_apart(spec.colors) == spec.colors
    told = palette.told_apart(ade20k.SPEC.colors)
    assert told[7] == ade20k.SPEC.colors[7] and told[49] != told[7]
    off = np.linalg.norm(palette._lab(told) - palette._lab(ade20k.SPEC.colors), axis=-1)
    assert (off == 0).sum() > 60 and off.max() < 40


def test_a_data_set_is_loaded_in_a_palette_and_a_run_keeps_its_colours():
    spec = datasets.load("shapes", "", "train", palette="hls").spec
    assert spec.colors == palette.hls_colors(6) and spec.class_names == shapes.SPEC.class_names
    dataset = datasets.load("shapes", "", "train")
    colors = [[number, 0, 0] for number in range(6)]
    settings = {"class_names": list(spec.class_names), "colors": colors, "flags": {"palette": "auto"}}
    assert run_classes.in_colors_of(settings, dataset, "auto").spec.colors[5] == (5, 0, 0)
    assert run_classes.in_colors_of({**settings, "flags": {}}, dataset, "auto").spec.colors[5] == (5, 0, 0)
    assert run_classes.in_colors_of(settings, dataset, "hls") is dataset
    assert run_classes.in_colors_of({**settings, "class_names": ["a"]}, dataset, "auto") is dataset
