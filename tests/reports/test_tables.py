"""The printed table: aligned, and each score with its rule."""

import numpy as np

from fcn_tf.metrics import confusion
from fcn_tf.reports import tables


def test_table_aligns_and_marks_what_has_no_value():
    summary = confusion.summarize(np.array([[3, 0], [0, 0]]), ("a", "traffic light"))
    lines = tables.text(summary).splitlines()
    assert lines[1].split() == ["a", "100.00", "100.00", "100.00", "100.00"]
    assert lines[2].split() == ["traffic", "light", "-", "-", "-", "0.00"]
    assert len({len(line) for line in lines[:3]}) == 1


def test_each_score_says_its_rule():
    summary = confusion.summarize(np.array([[3, 0, 0], [1, 2, 0], [0, 0, 0]]), ("a", "b", "c"))
    summary["boundary"] = {
        "bf": 0.5, "bf_common": 0.25, "trimap_iou": {}, "tolerance": 0.0075, "tolerance_pixels": [1.02, 4.5]
    }  # fmt: skip
    lines = tables.text(summary).splitlines()
    assert lines[-3].startswith("SceneParsing score")
    assert lines[-3].endswith("(pixel accuracy + IoU over all 3 classes, 1 absent as 0) / 2")
    assert lines[-2].startswith("boundary F1 (BF)         50.00")
    assert lines[-2].endswith("within 0.75% of the diagonal, 1.0 to 4.5 px")
    assert lines[-1].startswith("BF, common rule          25.00")
    assert lines[-1].endswith("without boundaries on or next to ignored pixels")
