"""A training that has nothing left to do says so from its files, without TensorFlow, and only where they are whole."""

import os
import subprocess
import sys

import pytest

import main
from fcn_tf.io import files, system
from fcn_tf.io.run_dir import Run
from tests import tiny_training
from tests.conftest import ROOT

CODE = "import sys, main; sys.exit(main.main(sys.argv) or ('tensorflow' in sys.modules and 'TensorFlow was loaded'))"


class _Loaded(Exception):
    """TensorFlow was about to be loaded."""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A run of two steps, validated at both, and the command that made it."""
    folder = tmp_path_factory.mktemp("finished")
    command = ["main.py", f"--logs_dir={folder}/run", "--dataset=camvid", "--image_size=32", "--batch_size=2"]
    command += [f"--data_dir={tiny_training.write_camvid(folder / 'data')}", "--eval_every=1", "--learning_rate=1e-12"]
    command += [f"--weights={tiny_training.write_weights(folder)}", "--max_steps=2"]
    assert main.main(command) == 0
    return command


@pytest.fixture
def run(command):
    return Run(command[1].removeprefix("--logs_dir="))


@pytest.fixture
def start(command, monkeypatch):
    """Starts it with more flags; raises _Loaded where TensorFlow is asked."""

    def load():
        raise _Loaded

    monkeypatch.setattr(system, "load_tensorflow", load)
    return lambda *flags: main.main([*command, *flags])


def test_it_needs_no_tensorflow(command):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "resumed at step 2\nnothing to do: the run has taken 2 of 2 steps; give a higher --max_steps\n"
    )


def test_early_stopping_is_known_too(start, capsys):
    assert start("--early_stopping=1", "--max_steps=5") == 0
    assert "nothing to do: the run stopped early at step 2, with 1 validations" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--max_steps=3", "--accumulate=2", "--resume_from=best"])
def test_where_something_else_is_asked_tensorflow_looks(start, flag, capsys):
    assert start(flag) == 1
    assert "_Loaded" in capsys.readouterr().err


def test_several_workers_are_all_asked(start, monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert start() == 1 and "_Loaded" in capsys.readouterr().err


def test_a_damaged_checkpoint_or_a_missing_validation_is_no_end(start, run, capsys):
    index, record = (f"{run.newest_checkpoint()}.{ending}" for ending in ("index", "json"))
    for path, change in (
        (index, lambda data: data[:-1] + b"?"),
        (run.history, lambda data: data[: data.index(b"\n2")]),
    ):
        data = files.read_bytes(path)
        files.write_bytes(path, change(data))
        assert start() == 1 and "_Loaded" in capsys.readouterr().err, path
        files.write_bytes(path, data)
    os.rename(record, record + ".kept")  # of an earlier version
    assert start() == 1 and "_Loaded" in capsys.readouterr().err
    os.rename(record + ".kept", record)
    assert start() == 0


def test_another_training_at_work_there_is_told(start, run, capsys):
    with run.claimed():
        assert start() == 2
    assert "another training is writing to --logs_dir=" in capsys.readouterr().err
