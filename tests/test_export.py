"""--mode=export: what it writes, what it refuses, and that nothing is left of an export that differs."""

import dataclasses
import errno
import json
import os
import re
import sys
import types

import numpy as np
import pytest

from fcn_tf import export, registry
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.formats.base import Format, Result
from fcn_tf.io import files
from tests import tiny_run

SEEN = np.arange(48 * 60).reshape(48, 60) // 100 % 3


def run(logs, **changes):
    return export.run(tiny_run.config("export", logs, **changes))


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """A run whose model picks the brightest colour, as the ground truth does."""
    monkeypatch.setattr(datasets, "load", lambda name, data_dir, split, **flags: tiny_run.dataset([(SEEN, SEEN)]))
    tiny_run.write_run(tmp_path / "logs", flags={"arch": "fcn8s"})
    return tmp_path / "logs"


@pytest.fixture
def broken(monkeypatch):
    """Registers a format "broken", whose results are those of "keras" after `change`."""

    def register(change=lambda result: result, **fields):
        honest = registry.resolve(registry.EXPORTS["keras"])

        def load(folder):
            run = honest.load(folder)
            return lambda images: change(run(images))

        module = types.ModuleType("temporary_broken")
        module.ENTRY = Format(honest.write, load, file=honest.file, memory=honest.memory, **fields)
        monkeypatch.setitem(sys.modules, "temporary_broken", module)
        monkeypatch.setitem(registry.EXPORTS, "broken", "temporary_broken:ENTRY")

    return register


def test_each_format_gets_a_folder_and_a_row(logs, capsys):
    assert run(logs, format="savedmodel,keras") == 0
    assert sorted(os.listdir(logs / "export")) == ["export.json", "keras", "savedmodel"]
    rows = json.loads((logs / "export/export.json").read_text())["exports"]
    assert [row["format"] for row in rows] == ["savedmodel", "keras"]
    for row in rows:
        assert row["agreement"] == 1 and row["confidence_difference"] < 1e-5 and row["mean_iou_difference"] == 0
        assert set(row["agreement_by_size"]) == {"224x224", "320x240", "227x181", "131x97", "45x31"}
        assert row["images_per_second"] > 0 and row["tensorflow_images_per_second"] > 0 and row["pictures"] == 20
        assert row["bytes"] == sum(size for name, size in sizes(row["folder"]).items() if name != "classes.json")
    said = json.loads((logs / "export/keras/classes.json").read_text())
    assert said["classes"][1] == {"id": 1, "name": "green", "color": [0, 255, 0]}
    assert said["ignore_label"] == 3 and said["precision"] == "float32"
    assert said["outputs"]["labels"].startswith("uint8 ")
    out = capsys.readouterr().out
    assert "savedmodel   float32" in out and "on 20 pictures of tiny validation" in out


def test_another_palette_than_the_runs(logs):
    assert run(logs, format="keras", palette="voc") == 0
    said = json.loads((logs / "export/keras/classes.json").read_text())
    assert [each["color"] for each in said["classes"]] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


