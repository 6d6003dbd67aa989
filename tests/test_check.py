"""--mode=check: its exit status, what it prints and writes, and the command that trains."""

import dataclasses
import errno
import html
import os
import shlex

import numpy as np
import pytest

from fcn_tf import check
from fcn_tf.command import flags
from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from tests.checked import NAMES, photos_and_masks, run
from tests.prepared import write


@pytest.fixture
def data(tmp_path):
    return photos_and_masks(tmp_path / "data")


def test_sound_data_says_how_to_train(data, capsys):
    status, found, report = run(data)
    assert status == 0 and set(found) == {"zero_255"}
    assert report["pairs"] == {"train": 5, "validation": 1}
    printed = capsys.readouterr().out
    assert "--num_classes=2 --mask_values=0,255" in report["command"] and report["command"] in printed
    assert "--weights=vgg16" in report["command"]
    assert "(--weights=vgg16 is downloaded to data/models/ where it is missing; without a network" in printed
    assert "--weights=FILE.mat takes a file that you have, and --weights=tiny the embedded one" in printed
    assert [row["train"]["share"] for row in report["classes"]] == [0.5, 0.5]
    assert (data.parent / "logs/check/class_weights.csv").read_text() == "0,1\n1,1\n"
    assert list((data.parent / "logs/check").glob("class_1_mask.png"))
    page = (data.parent / "logs/check/index.html").read_text()
    assert "255: 1</li>" in page and "</span>1 1</td><td>255</td>" in page
    assert run(data)[0] == 0  # from the cache


def test_classes_without_names_are_told_how_to_get_some(data, capsys):
    run(data)
    hint = f"to name them, write {data}/classes.txt: one name a line, class 0 first\n"
    assert capsys.readouterr().out.count(hint) == 1
    (data / "classes.txt").write_text("sky\nroad\n")
    run(data)
    printed = capsys.readouterr().out
    assert "classes.txt" not in printed and "class 1 road: " in printed and "validation: 1 pair, " in printed


