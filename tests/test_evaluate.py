"""--mode=evaluate: its numbers, its files, and folders of label images made by anything."""

import contextlib
import csv
import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fcn_tf import evaluate
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.quality import scan
from fcn_tf.errors import UserError
from fcn_tf.io import files, images
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import per_image
from tests import tiny_run

PAIRS = [([[0, 1, 2]], [[0, 0, 3]]), ([[1, 1], [2, 2]], [[1, 2], [2, 2]])]
# Rows are the ground truth: red, green, blue.
COUNTS = [[1, 1, 0], [0, 1, 0], [0, 1, 2]]


def put(monkeypatch, dataset):
    """Puts a data set behind `datasets.load`."""
    monkeypatch.setattr(datasets, "load", lambda name, data_dir, split, **flags: dataset)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    put(monkeypatch, tiny_run.dataset(PAIRS))


def test_run_writes_every_number(tmp_path, capsys):
    tiny_run.write_run(tmp_path)
    assert evaluate.run(tiny_run.config("evaluate", tmp_path)) == 0
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
    assert "mean IoU                 50.00  " in out and "2 images of tiny validation" in out
    assert re.search(r"^SceneParsing score  .* \(pixel accuracy \+ IoU over all 3 classes\) / 2$", out, re.M)


def test_run_without_a_model_says_to_train(tmp_path):
    with pytest.raises(UserError, match="no trained model"):
        evaluate.run(tiny_run.config("evaluate", tmp_path))


def test_a_folder_that_cannot_be_written_costs_no_pass(tmp_path, monkeypatch):
    folder = tiny_run.save_labels(tmp_path / "theirs", {f"image{i}.png": seen for i, (seen, _) in enumerate(PAIRS)})
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/evaluation").touch()
    monkeypatch.setattr(evaluate.label_files, "score_files", None)  # calling it would fail
    with pytest.raises(
        UserError, match=r"logs/evaluation cannot be written \(it is no folder\); give another --logs_dir"
    ):
        evaluate.run(tiny_run.config("evaluate", tmp_path / "logs", predictions=folder))


def test_a_disk_that_fills_up_meanwhile_costs_no_number(tmp_path, monkeypatch, capsys):
    folder = tiny_run.save_labels(tmp_path / "theirs", {f"image{i}.png": seen for i, (seen, _) in enumerate(PAIRS)})

    def fails(path, data):
        if path.endswith(".npz"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return write(path, data)

    write = files.write_bytes
    monkeypatch.setattr(files, "write_bytes", fails)
    with pytest.raises(OSError, match="No space left"):
        evaluate.run(tiny_run.config("evaluate", tmp_path / "logs", predictions=folder))
    assert "mean IoU                 50.00" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".png", "_label.png"])
def test_predictions_of_any_tool(tmp_path, ending):
    maps = {f"image{i}{ending}": seen for i, (seen, _) in enumerate(PAIRS)}
    maps["image1" + ending] = [[1, 9], [2, 2]]  # 9 is no class: a miss
    folder = tiny_run.save_labels(tmp_path / "theirs", maps)
    assert evaluate.run(tiny_run.config("evaluate", tmp_path / "logs", predictions=folder)) == 0
    report = json.loads((tmp_path / "logs/evaluation/metrics.json").read_text())
    assert report["predictions"] == folder and report["images"] == 2
    assert report["pixel_accuracy"] == 4 / 6
    with np.load(tmp_path / "logs/evaluation/confusion.npz") as saved:
        np.testing.assert_array_equal(saved["counts"], [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 2, 1]])


def test_files_are_scanned_once(tmp_path, monkeypatch):
    monkeypatch.undo()  # of a data set on disk
    for number in range(3):
        os.makedirs(tmp_path / "data/images", exist_ok=True)
        (tmp_path / f"data/images/{number}.png").write_bytes(images.encode_png(np.zeros((4, 4, 3), np.uint8)))
        tiny_run.save_labels(
            tmp_path / "data/masks", {f"{number}.png": [[0, 1]] * 2 if number == 2 else [[0, 1, 0, 1]] * 4}
        )
    scanned: list[str] = []

    def counted(of_kind):
        def scan_file(data, path):
            scanned.append(path)
            return of_kind(data, path)

        return scan_file

    for kind, of_kind in list(scan._SCANS.items()):
        monkeypatch.setitem(scan._SCANS, kind, counted(of_kind))
    config = Config(
        mode="evaluate", dataset="folder", data_dir=str(tmp_path / "data"), split="all", on_bad_example="skip",
        logs_dir=str(tmp_path / "logs"), predictions=str(tmp_path / "data/masks"),
    )  # fmt: skip
    evaluate.run(config)
    assert len(scanned) == len(set(scanned)) == 6
    evaluate.run(config)
    assert len(scanned) == 6