def sizes(folder):
    """{path below the folder: bytes}."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            found[os.path.relpath(path, folder)] = os.path.getsize(path)
    return found


def test_a_second_export_replaces_the_first_and_keeps_the_rows_of_others(logs):
    assert run(logs, format="savedmodel,keras") == 0
    (logs / "export/keras/stale").touch()
    assert run(logs, format="keras") == 0
    assert sorted(os.listdir(logs / "export")) == ["export.json", "keras", "savedmodel"]
    assert sorted(os.listdir(logs / "export/keras")) == ["classes.json", "model.keras"]
    rows = json.loads((logs / "export/export.json").read_text())["exports"]
    assert sorted(row["format"] for row in rows) == ["keras", "savedmodel"]
    (logs / "export/export.json").write_text("damaged")
    files.remove_tree(str(logs / "export/savedmodel"))
    assert run(logs, format="keras") == 0
    assert len(json.loads((logs / "export/export.json").read_text())["exports"]) == 1


def test_what_a_killed_export_left_is_removed(logs):
    old, new, other = (logs / f"export/{name}" for name in (".0123456789ab.tmp", ".ba9876543210.tmp", "notes.tmp"))
    for folder in (old, new, other):
        folder.mkdir(parents=True)
        (folder / "half").touch()
    os.utime(old, (0, 0))
    assert run(logs, format="keras") == 0
    assert not old.exists() and new.exists() and other.exists()


def test_output_dir(logs, tmp_path):
    assert run(logs, format="keras", output_dir=str(tmp_path / "out")) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["export.json", "keras"]
    assert not (logs / "export").exists()


def shifted(result):
    return result._replace(labels=np.roll(result.labels, 1, axis=2))


def no_number(result):
    return result._replace(confidence=np.where(result.labels == 2, np.nan, result.confidence))


def without_weights(result):
    """The same labels, by luck, of even probabilities."""
    return result._replace(confidence=np.full_like(result.confidence, 1 / 3))


def one_short(result):
    return Result(result.labels[:, :-1], result.confidence[:, :-1])


def no_class(result):
    return result._replace(labels=result.labels + 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shifted, r"at \d+x\d+ pixels \d+\.\d\d % of the labels agree .* expected 99.5 %; fewest in image0"),
        (no_number, "the confidence of image0, .* holds NaN"),
        (without_weights, r"confidence differs from the model's by 0\.\d+ on average.*image0"),
        (one_short, r"shape \(1, 223, 224\), expected \(1, 224, 224\)"),
        (no_class, "labels of image0 reach 3, expected less than 3"),
    ],
)
def test_what_differs_is_not_left_behind(change, reason, logs, broken, capsys):
    broken(change)
    assert run(logs, format="broken,keras") == 1
    assert sorted(os.listdir(logs / "export")) == ["export.json", "keras"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert re.search(f"--format=broken: .*{reason}.*broken was not written", line), line


@pytest.mark.parametrize("where", ["write", "load"])
def test_a_converter_that_fails_keeps_none_of_the_others_from_being_written(where, logs, broken, capsys, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such\n  operation")

    notes = []
    monkeypatch.setattr(export.run_log, "note", notes.append)
    broken()
    module = sys.modules["temporary_broken"]
    monkeypatch.setattr(module, "ENTRY", dataclasses.replace(module.ENTRY, **{where: fails}))
    assert run(logs, format="savedmodel,broken,keras") == 1
    assert sorted(os.listdir(logs / "export")) == ["export.json", "keras", "savedmodel"]
    rows = json.loads((logs / "export/export.json").read_text())["exports"]
    assert [row["format"] for row in rows] == ["savedmodel", "keras"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    folder = logs / "export/broken"
    assert line == f"error: --format=broken: RuntimeError: no such operation; {folder} was not written."
    assert "Traceback" in notes[0] and "in fails" in notes[0]


def test_a_full_disk_is_no_fault_of_a_format(logs, broken, monkeypatch):
    def fails(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    broken()
    module = sys.modules["temporary_broken"]
    monkeypatch.setattr(module, "ENTRY", dataclasses.replace(module.ENTRY, write=fails))
    with pytest.raises(OSError, match="No space left"):
        run(logs, format="savedmodel,broken,keras")
    (row,) = json.loads((logs / "export/export.json").read_text())["exports"]
    assert row["format"] == "savedmodel"


def test_an_earlier_export_stays_where_the_new_one_differs(logs, broken):
    broken()
    assert run(logs, format="broken") == 0
    before = sizes(logs / "export/broken")
    broken(no_number)
    assert run(logs, format="broken") == 1
    assert sizes(logs / "export/broken") == before


def test_int8_may_differ_more_but_not_cost_accuracy(logs, broken, capsys):
    def one_in_eighty(result):
        labels = result.labels.copy()
        labels.reshape(len(labels), -1)[:, ::80] = 0
        return result._replace(labels=labels)

    broken(one_in_eighty, precisions=registry.EXPORT_PRECISIONS)
    assert run(logs, format="broken", quantize="int8") == 1
    assert re.search(r"mean IoU falls from 89\.\d+ to 8[78]\.", capsys.readouterr().err)


def test_what_cannot_be_is_one_line(logs, broken, tmp_path):
    with pytest.raises(UserError, match="--format=keras comes in float32, got --quantize=int8.*onnx, tflite, openvino"):
        run(logs, format="keras", quantize="int8")
    several = "=savedmodel comes in float32, web comes in float32 and int8, got .*float16; .* of onnx, tflite, openvino"
    with pytest.raises(UserError, match=several):
        run(logs, format="savedmodel,onnx,web", quantize="float16")
    broken(packages={"no_such_module": "no-such-package"})
    with pytest.raises(UserError, match="--format=broken needs no-such-package, .*: pip install no-such-package$"):
        run(logs, format="broken")
    for wrong in ("", "onnx,onnx", "onnx;keras", "torch"):
        with pytest.raises(UserError, match="--format must be some of savedmodel, onnx"):
            run(logs, format=wrong)
    (logs / "export/keras").mkdir(parents=True)
    (logs / "export/keras/thesis.txt").touch()
    with pytest.raises(UserError, match="keras is there and is no earlier export"):
        run(logs, format="keras")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--output_dir"):
        run(logs, format="keras", output_dir=str(tmp_path / "file"))


def test_generated_pictures_where_the_data_set_is_not_there(logs, monkeypatch, capsys):
    monkeypatch.undo()
    assert run(logs, format="keras", dataset="camvid", data_dir=str(logs / "none")) == 0
    captured = capsys.readouterr()
    assert "generated pictures" in captured.err and "none" in captured.err and "generated shapes" in captured.out
    (row,) = json.loads((logs / "export/export.json").read_text())["exports"]
    assert row["mean_iou_difference"] is None and row["agreement"] == 1


def test_int8_without_ground_truth_says_that_its_rule_was_not_checked(logs, broken, monkeypatch, capsys):
    broken(precisions=registry.EXPORT_PRECISIONS)
    assert run(logs, format="broken", quantize="int8") == 0 and "not checked" not in capsys.readouterr().err
    load = datasets.load

    def training_alone(name, data_dir, split, **flags):
        if split != "train" and flags:
            raise UserError("no validation")
        return load(name, data_dir, split, **flags)

    monkeypatch.setattr(datasets, "load", training_alone)
    before = json.loads((logs / "export/export.json").read_text())["exports"]
    assert run(logs, format="broken", quantize="int8") == 0
    assert "note: --format=broken: what int8 costs in mean IoU (at most 1 point) was not" in capsys.readouterr().err
    after = json.loads((logs / "export/export.json").read_text())["exports"]
    assert [each["mean_iou_checked"] for each in (*before, *after)] == [True, False]


def test_int8_needs_the_training_data(logs, monkeypatch, broken):
    monkeypatch.undo()
    broken(precisions=registry.EXPORT_PRECISIONS)
    settings = dataclasses.replace(
        tiny_run.config("export", logs, format="onnx"), dataset="camvid", data_dir=str(logs / "none"), quantize="int8"
    )
    pytest.importorskip("tf2onnx", reason="needs the extra [onnx]")
    with pytest.raises(UserError, match="none"):
        export.run(settings)
