"""Curves and confusion matrices, as far as pixels can tell."""

import io
import subprocess
import sys

import numpy as np
from PIL import Image

from fcn_tf.io.run_dir import HISTORY_COLUMNS, Run
from fcn_tf.reports import charts


def row(step, **values):
    return {**dict.fromkeys(HISTORY_COLUMNS), "step": step, **values}


def picture_of(run):
    with open(run.curves, "rb") as file:
        return np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))


def test_curves_of_a_run_grow_with_its_history(tmp_path):
    run = Run(str(tmp_path))
    charts.write_curves(run)
    assert not (tmp_path / "curves.png").exists()
    run.append_history(row(10, train_loss=2.0, val_loss=2.5, val_pixel_accuracy=0.4, val_mean_iou=0.2))
    charts.write_curves(run)
    first = picture_of(run)
    assert first.shape == (360, 1200, 3) and (first != 255).any()
    run.append_history(row(20, train_loss=1.0, val_loss=1.5, val_pixel_accuracy=0.6, val_mean_iou=0.3))
    charts.write_curves(run)
    assert (picture_of(run) != first).any()


def test_curves_without_a_single_number(tmp_path):
    run = Run(str(tmp_path))
    run.append_history(row(10))
    charts.write_curves(run)
    assert (tmp_path / "curves.png").exists()


def test_training_scores_are_drawn_where_there_are_some(tmp_path):
    run = Run(str(tmp_path))
    for step in (10, 20):  # as of a run of an earlier version
        run.append_history(row(step, val_pixel_accuracy=0.4, val_mean_iou=0.2))
    charts.write_curves(run)
    validation_alone = picture_of(run)
    for step in (30, 40):
        run.append_history(row(step, train_pixel_accuracy=0.9, train_mean_accuracy=0.8, train_mean_iou=0.7))
    charts.write_curves(run)
    changed = (picture_of(run) != validation_alone).any(axis=(0, 2))
    assert not changed[:380].any() and changed[400:780].any() and changed[820:].any()  # loss, accuracy, mean IoU


def test_confusion_image_is_dark_where_pixels_went():
    counts = np.array([[9, 0], [0, 0]])
    picture = charts.confusion_image(counts, ("a", "b"))
    cells = picture[-44:, -44:].astype(int).sum(-1)[11::22, 11::22]  # the middle of each 22 pixel cell
    np.testing.assert_array_equal(cells < 300, [[True, False], [False, False]])


def test_confusion_image_of_many_classes_has_no_names_and_drops_the_column_of_no_class():
    picture = charts.confusion_image(np.eye(100, 101, dtype=np.int64), [str(i) for i in range(100)])
    assert picture.shape == (600, 600, 3)
    np.testing.assert_array_equal(picture[::6, ::6][np.eye(100, dtype=bool)], [[8, 48, 107]] * 100)


def test_matplotlib_is_not_imported_before_it_is_needed():
    code = "import sys, fcn_tf.reports.charts, fcn_tf.evaluate; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