def test_classes_without_names_are_told_how_to_get_some(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()  # of a data set on disk
    for name in "abc":
        tiny_run.save_labels(tmp_path / "data/images", {f"{name}.png": [[0] * 4] * 4})
        tiny_run.save_labels(tmp_path / "data/masks", {f"{name}.png": [[0, 1, 0, 1]] * 4})
    config = Config(
        mode="evaluate", dataset="folder", data_dir=str(tmp_path / "data"), split="all",
        logs_dir=str(tmp_path / "logs"), predictions=str(tmp_path / "data/masks"),
    )  # fmt: skip
    evaluate.run(config)
    assert capsys.readouterr().out.count(f"write {tmp_path}/data/classes.txt: one name a line, class 0 first\n") == 1
    (tmp_path / "data/classes.txt").write_text("sky\nroad\n")
    evaluate.run(config)
    printed = capsys.readouterr().out
    assert "classes.txt" not in printed and "\nroad  " in printed


def test_scoring_files_needs_no_tensorflow():
    code = "import sys, fcn_tf.evaluate, fcn_tf.predict, fcn_tf.visualize; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Folders of label images, of which the second has more pixels wrong, for 12 images of 2x2."""
    truth = [[[i % 3, 1], [2, (i + 1) % 3]] for i in range(12)]
    put(monkeypatch, tiny_run.dataset([(each, each) for each in truth]))
    good = tiny_run.save_labels(tmp_path / "good", {f"image{i}.png": each for i, each in enumerate(truth)})
    bad = tiny_run.save_labels(tmp_path / "bad", {f"image{i}.png": [[0, 0], each[1]] for i, each in enumerate(truth)})
    return good, bad


def test_compare_says_whether_two_runs_differ(tmp_path, two_runs, capsys):
    good, bad = two_runs
    assert evaluate.run(tiny_run.config("evaluate", tmp_path / "a", predictions=bad)) == 0
    assert evaluate.run(tiny_run.config("evaluate", tmp_path / "b", predictions=good, compare=str(tmp_path / "a"))) == 0
    result = json.loads((tmp_path / "b/evaluation/metrics.json").read_text())["comparison"]
    other = json.loads((tmp_path / "a/evaluation/metrics.json").read_text())
    assert result["differs"] and result["mean_iou"] == 1
    assert result["other_mean_iou"] == pytest.approx(other["mean_iou"])
    assert "the two runs differ" in capsys.readouterr().out
    evaluate.run(tiny_run.config("evaluate", tmp_path / "c", predictions=bad, compare=str(tmp_path / "a")))
    assert "+0.00 (+0.00 to +0.00): no difference beyond chance" in capsys.readouterr().out
    assert "No difference beyond chance." in (tmp_path / "c/evaluation/report.html").read_text()


def test_label_images_of_others_leave_the_evaluation_of_the_run_alone(tmp_path, two_runs, capsys):
    good, bad = two_runs
    run = tiny_run.write_run(tmp_path / "run")
    evaluate.run(tiny_run.config("evaluate", tmp_path / "run"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run/evaluation").iterdir()}
    evaluate.run(tiny_run.config("evaluate", tmp_path / "run", predictions=bad, compare=run.logs_dir))
    said = capsys.readouterr().out
    assert f"mean IoU of label images in {bad} minus that of {run.model} (--compare={run.logs_dir}): -" in said
    assert f"written to {run.logs_dir}/evaluation_predictions; open {run.logs_dir}/evaluation_predictions/rep" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "run/evaluation").iterdir()} == before
    page = (tmp_path / "run/evaluation_predictions/report.html").read_text()
    assert f"of {run.model}\n  (--compare={run.logs_dir}):" in page
    # The other way round, by the folder of an evaluation; and with a metrics.json that is lost.
    folder = f"{run.logs_dir}/evaluation_predictions"
    evaluate.run(tiny_run.config("evaluate", tmp_path / "run", compare=folder))
    assert f"of {run.model} minus that of label images in {bad} (--compare={folder}): +" in capsys.readouterr().out
    os.remove(f"{folder}/metrics.json")
    evaluate.run(tiny_run.config("evaluate", tmp_path / "c", predictions=good, compare=folder))
    assert f"{good} minus that of the evaluation there (--compare={folder}): +" in capsys.readouterr().out


def test_compare_with_what_is_not_comparable(tmp_path, two_runs, monkeypatch):
    good, _ = two_runs

    def compare():
        return evaluate.run(tiny_run.config("evaluate", tmp_path / "b", predictions=good, compare=str(tmp_path / "a")))

    expected = "expected the --logs_dir of an evaluated run, or the folder of an evaluation"
    with pytest.raises(UserError, match=f"^--compare=[^ ]*/a: there is no such folder; {expected}. Correct the path.$"):
        compare()
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=f"/a: no run and no per_image.npz is in this folder; {expected}. Give another"):
        compare()
    run = tiny_run.write_run(tmp_path / "a")
    missing = f"this run is not evaluated, {run.evaluation}/per_image.npz is missing; {expected}."
    with pytest.raises(
        UserError, match=f"{missing} First run --mode=evaluate --logs_dir={run.logs_dir} --split=validation.$"
    ):
        compare()
    shutil.rmtree(tmp_path / "a")
    evaluate.run(tiny_run.config("evaluate", tmp_path / "a", predictions=good))
    unlike = tiny_run.dataset(PAIRS, spec=dataclasses.replace(tiny_run.SPEC, ignore_label=0))
    put(monkeypatch, unlike)
    with pytest.raises(UserError, match="other classes or another ignored label"):
        compare()
    put(monkeypatch, tiny_run.dataset(PAIRS))
    with pytest.raises(UserError, match="12 other images than the 2"):
        compare()
    path = tmp_path / "a/evaluation/per_image.npz"
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for number in range(100):
        harmed = bytearray(data)
        harmed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(harmed if number % 2 else data[: rng.integers(len(data))])
        with contextlib.suppress(UserError):
            per_image.read_pixel_counts(Run(str(tmp_path / "a")), tiny_run.dataset(PAIRS))
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged"):
        compare()
    np.savez(path, names=np.array([print], object), areas=1, class_names=2, ignore_label=3)
    with pytest.raises(UserError, match="damaged .*allow_pickle"):
        compare()


