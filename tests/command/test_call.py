"""Modes from Python: nothing printed, what the command would write, mistakes in settings."""

import json
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

import fcn_tf
import main
from fcn_tf import registry
from fcn_tf.errors import UserError
from tests import tiny_training
from tests.conftest import ROOT
from tests.test_packaging import declared


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def settings(folder):
    """Those of a training of two steps."""
    return {
        "dataset": "camvid",
        "data_dir": tiny_training.write_camvid(folder / "data"),
        "logs_dir": folder / "logs",
        "weights": tiny_training.write_weights(folder),
        "image_size": 32,
        "batch_size": 2,
        "learning_rate": 1,
        "max_steps": 2,
        "eval_every": 2,
    }


@pytest.fixture(scope="module")
def run(settings):
    return fcn_tf.train_run(**settings | {"learning_rate": 1e-3})


def test_training_prints_nothing_and_says_all_the_same(settings, run, capfd):
    again = fcn_tf.train_run(**settings | {"max_steps": 3, "eval_every": 3, "learning_rate": 1e-4})
    assert capfd.readouterr() == ("", "")
    assert "resumed at step 2" in again.messages
    assert any(line.startswith("done: step 3") for line in again.messages)
    assert again.history[-1]["step"] == 3 and again.best is not None
    fcn_tf.train_run(**settings | {"max_steps": 3, "eval_every": 3, "learning_rate": 1e-4}, verbose=True)
    assert "nothing to do" in capfd.readouterr().out


def test_every_mode_reads_the_run(run, folder, capsys):
    assert (run.logs_dir, len(run.class_names), len(run.colors), run.ignore_label) == (str(folder / "logs"), 11, 11, 11)
    with open(folder / "logs/config.json") as file:
        flags = json.load(file)["flags"]
    assert flags["image_size"] == "32" and flags["weights"].endswith("narrow.mat")
    for mode in ("evaluate", "visualize"):
        assert main.main(["main.py", f"--mode={mode}", f"--logs_dir={run.logs_dir}"]) == 0
    photo = tiny_training.scene(0)[0]
    found = fcn_tf.Segmenter.from_run(run)(photo)
    assert found.labels.shape == (32, 32) and found.class_names == run.class_names
    logits = np.asarray(run.model()(np.float32(photo[None])))
    np.testing.assert_array_equal(found.labels, logits[0].argmax(-1))


def test_evaluate_run_gives_what_the_command_writes(run, capfd):
    found = fcn_tf.evaluate_run(run, boundary=True)
    assert capfd.readouterr() == ("", "")
    with open(f"{run.logs_dir}/evaluation/metrics.json") as file:
        assert found == json.load(file)
    assert found["split"] == "validation" and "boundary" in found
    assert fcn_tf.evaluate_run(run.logs_dir, split="train")["split"] == "train"
    truth = f"{os.path.dirname(run.logs_dir)}/data/valannot"  # which ignores 11, so that it is all right
    scores = fcn_tf.evaluate_run(run, predictions=truth)
    assert (scores["predictions"], scores["pixel_accuracy"]) == (truth, 1)


def test_predict_run_says_what_it_could_not_label(run, tmp_path, capfd):
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), tiny_training.scene(0)[0][..., ::-1])
    (photos / "b.png").write_bytes(b"no picture")
    done = fcn_tf.predict_run(run, input=photos, output_dir=tmp_path / "out", outputs="labels")
    assert capfd.readouterr() == ("", "")
    assert [name for name in os.listdir(done) if name.endswith(".png")] == ["a_label.png"]
    assert not done.complete and any("b.png" in line for line in done.messages)
    os.remove(photos / "b.png")
    assert fcn_tf.predict_run(run, input=photos, output_dir=tmp_path / "out", outputs="labels").complete
    labels = cv2.imread(f"{os.fspath(done)}/a_label.png", cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, fcn_tf.Segmenter.from_run(run)(photos / "a.png").labels)


def test_export_run_leads_to_a_segmenter(run, tmp_path, capfd):
    written = fcn_tf.export_run(run, format="keras", output_dir=tmp_path / "export")
    assert capfd.readouterr() == ("", "")
    assert written.complete and any("keras" in line for line in written.messages)
    photo = tiny_training.scene(1)[0]
    found = fcn_tf.Segmenter.from_run(f"{os.fspath(written)}/keras")(photo)
    assert (found.labels == fcn_tf.Segmenter.from_run(run)(photo).labels).mean() > 0.995


def test_flags_of_other_modes_are_refused(run):
    with pytest.raises(UserError, match="--input"):
        fcn_tf.evaluate_run(run, input="photos")
    with pytest.raises(UserError, match="there is no trained model"):
        fcn_tf.evaluate_run("nowhere")


def test_load_run(run, tmp_path):
    loaded = fcn_tf.load_run(run.logs_dir)
    assert loaded.class_names == run.class_names and loaded.messages == () and os.fspath(loaded) == run.logs_dir
    with pytest.raises(UserError, match="is no run: no config.json"):
        fcn_tf.load_run(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_step": 3}, "unknown setting 'max_step'; did you mean max_steps?"),
        ({"lr": 3}, "unknown setting 'lr'; use learning_rate."),
        (
            {"Epochs": 3},
            "unknown setting 'Epochs'; use max_steps, which counts steps: an epoch is the training images / ",
        ),
        ({"num_workers": 3}, "unknown setting 'num_workers'; the input pipeline reads with every core."),
        ({"mode": "train"}, "unknown setting 'mode'"),
        ({"max_steps": "3"}, "max_steps must be of type int, got '3'"),
        ({"augment": 1}, "augment must be of type bool, got 1"),
        ({"learning_rate": -1}, "--learning_rate must be a positive number"),
        ({"arch": "unet"}, "--arch must be one of"),
    ],
)
def test_a_wrong_setting_is_one_line(wrong, message, tmp_path):
    with pytest.raises(UserError) as caught:
        fcn_tf.train_run(logs_dir=tmp_path, **wrong)
    assert message in str(caught.value)


def test_a_run_is_continued_as_it_was_started(run, settings):
    with pytest.raises(UserError, match="holds a run with --image_size=32, got --image_size=64"):
        fcn_tf.train_run(**settings | {"image_size": 64})


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_an_interrupt_is_raised_once_the_run_is_saved(number, raised, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.MODES, "train", "tests.command.test_call:interrupted")
    monkeypatch.setenv("STATUS", str(128 + number))
    with pytest.raises(raised):
        fcn_tf.train_run(logs_dir=tmp_path)


def interrupted(config):
    return int(os.environ["STATUS"])


def test_the_installed_command_is_the_program(tmp_path):
    (line,) = [line for line in declared("options.entry_points", "console_scripts") if line]
    name, module, attribute = line.replace("=", ":").replace(" ", "").split(":")
    assert name == "fcn_tf"
    script = f"import sys; from {module} import {attribute}; sys.argv[0] = '/usr/bin/{name}'; sys.exit({attribute}())"
    for arguments, status, text in (
        (["--help"], 0, "usage: fcn_tf --mode=MODE"),
        (["--mode=predict", "--input=a.png"], 2, "error: logs/ is no run"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == status and (done.stdout + done.stderr).startswith(text), done.stderr
