"""An example is read whole and checked, or one line says what is wrong with it."""

import numpy as np
import pytest
from PIL import Image

from fcn_tf.data.base import DatasetSpec, Example
from fcn_tf.data.masks.read import check_range, read_pair, reader
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.errors import UserError
from tests.prepared import write

SPEC = DatasetSpec("toy", ("a", "b"), ((0, 0, 0), (255, 0, 0)), ignore_label=255)


@pytest.fixture
def example(tmp_path):
    """A photo of 6x4 and its mask of ones."""
    write(tmp_path / "photo.png", np.full((4, 6, 3), 7))
    write(tmp_path / "mask.png", np.full((4, 6), 1))
    return Example("toy", str(tmp_path / "photo.png"), str(tmp_path / "mask.png"))


def message(example, rules=None):
    with pytest.raises(UserError) as caught:
        read_pair(SPEC, rules, example)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ids_as_they_are_and_by_rules(example):
    for rules, expected in ((None, 1), (MaskRules(values=(1, 0)), 0)):
        image, label = read_pair(SPEC, rules, example)
        assert image.dtype == np.uint8 and label.dtype == np.int32
        np.testing.assert_array_equal(image, np.full((4, 6, 3), 7))
        np.testing.assert_array_equal(label, np.full((4, 6), expected))


@pytest.mark.parametrize("rules", [None, MaskRules(values=(0, 1))])
def test_what_cannot_be_read_may_be_skipped(example, tmp_path, rules):
    skip = "Or leave such files out: --on_bad_example=skip."
    write(tmp_path / "mask.png", np.zeros((3, 5)))
    assert "mask.png: the mask is 5x3" in message(example, rules) and message(example, rules).endswith(skip)
    (tmp_path / "mask.png").write_bytes(b"<html>")
    assert "mask.png: not a readable image" in message(example, rules) and message(example, rules).endswith(skip)
    (tmp_path / "photo.png").unlink()
    assert "photo.png: cannot be read" in message(example, rules) and message(example, rules).endswith(skip)


def test_the_first_photo_that_sixteen_bits_leave_black_is_told(example, tmp_path, capsys):
    read = reader(SPEC, None)
    read(example)
    assert capsys.readouterr() == ("", "")
    Image.fromarray(np.full((4, 6), 4095, np.uint16)).save(tmp_path / "photo.png")
    for _ in range(3):
        np.testing.assert_array_equal(read(example)[0], np.full((4, 6, 3), 15))
    said = capsys.readouterr().err
    assert said == (
        f"warning: {tmp_path}/photo.png: 16 bits with no value above 4095 of 65535, so it becomes nearly black "
        "(15 of 255); multiply values of 12 bits by 16; --mode=check names all such photos\n"
    )
    reader(SPEC, None)(example)
    assert capsys.readouterr().err == said  # another split tells its own


def test_values_out_of_range_are_no_damage(example, tmp_path):
    write(tmp_path / "mask.png", [[0, 1, 255, 200, 200, 12]] * 4)
    said = message(example)
    assert "mask.png" in said and "12, 200 in 12 of 24 pixels" in said and "skip" not in said
    assert "0..1 or 255 (ignored)" in said and "--ignore_label=200" in said
    assert "skip" not in message(example, MaskRules(values=(0, 1)))


def test_an_example_without_a_mask_is_named():
    assert message(Example("x", "x.jpg")).startswith("x.jpg: there is no mask")


def test_check_range_by_hand():
    check_range(np.array([[0, 1, 255]], np.int32), SPEC, name="x")
    for wrong in (2, -1, 254, 70000):
        with pytest.raises(UserError, match=rf"holds {wrong} in 1 of 2"):
            check_range(np.array([[0, wrong]], np.int32), SPEC, name="x")
