"""Curves and confusion matrices, by their pixels."""

import io
import subprocess
import sys

import numpy as np
from PIL import Image

from fcn_tf.io.run_dir import HISTORY_COLUMNS, TRAINING_COLUMNS, Run
from fcn_tf.reports import charts


def row(step, **values):
    return {**dict.fromkeys(HISTORY_COLUMNS), "step": step, **values}


def picture_of(run):
    with open(run.curves, "rb") as file:
        return np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))


def where(picture, color, columns=slice(None)):
    """(rows, columns) of the pixels of a "#rrggbb" colour, antialiased edges left out, sorted by column."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    rows, found = np.nonzero(np.abs(picture[:, columns].astype(int) - wanted).sum(-1) < 30)
    order = np.argsort(found, kind="stable")
    return rows[order], found[order]


LOSS, ACCURACY, IOU = slice(0, 400), slice(400, 800), slice(800, 1200)  # columns of the panels


def test_curves_run_where_their_numbers_are(tmp_path):
    run = Run(str(tmp_path))
    charts.write_curves(run)
    assert not (tmp_path / "curves.png").exists()
    for step in (0, 50, 100):  # the loss falls from 4 to 1, mean IoU rises from 0.1 to 0.9
        run.append_history(row(step, val_loss=4 - 0.03 * step, train_mean_iou=0.1 + 0.008 * step))
    charts.write_curves(run)
    picture = picture_of(run)
    assert picture.shape == (360, 1200, 3)
    validation, train = charts._COLORS["validation"], charts._COLORS["train"]
    rows, columns = where(picture, validation, LOSS)
    assert rows[columns < 100].max() < 150 and rows[columns > 300].max() > 230  # down from the upper left
    rows, columns = where(picture, train, IOU)
    assert rows[columns < 100].max() > 250 and rows[columns > 300].max() < 150  # up from the lower left
    for color, panel in ((validation, ACCURACY), (validation, IOU), (train, LOSS), (train, ACCURACY)):
        assert not len(where(picture, color, panel)[0])


def test_the_curve_of_the_training_has_a_point_for_each_that_was_logged(tmp_path):
    """It falls from 4 to 1 before the first validation, after which the loss stays."""
    run = Run(str(tmp_path))
    for step in (50, 100):
        run.append_history(row(step, val_loss=1.0, train_loss=3.0))
    points = ((0, 4.0), (25, 1.0), (100, 1.0))
    run.write_training([{**dict.fromkeys(TRAINING_COLUMNS), "step": step, "train_loss": loss} for step, loss in points])
    charts.write_curves(run)
    rows, columns = where(picture_of(run), charts._COLORS["train"], LOSS)
    assert rows[columns < 80].min() < 100 and rows[(columns > 120) & (columns < 180)].max() > 230
    run.write_training([{**dict.fromkeys(TRAINING_COLUMNS), "step": 100, "train_loss": 1.0}])  # of an older run
    charts.write_curves(run)
    rows, columns = where(picture_of(run), charts._COLORS["train"], LOSS)
    assert rows[columns < 80].max() < 150 and rows[columns > 300].max() > 200


def test_the_accuracy_panel_tells_four_curves_apart(tmp_path):
    run = Run(str(tmp_path))
    levels = {
        "train_pixel_accuracy": ("train", 0.8), "val_pixel_accuracy": ("validation", 0.6),
        "train_mean_accuracy": ("class mean, train", 0.4), "val_mean_accuracy": ("class mean, validation", 0.2),
    }  # fmt: skip
    for step in (0, 100):
        run.append_history(row(step, **{column: level for column, (_, level) in levels.items()}))
    charts.write_curves(run)
    heights = [where(picture_of(run), charts._COLORS[name], ACCURACY)[0][-1] for name, _ in levels.values()]
    assert heights == sorted(heights) and np.diff(heights).min() > 40  # the axis goes from 0 to 1


def test_curves_without_a_single_number(tmp_path):
    run = Run(str(tmp_path))
    run.append_history(row(10))
    charts.write_curves(run)
    picture = picture_of(run)
    assert not any(len(where(picture, color)[0]) for color in charts._COLORS.values())
    assert (picture[:, LOSS] < 100).any()  # axes and titles


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


def test_the_loss_axis_starts_at_zero(tmp_path):
    run = Run(str(tmp_path))
    for step in (0, 100):
        run.append_history(row(step, val_loss=2.0, val_mean_iou=1.0))
    charts.write_curves(run)
    loss, iou = (where(picture_of(run), charts._COLORS["validation"], each)[0].min() for each in (LOSS, IOU))
    assert abs(loss - iou) < 25  # from 0, the loss of 2 is near the top, where 1 is the top of the IoU


SCALE = 34  # pixels, below a confusion matrix


def test_confusion_image_is_dark_where_pixels_went():
    counts = np.array([[9, 0], [0, 0]])
    picture = charts.confusion_image(counts, ("a", "b"))[:-SCALE]
    side = len(picture) - 44
    cells = picture[side:, side:][:, :44].astype(int).sum(-1)[11::22, 11::22]  # the middle of each 22 pixel cell
    np.testing.assert_array_equal(cells < 300, [[True, False], [False, False]])


def test_confusion_image_writes_each_name_beside_its_row_and_above_its_column():
    names = ("Straße", "", "i")
    picture = charts.confusion_image(np.zeros((3, 3), int), names)[:-SCALE]
    ink = (picture < 128).min(-1)
    side = len(picture) - 3 * 22
    rows, columns = (ink[side:, :side].reshape(3, 22, side), ink[:side, side:][:, :66].reshape(side, 3, 22))
    long, none, short = rows.sum((1, 2))
    assert long > 5 * short > 0 == none
    np.testing.assert_array_equal(columns.sum((0, 2)) > 0, [True, False, True])


def test_confusion_image_of_many_classes_has_no_names_and_drops_the_column_of_no_class():
    picture = charts.confusion_image(np.eye(100, 101, dtype=np.int64), [str(i) for i in range(100)])
    assert picture.shape == (600 + SCALE, 600, 3)
    np.testing.assert_array_equal(picture[:600:6, ::6][np.eye(100, dtype=bool)], [[8, 48, 107]] * 100)


def test_the_scale_below_a_confusion_matrix_has_its_tones():
    counts = np.array([[95, 5], [0, 1]])
    picture = charts.confusion_image(counts, ("a", "b"))
    scale = picture[-SCALE:].reshape(-1, 3)
    side = len(picture) - SCALE - 44
    for cell in (picture[side + 11, side + 11 + 22], picture[side + 33, side + 33]):  # 5 % and 100 %
        assert (scale == cell).all(-1).sum() > 50


def test_matplotlib_is_not_imported_before_it_is_needed():
    code = "import sys, fcn_tf.reports.charts, fcn_tf.evaluate; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
