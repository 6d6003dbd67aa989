"""The evaluate verb: its numbers, its files, and folders of label images made by anything."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fcn_tf import evaluate, images, metrics
from fcn_tf.datasets import DATASETS
from fcn_tf.errors import UserError
from tests import tiny_run

PAIRS = [([[0, 1, 2]], [[0, 0, 3]]), ([[1, 1], [2, 2]], [[1, 2], [2, 2]])]
# Rows are the truth: red, green, blue.
COUNTS = [[1, 1, 0], [0, 1, 0], [0, 1, 2]]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(DATASETS, "tiny", lambda data_dir, split: tiny_run.dataset(PAIRS, split=split))


def save_labels(folder, maps):
    os.makedirs(folder, exist_ok=True)
    for name, labels in maps.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(images.encode_png(np.asarray(labels, np.uint8)))
    return str(folder)


def test_run_writes_every_number(tmp_path, capsys):
    tiny_run.write_run(tmp_path)
    assert evaluate.run(tiny_run.config(tmp_path)) == 0
    report = json.loads((tmp_path / "evaluation/metrics.json").read_text())
    assert report["pixel_accuracy"] == 4 / 6
    assert report["mean_accuracy"] == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert report["mean_iou"] == pytest.approx((1 / 2 + 1 / 3 + 2 / 3) / 3)
    assert report["frequency_weighted_iou"] == pytest.approx((2 * 1 / 2 + 1 * 1 / 3 + 3 * 2 / 3) / 6)
    assert report["scene_parsing_score"] == pytest.approx((4 / 6 + 1 / 2) / 2)
    assert [row["name"] for row in report["per_class"]] == ["red", "green", "blue"]
    assert (report["dataset"], report["split"], report["images"]) == ("tiny", "validation", 2)
    assert report["resolution"] == {
        "rule": "each image at its own size",
        "smallest": [3, 1],
        "largest": [2, 2],
    }
    assert report["rules"] and report["loss"] > 0
    with np.load(tmp_path / "evaluation/confusion.npz") as saved:
        np.testing.assert_array_equal(saved["counts"], COUNTS)
        assert saved["class_names"].tolist() == ["red", "green", "blue"] and saved["ignore_label"] == 3
    rows = list(csv.DictReader((tmp_path / "evaluation/per_class.csv").read_text().splitlines()))
    assert (rows[0]["id"], rows[0]["name"], rows[0]["iou"]) == ("0", "red", "0.5")
    out = capsys.readouterr().out
    assert "mean IoU                 50.00" in out and "2 images of tiny validation" in out


def test_run_without_a_model_says_to_train(tmp_path):
    with pytest.raises(UserError, match="no trained model"):
        evaluate.run(tiny_run.config(tmp_path))


@pytest.mark.parametrize("ending", [".png", "_label.png"])
def test_predictions_of_any_tool(tmp_path, ending):
    maps = {f"image{i}{ending}": seen for i, (seen, _) in enumerate(PAIRS)}
    maps["image1" + ending] = [[1, 9], [2, 2]]  # 9 is no class: a miss
    folder = save_labels(tmp_path / "theirs", maps)
    assert evaluate.run(tiny_run.config(tmp_path / "logs", predictions=folder)) == 0
    report = json.loads((tmp_path / "logs/evaluation/metrics.json").read_text())
    assert report["predictions"] == folder and report["images"] == 2
    assert report["pixel_accuracy"] == 4 / 6
    with np.load(tmp_path / "logs/evaluation/confusion.npz") as saved:
        np.testing.assert_array_equal(saved["counts"], [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 2, 1]])


def test_predictions_equal_to_the_truth_are_perfect(tmp_path):
    data = tiny_run.dataset(PAIRS)
    folder = save_labels(tmp_path, {f"image{i}.png": label for i, (_, label) in enumerate(PAIRS)})
    counts, _ = evaluate.score_files(data, folder)
    assert metrics.pixel_accuracy(counts, 3) == metrics.mean_iou(counts, 3) == 1


def test_predictions_that_are_missing_are_named(tmp_path):
    folder = save_labels(tmp_path, {"image0.png": PAIRS[0][0], "stray.png": [[0]]})
    with pytest.raises(UserError, match="no label image for 1 of 2 images of tiny validation: image1;"):
        evaluate.score_files(tiny_run.dataset(PAIRS), folder)
    with pytest.raises(UserError, match="is no folder"):
        evaluate.score_files(tiny_run.dataset(PAIRS), str(tmp_path / "nowhere"))


def test_predictions_are_never_resized(tmp_path):
    folder = save_labels(tmp_path, {"image0.png": [[0, 1]], "image1.png": PAIRS[1][0]})
    with pytest.raises(UserError, match="image0.png: 2x1, but the label map of image0 is 3x1"):
        evaluate.score_files(tiny_run.dataset(PAIRS), folder)


def test_table_aligns_and_marks_what_has_no_value():
    summary = metrics.summarize(np.array([[3, 0], [0, 0]]), ("a", "traffic light"))
    lines = evaluate.table(summary).splitlines()
    assert lines[1].split() == ["a", "100.00", "100.00", "100.00", "100.00"]
    assert lines[2].split() == ["traffic", "light", "-", "-", "-", "0.00"]
    assert len({len(line) for line in lines[:3]}) == 1


def test_scoring_files_needs_no_tensorflow():
    code = (
        "import sys, fcn_tf.evaluate, fcn_tf.predict, fcn_tf.visualize; sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
