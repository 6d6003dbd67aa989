"""Masks in the colours of their classes, whatever they store, and legends that say what that is."""

import io

import numpy as np
import pytest
from PIL import Image

from fcn_tf.data import palette
from fcn_tf.data.base import Dataset, DatasetSpec
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.errors import UserError
from fcn_tf.io import images
from fcn_tf.reports.mask_painter import Entry, MaskPainter

RED, GREEN = (200, 0, 0), (0, 200, 0)
SPEC = DatasetSpec("two", ("ground", "bag"), (RED, GREEN), ignore_label=255)


def painter(rules=None, spec=SPEC):
    return MaskPainter(Dataset(spec, "train", (), lambda example: None, rules=rules))


def png(pixels):
    return images.encode_png(np.asarray(pixels, np.uint8))


def test_a_class_has_its_colour_and_the_legend_says_what_is_stored():
    painted, legend = painter(MaskRules(values=(0, 100), ignore=7)).paint(png([[0, 0, 0, 100, 100, 7]]))
    np.testing.assert_array_equal(painted, [[RED, RED, RED, GREEN, GREEN, palette.IGNORED]])
    assert legend == [Entry(RED, "0: ground"), Entry(GREEN, "100: bag"), Entry(palette.IGNORED, "7: ignored")]


def test_a_stranger_has_one_colour_in_every_mask():
    paint = painter(MaskRules(values=(0, 255))).paint
    few, legend = paint(png([[0, 0, 255, 255, 17, 17, 17]]))
    many, _ = paint(png([[17, 90, 60, 255]]))
    np.testing.assert_array_equal(few[0, -1], many[0, 0])
    np.testing.assert_array_equal(many[0, -1], GREEN)
    assert legend[0].text == "17: no class" and legend[0].color not in (RED, GREEN, palette.IGNORED)


def test_noise_belongs_to_its_class_and_is_summed_up():
    pixels = np.full((8, 8), 250, np.uint8)
    pixels[:, 4:] = 4
    pixels[0] = range(240, 248)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    painted, legend = painter(MaskRules(values=(0, 255))).paint(file.getvalue())
    np.testing.assert_array_equal(painted[4, [0, 7]], [GREEN, RED])
    assert {entry.color for entry in legend} == {RED, GREEN}
    assert any("values): bag" in entry.text for entry in legend)


def test_masks_in_colours():
    rules = MaskRules(colors=((0, 0, 0), (255, 0, 255)))
    painted, legend = painter(rules).paint(png([[(255, 0, 255), (0, 0, 0), (9, 99, 199), (9, 99, 199)]]))
    np.testing.assert_array_equal(painted, [[GREEN, RED, (9, 99, 199), (9, 99, 199)]])  # a stranger as it is stored
    assert [entry.text for entry in legend][0] == "(9, 99, 199): no class"
    assert "(255, 0, 255): bag" in [entry.text for entry in legend]


def test_classes_that_nobody_knows_yet():
    paint = MaskPainter(None)
    first, legend = paint.paint(png([[3, 3, 200]]))
    second, _ = paint.paint(png([[200, 5, 3]]))
    np.testing.assert_array_equal(first[0, 2], second[0, 0])
    assert [entry.text for entry in legend] == ["3", "200"] and paint.stored_as(0) == ""


def test_a_long_legend_is_cut():
    _, legend = MaskPainter(None).paint(png([range(20)]))
    assert len(legend) == 9 and legend[-1].text == "and 12 more"


def test_what_is_stored_for_a_class():
    both = painter(MaskRules(values=(0, 255), colors=((0, 0, 0), (1, 2, 3))))
    assert [both.stored_as(label) for label in (0, 1)] == ["0 or (0, 0, 0)", "255 or (1, 2, 3)"]
    assert painter().stored_as(1) == "1"


def test_a_damaged_mask():
    with pytest.raises(UserError):
        painter().paint(b"no picture")
