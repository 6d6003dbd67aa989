"""Folders of runs that somebody, or a disk, has changed: one line, status 2, and nothing in the run is lost."""

import builtins
import contextlib
import email.message
import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import urllib.request

import numpy as np
import pytest
from PIL import Image

import main
from fcn_tf.errors import UserError
from fcn_tf.io import downloads
from fcn_tf.io.run_dir import Run
from fcn_tf.training.running_metrics import RunningMetrics
from tests import disks, tampering, tiny_training


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run of four steps, its data, and a photo."""
    root = tmp_path_factory.mktemp("made")
    data, weights = tiny_training.write_camvid(root / "data"), tiny_training.write_weights(root)
    flags = ["--dataset=camvid", f"--data_dir={data}", f"--weights={weights}", "--image_size=32", "--batch_size=2"]
    steps = ["--max_steps=4", "--eval_every=2", "--save_every=2"]
    assert main.main(["main.py", *flags, *steps, f"--logs_dir={root}/run"]) == 0
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(root / "photo.png")
    return root


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run that may be harmed."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def commands(made, run):
    """The command line of each mode that reads a run."""
    photo, here = f"--input={made}/photo.png", f"--logs_dir={run}"
    return {
        "train": ["--mode=train", "--max_steps=6", here],
        "evaluate": ["--mode=evaluate", here],
        "visualize": ["--mode=visualize", here],
        "predict": ["--mode=predict", photo, here],
        "explain": ["--mode=explain", photo, "--point=1,1", here],
        "export": ["--mode=export", "--format=keras", here],
    }


def contents(run):
    """{path: checksum} of the files of a run, but for those in place of which a folder stands; run.log goes on."""
    return {
        path.relative_to(run): hashlib.sha256(path.read_bytes()).digest()
        for path in run.rglob("*")
        if path.is_file() and path.name != "run.log"
    }


def refused(arguments, run, capsys):
    """The one line of the error; the files of the run are those that were there."""
    before = contents(run)
    capsys.readouterr()
    status = main.main(["main.py", *arguments])
    printed = capsys.readouterr()
    assert status == 2, printed
    assert re.fullmatch(r"error: [^\n]+\n", printed.err.rpartition("\r")[2]) and "\x1b" not in printed.err
    assert before.items() <= contents(run).items()
    return printed.err


@pytest.mark.parametrize("what", tampering.REFUSED)
def test_every_mode_refuses(made, run, capsys, what):
    tampering.REFUSED[what](run)
    for arguments in commands(made, run).values():
        refused(arguments, run, capsys)


@pytest.mark.parametrize("what", tampering.REFUSED_BY_TRAINING)
def test_training_refuses(made, run, capsys, what):
    tampering.REFUSED_BY_TRAINING[what](run)
    assert what.split()[0] in refused(commands(made, run)["train"], run, capsys)


@pytest.mark.parametrize("what", tampering.HARMLESS)
def test_harmless(made, run, what):
    tampering.HARMLESS[what](run)
    assert main.main(["main.py", *commands(made, run)["evaluate"]]) == 0


def test_a_file_as_logs_dir(made, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file/in"):
        for arguments in commands(made, path).values():
            refused(arguments, tmp_path, capsys)


@pytest.mark.parametrize(
    "state",
    [
        3, [], {}, {"losses": 1}, {"losses": "a", "steps": 1, "seconds": 1, "images": 1, "cells": None},
        {"losses": 1.0, "steps": 1, "seconds": 1.0, "images": 1, "cells": [1, 2]},
        {"losses": 1.0, "steps": 1, "seconds": 1.0, "images": 1, "cells": [10**30] * 12},
        {"losses": 1.0, "steps": 1, "seconds": 1.0, "images": 1, "cells": "many"},
    ],
)  # fmt: skip
def test_sums_that_no_training_wrote_are_left_out(state):
    assert RunningMetrics.restored(tiny_training.SPEC, state).state() == RunningMetrics(tiny_training.SPEC).state()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"[" * 100_000, b'{"settings": {}, "results": {"a": 3}}', b'{"settings": 1, "results": {"a": {}}}'],
)
def test_a_journal_that_no_prediction_wrote(made, run, capsys, data):
    (run / "predict").mkdir()
    (run / "predict/predict.json").write_bytes(data)
    assert "is not what an earlier prediction left" in refused(commands(made, run)["predict"], run, capsys)


def test_notes_that_no_training_wrote(made, run):
    (run / "checkpoints/notes-4.json").write_bytes(b'{"window": 3}')
    (run / "checkpoints/ckpt-4.json").unlink()  # of a version that wrote no checksums
    assert main.main(["main.py", "--mode=train", "--max_steps=5", f"--logs_dir={run}"]) == 0
    assert Run(str(run)).resume_step() == 5


# ---- disks


def full(monkeypatch):
    """Nothing fits that is longer than a few bytes; native code meets it, too."""
    return disks.no_file_larger_than(64)


def read_only(monkeypatch):
    """As a disk mounted so answers."""

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    opened = builtins.open

    def open_to_read(path, mode="r", *rest, **options):
        return refuse(path) if set(mode) & {*"wxa+"} else opened(path, mode, *rest, **options)

    monkeypatch.setattr(builtins, "open", open_to_read)
    for name in ("mkdir", "replace", "rename", "remove", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, refuse)
    return contextlib.nullcontext()


def no_rename(monkeypatch):
    """As some network disks and FUSE file systems answer."""

    def refuse(*_, **__):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    return contextlib.nullcontext()


def broken(monkeypatch):
    """A disk that takes what is written, and cannot keep it."""

    def refuse(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    return contextlib.nullcontext()


@pytest.mark.parametrize("mode", ["train", "evaluate", "visualize", "predict", "explain", "export"])
@pytest.mark.parametrize("fault", [full, read_only, no_rename, broken])
def test_a_disk_that_refuses(made, run, capsys, monkeypatch, fault, mode):
    arguments, before = commands(made, run)[mode], contents(run)
    capsys.readouterr()
    with monkeypatch.context() as patch, fault(patch):
        status = main.main(["main.py", *arguments])
    printed = capsys.readouterr().err
    assert status == 2, printed
    assert re.search(r"(^|\n)error: [^\n]+\n$", printed) and "Traceback" not in printed
    kept = {path: data for path, data in before.items() if path.name != "checkpoint" or mode != "train"}
    assert kept.items() <= contents(run).items()
    left = [path for path in contents(run) if path not in before]
    assert [path for path in left if path.parent.name not in ("train", "validation")] == []


@pytest.mark.parametrize("fault", [full, read_only, no_rename, broken])
def test_prepare_on_a_disk_that_refuses(made, tmp_path, capsys, monkeypatch, fault):
    data = [f"--data_dir={made}/data", "--dataset=camvid", f"--logs_dir={tmp_path}/logs"]
    with monkeypatch.context() as patch, fault(patch):
        assert main.main(["main.py", "--mode=prepare", *data, f"--output_dir={tmp_path}/out"]) == 2
    assert re.search(r"(^|\n)error: [^\n]+\n$", capsys.readouterr().err)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("fault", [full, read_only, no_rename, broken])
def test_a_download_on_a_disk_that_refuses(tmp_path, monkeypatch, fault):
    class Answer(io.BytesIO):
        status, headers = 200, email.message.Message()

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer(bytes(1000)))
    remote = downloads.Remote("http://localhost/a.bin", size=1000)
    with monkeypatch.context() as patch, fault(patch), pytest.raises(UserError) as caught:
        downloads.fetch(remote, tmp_path / "a.bin", progress=False, attempts=1)
    assert "\n" not in str(caught.value) and not (tmp_path / "a.bin").exists()
    downloads.fetch(remote, tmp_path / "a.bin", progress=False, attempts=1)
    assert (tmp_path / "a.bin").read_bytes() == bytes(1000)


def test_a_file_system_without_locks(made, run, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert main.main(["main.py", *commands(made, run)["train"]]) == 0
    assert Run(str(run)).resume_step() == 6
