"""The contact sheet: its pictures, its scores, and names that look like HTML."""

import numpy as np

from fcn_tf.data import palette
from fcn_tf.data.base import DatasetSpec
from fcn_tf.reports import contact_sheet
from tests import tiny_run


def test_pictures_of_an_example_by_hand():
    seen = np.array([[0, 1]], np.int32)
    sample = contact_sheet.Sample("a", tiny_run.paint([[2, 2]]), np.array([[0, 3]]), seen)
    drawn = contact_sheet.draw(sample, tiny_run.SPEC)
    red, green, blue = tiny_run.COLORS
    np.testing.assert_array_equal(drawn["inp"], [[blue, blue]])
    np.testing.assert_array_equal(drawn["gt"], [[red, palette.IGNORED]])
    np.testing.assert_array_equal(drawn["pred"], [[red, green]])
    np.testing.assert_allclose(drawn["overlay"], [[(128, 0, 128), (0, 128, 128)]], atol=1)


def test_scores_in_words():
    assert contact_sheet.scores(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]), tiny_run.SPEC) == (
        "pixel accuracy 75.0%, mean IoU 37.5%"
    )
    assert contact_sheet.scores(np.zeros((3, 3), int), tiny_run.SPEC) == "nothing labelled"


def test_page_escapes_names(tmp_path):
    spec = DatasetSpec("tiny", ("<b>", "b", "c"), tiny_run.COLORS, 3)
    pixels = np.zeros((1, 1), np.int32)
    sample = contact_sheet.Sample("<i>&", tiny_run.paint(pixels), pixels, pixels)
    path = contact_sheet.write_sheet([sample], spec, str(tmp_path), title="<u>", subtitle="")
    with open(path) as file:
        page = file.read()
    assert "&lt;i&gt;&amp;" in page and "&lt;b&gt;" in page and "<u>" not in page
