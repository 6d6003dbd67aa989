"""palette: class ids to colours that can be told apart."""

import numpy as np
import pytest

from fcn_tf.data import palette

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
    np.testing.assert_array_equal(palette.colorize(np.array([[1]], dtype), _COLORS), [[_COLORS[1]]])


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


def test_overlay_with_legend_names_the_classes_in_the_picture_alone():
    image, labels = np.full((40, 300, 3), 100, np.uint8), np.zeros((40, 300), np.uint8)
    labels[:, 200:] = 2
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    picture = palette.overlay_with_legend(image, labels, ("road", "car", "sky"), colors)
    np.testing.assert_array_equal(picture[:40], palette.overlay(image, labels, colors))
    below = picture[40:]
    red, green, blue = (np.nonzero((below == color).all(-1))[1] for color in colors)
    assert len(red) and len(blue) and not len(green) and red.max() < blue.min()  # most pixels first