def test_photos_much_larger_than_a_crop_are_told_with_the_command_that_helps(data, capsys):
    status, _, report = run(data, image_size=224)
    assert status == 0 and "--longest_side" not in capsys.readouterr().out  # photos of a few pixels
    side = max(report["sizes"]["train"]["largest"])
    _, _, report = run(data, image_size=max(1, side // 4))
    after = capsys.readouterr().out.partition(report["command"])[2]
    assert f"that a crop of {side // 4} pixels shows little of them" in after
    assert (
        "with 64 pixels on their longer side, which a run cannot change later" in after
    )  # twice the crop, at least 64
    (other,) = [each["command"] for each in report["advice"] if "command" in each]
    assert f"\n{other}\n" in after and other.replace(" --longest_side=64", "") == report["command"]
    page = html.unescape((data.parent / "logs/check/index.html").read_text())
    for each in report["advice"]:  # the same lines on the page
        assert each["text"][1:] in page and each.get("command", "") in page
    for known in ({"longest_side": 64}, {"crop": "squash"}):
        _, _, report = run(data, image_size=max(1, side // 4), **known)
        assert "half of the photos" not in capsys.readouterr().out
        assert ("--longest_side=64" in report["command"]) == ("longest_side" in known)


def test_the_command_keeps_every_flag_of_the_training(data):
    given = {"weights": "vgg19", "max_steps": 700, "scales": "1-1.3", "augment": True, "nesterov": True,
             "optimizer": "sgd", "image_size": 96, "freeze": "conv1,conv2", "holdout": "p1"}  # fmt: skip
    _, _, report = run(data, **given)
    words = shlex.split(report["command"])
    kept = flags.config_from_flags(words[1:])
    assert kept.mode == "train" and "--nesterov=true" in words and "--verbosity" not in report["command"]
    checked = Config(mode="check", dataset="folder", data_dir=str(data), logs_dir=kept.logs_dir, **given)
    classes = {"num_classes": 2, "mask_values": "0,255", "ignore_label": "none"}
    assert kept == dataclasses.replace(checked, mode="train", split=kept.split, **classes)


def test_steps_are_proposed_in_proportion_to_the_photos(data, capsys):
    _, _, report = run(data)
    assert " --max_steps=400 " in report["command"]
    assert (
        "(--max_steps=400 of 4 photos each, 320 passes over the 5 photos to train on, is in proportion"
        in capsys.readouterr().out
    )
    assert " --max_steps=900 " in run(data, max_steps=900)[2]["command"]  # chosen
    usual = Config(dataset="folder")
    for photos, steps in ((160, 400), (161, 500), (404, 1100), (5_000, 2000)):  # 10 passes of batches of 4
        assert check.proposed_steps(usual, photos) == steps
    assert check.proposed_steps(Config(dataset="folder", warmup_steps=500), 100) == 2000
    assert check.proposed_steps(Config(dataset="ade20k"), 100) == 100_000  # the data set's own


def test_the_command_names_a_folder_that_holds_no_run(data, monkeypatch):
    def named(given):
        _, _, report = run(data, logs_dir=given)
        return report["command"].rpartition("--logs_dir=")[2]

    monkeypatch.chdir(data.parent)
    assert named("logs") == "logs" and named("logs/bags/") == "logs/bags"
    for taken in ("logs", "logs/folder", "logs/bags", "logs/bags-2"):
        files.write_bytes(Run(taken).config, b"{}")
    assert named("logs") == "logs/folder-2" and named("logs/bags/") == "logs/bags-3"  # beside it, not inside it


def test_a_folder_that_cannot_be_written_is_found_first(data, monkeypatch):
    (data.parent / "logs").mkdir()
    (data.parent / "logs/check").touch()
    monkeypatch.setattr(check.checks, "scan", None)  # calling it would fail
    with pytest.raises(UserError, match=r"logs/check cannot be written \(it is no folder\); give another --logs_dir"):
        run(data)


def test_a_disk_that_fills_up_meanwhile_costs_no_finding(data, monkeypatch, capsys):
    whole = files.write_bytes

    def fails(path, content):
        if content != b"trial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        whole(path, content)

    monkeypatch.setattr(files, "write_bytes", fails)
    with pytest.raises(OSError, match="No space left"):
        run(data)
    out = capsys.readouterr().out
    assert "train: 5 pairs" in out and "zero_255" in out


def test_what_is_skipped_is_no_error(data):
    (data / "masks/p0.png").write_bytes(b"<html>")
    (data / "images/extra.png").write_bytes((data / "images/p0.png").read_bytes())
    status, found, report = run(data, on_bad_example="skip")
    assert status == 0 and {found[kind]["severity"] for kind in ("unreadable", "unpaired")} == {"warning"}
    assert "--on_bad_example=skip" in report["command"]
    assert not any("training" in found[kind]["means"] for kind in ("unreadable", "unpaired"))
    (data / "masks/p2.png").write_bytes(b"<html>")  # all that validation has: skipping does not help
    status, found, _ = run(data, on_bad_example="skip")
    assert status == 1 and found["unreadable"]["severity"] == "error"


def test_of_many_classes_the_most_frequent_and_the_rarest_are_printed(data, capsys):
    for number, name in enumerate(NAMES):
        # Class k fills k + 1 of 1035 pixels, 0 to 44; 45 to 49 occur nowhere.
        pixels = np.repeat(np.arange(45), np.arange(1, 46))
        write(data / "masks" / f"{name}.png", np.resize(pixels, (23, 45)))
        write(data / "images" / f"{name}.png", np.random.default_rng(number).integers(0, 256, (23, 45, 3)))
    _, _, report = run(data, num_classes=50)
    said = capsys.readouterr().out
    printed = [int(line.split()[1].rstrip(":")) for line in said.splitlines() if line.startswith("class ")]
    assert printed == [*range(44, 34, -1), *range(9, -1, -1)]
    assert "25 classes between these" in said and "5 classes do not occur" in said
    assert len(report["classes"]) == 50
    assert (data.parent / "logs/check/index.html").read_text().count('<td class="name">') == 50