def test_compare_with_other_label_maps_of_the_same_images(tmp_path, two_runs, monkeypatch):
    good, _ = two_runs
    evaluate.run(tiny_run.config("evaluate", tmp_path / "a", predictions=good))
    other = tiny_run.dataset([([[0, 0], [0, 0]], [[0, 0], [0, 0]])] * 12)
    put(monkeypatch, other)
    with pytest.raises(UserError, match="against other label maps"):
        evaluate.run(tiny_run.config("evaluate", tmp_path / "b", predictions=good, compare=str(tmp_path / "a")))


def test_boundary_intervals_and_areas(tmp_path, two_runs, capsys):
    good, _ = two_runs
    evaluate.run(tiny_run.config("evaluate", tmp_path, predictions=good, boundary=True))
    result = json.loads((tmp_path / "evaluation/metrics.json").read_text())
    assert (
        result["boundary"]["bf"] == result["boundary"]["bf_common"] == 1 and result["boundary"]["trimap_iou"]["1"] == 1
    )
    assert result["intervals"]["mean_iou"] == [1, 1]
    with np.load(tmp_path / "evaluation/per_image.npz") as saved:
        assert saved["names"].tolist()[:2] == ["image0", "image1"]
        # image0 is 0 1 / 2 1: one pixel of 0, two of 1, one of 2, all hit.
        np.testing.assert_array_equal(saved["areas"][0], [[1, 2, 1]] * 3)
    assert "boundary F1 (BF)        100.00" in capsys.readouterr().out


def test_other_ways_to_look_are_noted_and_change_nothing_for_a_1x1_model(tmp_path):
    tiny_run.write_run(tmp_path)
    evaluate.run(tiny_run.config("evaluate", tmp_path, sliding_window=32))
    result = json.loads((tmp_path / "evaluation/metrics.json").read_text())
    assert result["settings"] == {"tta": False, "sliding_window": 32}
    assert result["pixel_accuracy"] == 4 / 6
    assert "boundary" not in result and "comparison" not in result
