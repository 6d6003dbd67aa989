"""Which value is which class, out of what all masks hold and what the flags say."""

import numpy as np
import pytest

from fcn_tf.data.masks import histogram, infer
from fcn_tf.errors import UserError
from tests.mask_files import encoded, halves


def discovered(*datas, **declared):
    histograms = [histogram.decode(data, name="mask")[1] for data in datas]
    return infer.infer_mask_rules(histograms, infer.DeclaredClasses(**declared), name="folder")


def test_what_masks_mean_is_found_out():
    assert discovered(encoded([[0, 255]])).values == (0, 255)
    assert discovered(encoded([[0, 255]]), num_classes=2).values == (0, 255)
    assert discovered(encoded(halves(0, 255), "JPEG")).values == (0, 255)
    assert discovered(encoded([[0, 1]])).values == (0, 1)
    found = discovered(encoded([[0, 1, 2, 255]]))
    assert found.values == (0, 1, 2) and found.ignore == 255
    assert discovered(encoded([[0, 128, 255]]), num_classes=3).values == (0, 128, 255)
    assert discovered(encoded([[[255, 0, 0], [0, 0, 0]]])).colors == ((0, 0, 0), (255, 0, 0))


@pytest.mark.parametrize(
    ("pixels", "declared", "flag"),
    [
        ([[0, 7]], {}, "--num_classes=8"),
        ([[0, 100, 200]], {"num_classes": 2}, "--mask_values=0,100,200"),
        ([[5, 5]], {}, "--num_classes=6"),
        ([[[255, 0, 0], [0, 0, 0]]], {"num_classes": 3}, "--mask_colors"),
        ([[0, 255]], {"num_classes": 3, "values": (0, 255)}, "--num_classes=3"),
    ],
)
def test_what_is_not_clear_is_asked_for(pixels, declared, flag):
    with pytest.raises(UserError, match=flag):
        discovered(encoded(pixels), **declared)


def photo(form, channels=3):
    """Of smooth shades and noise, as a camera's, in a file of this form."""
    rng = np.random.default_rng(0)
    shades = np.linspace(0, 200, 96)[:, None, None] + np.linspace(0, 40, 96)[:, None] * np.arange(1, 1 + channels) / 3
    return encoded((shades + rng.normal(0, 5, shades.shape)).clip(0, 255).squeeze(), form)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_photos_in_place_of_masks_are_found_out(form, channels):
    with pytest.raises(
        UserError, match="^folder: the masks look like photos: .*; have photos and masks changed places"
    ):
        discovered(*[photo(form, channels)] * 2, encoded([[0, 1]]))


def test_masks_that_may_be_photos_are_taken_for_masks_if_that_is_said():
    grey = photo("PNG", channels=1)
    with pytest.raises(UserError) as caught:
        discovered(grey)
    (flag,) = caught.value.flags
    assert len(discovered(grey, num_classes=int(flag.partition("=")[2])).values) > 200
    assert discovered(photo("PNG"), colors=((0, 0, 0), (255, 0, 0))).colors == ((0, 0, 0), (255, 0, 0))
