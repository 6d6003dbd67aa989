"""check: each bad input is made here, found, named, and fixed by what is printed."""

import errno
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcn_tf import check
from fcn_tf.config import Config
from fcn_tf.data import class_weights
from fcn_tf.data.base import DatasetSpec
from fcn_tf.errors import UserError
from fcn_tf.io import files

NAMES = [f"p{number}" for number in range(6)]


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


@pytest.fixture
def data(tmp_path):
    """Six photos of noise, 40x32, with 0/255 masks."""
    for number, name in enumerate(NAMES):
        rng = np.random.default_rng(number)
        write(tmp_path / "data/images" / f"{name}.png", rng.integers(0, 256, (32, 40, 3)))
        write(tmp_path / "data/masks" / f"{name}.png", np.repeat([[0] * 20 + [255] * 20], 32, axis=0))
    return tmp_path / "data"


def run(data, **flags):
    """(exit status, {kind: finding}, whole report)."""
    logs = data.parent / "logs"
    config = Config(mode="check", dataset="folder", data_dir=str(data), logs_dir=str(logs), **flags)
    status = check.run(config)
    report = json.loads((logs / "check/check.json").read_text())
    assert (logs / "check/index.html").read_text().startswith("<!doctype html>")
    assert report["ok"] == (status == 0)
    return status, {finding["kind"]: finding for finding in report["findings"]}, report


def test_sound_data_says_how_to_train(data, capsys):
    status, found, report = run(data)
    assert status == 0 and set(found) == {"zero_255"}
    assert report["pairs"] == {"train": 5, "validation": 1}
    printed = capsys.readouterr().out
    assert "--num_classes=2 --mask_values=0,255" in report["command"] and report["command"] in printed
    assert "--weights=vgg16" in report["command"] and "leaving it out trains the embedded tiny network" in printed
    assert [row["train"]["share"] for row in report["classes"]] == [0.5, 0.5]
    assert (data.parent / "logs/check/class_weights.csv").read_text() == "0,1\n1,1\n"
    assert list((data.parent / "logs/check").glob("class_1_mask.png"))
    page = (data.parent / "logs/check/index.html").read_text()
    assert "255: 1</li>" in page and "</span>1 1</td><td>255</td>" in page
    assert run(data)[0] == 0  # from the cache


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


def shell(command):
    """Runs what was printed, as a user would."""
    subprocess.run(command.replace("python -c", f"{sys.executable} -c"), shell=True, check=True)


def test_unreadable_and_truncated_files(data):
    photo = data / "images/p0.png"
    photo.write_bytes(photo.read_bytes()[:-200])
    (data / "masks/p1.png").write_bytes(b"<html>")
    status, found, _ = run(data)
    assert status == 1 and "--on_bad_example=skip" in found["unreadable"]["mend"]
    assert sorted(path[-6:] for path in found["unreadable"]["files"]) == ["p0.png", "p1.png"]


def test_what_is_skipped_is_no_error(data):
    (data / "masks/p0.png").write_bytes(b"<html>")
    (data / "images/extra.png").write_bytes((data / "images/p0.png").read_bytes())
    status, found, report = run(data, on_bad_example="skip")
    assert status == 0 and {found[kind]["severity"] for kind in ("unreadable", "unpaired")} == {"warning"}
    assert "--on_bad_example=skip" in report["command"]
    (data / "masks/p2.png").write_bytes(b"<html>")  # all that validation has: skipping does not help
    status, found, _ = run(data, on_bad_example="skip")
    assert status == 1 and found["unreadable"]["severity"] == "error"


def test_what_is_skipped_is_an_error_where_all_of_it_together_leaves_nothing(tmp_path):
    for split, names in (("train", "abc"), ("validation", "xy")):
        for name in names:
            write(tmp_path / f"data/{split}/images/{name}.png", np.zeros((8, 8, 3)))
            write(tmp_path / f"data/{split}/masks/{name}.png", np.arange(64).reshape(8, 8) % 2)
    (tmp_path / "data/validation/masks/x.png").write_bytes(b"<html>")
    write(tmp_path / "data/validation/masks/y.png", np.zeros((8, 9)))
    status, found, _ = run(tmp_path / "data", on_bad_example="skip")
    assert status == 1 and {found[kind]["severity"] for kind in ("unreadable", "size_mismatch")} == {"error"}


def test_masks_of_several_kinds_for_one_photo_are_no_guess(tmp_path):
    write(tmp_path / "data/images/a.png", np.zeros((8, 8, 3)))
    for kind in ("mask", "gt"):
        write(tmp_path / f"data/masks/a_{kind}.png", np.zeros((8, 8)))
    with pytest.raises(UserError, match=r"a_gt\.png and a_mask\.png have the same stem"):
        run(tmp_path / "data")


def test_unpaired(data):
    (data / "masks/p3.png").unlink()
    status, found, _ = run(data)
    assert status == 1 and found["unpaired"]["files"][0].endswith("images/p3.png")


def test_sizes_that_differ_and_exif_turns(data):
    write(data / "masks/p0.png", np.full((8, 8), 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    write(data / "images/p1.png", np.random.default_rng(9).integers(0, 256, (32, 40, 3)), exif=exif)
    status, found, _ = run(data)
    assert status == 1
    assert [path[-6:] for path in found["size_mismatch"]["files"]] == ["p0.png"]
    assert [path[-6:] for path in found["exif_turned"]["files"]] == ["p1.png"]
    assert np.asarray(Image.open(data / "masks/p1.png")).shape == (32, 40)
    (command,) = found["exif_turned"]["commands"]
    shell(command)
    turned = np.asarray(Image.open(data / "masks/p1.png"))  # 6: a quarter to the right, so what was left is on top
    np.testing.assert_array_equal(turned, np.repeat([[0]] * 20 + [[255]] * 20, 32, axis=1))
    assert "exif_turned" not in run(data)[1]


def turn(path, orientation):
    picture = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_exif_turns_that_leave_the_size_are_shown_both_ways(data, orientation):
    turn(data / "images/p1.png", orientation)
    status, found, _ = run(data)
    finding = found["exif_unsure"]
    assert status == 0 and finding["severity"] == "warning"
    assert [path[-6:] for path in finding["files"]] == ["p1.png"]
    place = list(found).index("exif_unsure")
    shown = [np.asarray(Image.open(data.parent / f"logs/check/finding_{place}_{each}.png")) for each in (0, 1)]
    # The same photo under two masks; in a mask whose halves are above each other, mirroring changes nothing.
    assert (shown[0] != shown[1]).any() == (orientation != 4)
    page = (data.parent / "logs/check/index.html").read_text()
    assert "p1: mask as it is" in page and "p1: mask turned" in page
    shell(finding["commands"][0])
    swapped = orientation != 4
    assert (np.asarray(Image.open(data / "masks/p1.png"))[0, 0] == 255) == swapped


def test_square_photos_turned_by_exif_are_unsure_and_unturned_ones_are_not(data):
    for name in NAMES:
        write(data / "images" / f"{name}.png", np.random.default_rng(int(name[1])).integers(0, 256, (32, 32, 3)))
        write(data / "masks" / f"{name}.png", np.resize([0, 255], (32, 32)))
    for name in NAMES[:5]:
        turn(data / "images" / f"{name}.png", 8)
    turn(data / "images/p5.png", 1)
    _, found, _ = run(data)
    assert sorted(path[-6:] for path in found["exif_unsure"]["files"]) == [f"{name}.png" for name in NAMES[:5]]
    assert found["exif_unsure"]["commands"][0].endswith("exif_unsure_8.txt")  # more than a few: a list


def ids(data, values):
    for name in NAMES:
        write(data / "masks" / f"{name}.png", np.resize(values, (32, 40)))


def test_out_of_range(data):
    ids(data, [0, 1, 2])
    write(data / "masks/p4.png", np.resize([0, 1, 9], (32, 40)))
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and [path[-6:] for path in found["out_of_range"]["files"]] == ["p4.png"]
    assert found["out_of_range"]["mend"] == "Add --ignore_label=9; or --num_classes=4 --mask_values=0-2,9"
    assert run(data, num_classes=4, mask_values="0-2,9")[0] == 0
    assert run(data, num_classes=3, ignore_label="9")[0] == 0
    write(data / "masks/p5.png", np.resize([0, 1, 12], (32, 40)))
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and len(found["out_of_range"]["files"]) == 2
    assert found["out_of_range"]["mend"] == "Add --num_classes=5 --mask_values=0-2,9,12"  # for both of them
    assert run(data, num_classes=5, mask_values="0-2,9,12")[0] == 0


def test_off_by_one(data):
    ids(data, [1, 2, 3])
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and "--mask_values=1-3" in found["off_by_one"]["mend"]
    assert run(data, num_classes=3, mask_values="1-3")[0] == 0
    status, found, _ = run(data)
    assert status == 0 and found["off_by_one"]["mend"] == "--num_classes=3 --mask_values=1-3"


def test_classes_that_are_not_clear(data):
    ids(data, [0, 7])
    status, found, _ = run(data)
    assert status == 1 and found["classes"]["mend"] == "Add --num_classes=8; or --mask_values=0,7"
    assert run(data, num_classes=8)[0] == run(data, mask_values="0,7")[0] == 0


def test_jpeg_color_and_empty_masks(data):
    (data / "masks/p0.png").unlink()
    write(data / "masks/p0.jpg", np.repeat([[0] * 20 + [255] * 20], 32, axis=0))
    write(data / "masks/p1.png", np.zeros((32, 40)))
    status, found, _ = run(data)
    assert status == 0 and found["jpeg_masks"]["files"][0].endswith("p0.jpg")
    assert found["one_class"]["files"][0].endswith("p1.png")
    for name in NAMES[1:]:
        write(data / "masks" / f"{name}.png", np.resize([0, 0, 0, 255, 0, 0], (32, 40, 3)))
    (data / "masks/p0.jpg").unlink()
    (data / "images/p0.png").unlink()
    status, found, report = run(data)
    assert status == 0 and len(found["color_masks"]["files"]) == 5
    assert "--mask_colors=" in report["command"]
    assert found["color_masks"]["mend"].endswith("--mask_colors=000000,ff0000")


def test_ignored_masks_and_missing_classes(tmp_path):
    for split, values in (("train", [0, 1, 2]), ("val", [0, 1, 255])):
        for number in range(2):
            rng = np.random.default_rng([number, len(split)])
            write(tmp_path / f"data/images/{split}/{number}.png", rng.integers(0, 256, (32, 40, 3)))
            write(tmp_path / f"data/masks/{split}/{number}.png", np.resize(values, (32, 40)))
    write(tmp_path / "data/masks/train/1.png", np.full((32, 40), 255))
    status, found, _ = run(tmp_path / "data")
    assert status == 0 and "2" in found["missing_class"]["means"] and "validation" in found["missing_class"]["means"]
    assert found["empty"]["files"][0].endswith("train/1.png")


def test_the_same_picture_in_train_and_validation(data):
    picture = Image.open(data / "images/p0.png").resize((400, 320), Image.Resampling.BICUBIC)
    for name in NAMES:
        picture.save(data / "images" / f"{name}.png")
        write(data / "masks" / f"{name}.png", np.resize([0, 255], (320, 400)))
    picture.resize((200, 160)).save(data / "images/p5.png")
    write(data / "masks/p5.png", np.resize([0, 255], (160, 200)))
    status, found, _ = run(data)
    (command,) = found["duplicates"]["commands"]
    (held,) = {path for path in found["duplicates"]["files"][1::2]}
    assert status == 0 and command == f"rm -- {held} {held.replace('images', 'masks')}"


def test_what_removes_files_can_be_pasted(data):
    for number in range(3):
        (data / f"images/p{number}.png").rename(data / f"images/it's {number}.png")
        (data / f"masks/p{number}.png").unlink()
        write(data / f"masks/it's {number}.png", np.zeros((32, 40)))
    _, found, _ = run(data)
    (command,) = found["one_class"]["commands"]
    assert command.startswith("xargs rm -- < ")
    assert len(list((data / "images").iterdir())) == len(list((data / "masks").iterdir())) == 6
    shell(command)
    left = [f"p{number}.png" for number in (3, 4, 5)]
    for folder in ("images", "masks"):
        assert sorted(path.name for path in (data / folder).iterdir()) == left


def test_splits_that_are_there(tmp_path, capsys):
    for number in range(2):
        write(tmp_path / f"data/val/{number}.png", np.random.default_rng(number).integers(0, 256, (32, 40, 3)))
        write(tmp_path / f"data/valannot/{number}.png", np.resize(np.arange(11), (32, 40)))
    options: dict[str, Any] = {"mode": "check", "dataset": "camvid", "data_dir": str(tmp_path / "data")}
    options["logs_dir"] = str(tmp_path / "logs")
    assert check.run(Config(**options)) == 1
    said = capsys.readouterr().out
    assert "There is no train split (no folders train and trainannot in" in said and "test split" not in said
    assert "--split=validation" in said and "validation: 2 pairs" in said and "weight" not in said
    assert not (tmp_path / "logs/check/class_weights.csv").exists()
    assert check.run(Config(**options, split="validation")) == 0
    said = capsys.readouterr().out
    assert "Only the validation split was checked: no errors." in said and "--mode=train" not in said
    with pytest.raises(UserError, match="train and trainannot"):
        check.run(Config(**options, split="train"))
    for name in ("train", "test"):
        for number in range(2):
            pixels = np.random.default_rng([number, len(name)]).integers(0, 256, (32, 40, 3))
            write(tmp_path / f"data/{name}/{number}.png", pixels)
            write(tmp_path / f"data/{name}annot/{number}.png", np.resize(np.arange(11), (32, 40)))
    assert check.run(Config(**options)) == 0
    assert "test: 2 pairs" in capsys.readouterr().out


def test_another_seed_is_for_seeded_splits_only(data, tmp_path):
    ids(data, [0, 1, 2])
    write(data / "masks/p4.png", np.resize([0, 1, 2, 3], (32, 40)))
    _, found, _ = run(data)
    assert "--seed=1;" in found["missing_class"]["mend"]
    for folder in ("images", "masks"):
        (data / folder / "val").mkdir()
        (data / folder / "train").mkdir()
        for name in NAMES:
            part = "val" if name == "p0" else "train"
            (data / folder / f"{name}.png").rename(data / folder / part / f"{name}.png")
    _, found, _ = run(data)
    assert "--seed" not in found["missing_class"]["mend"]


def test_of_many_classes_the_most_frequent_and_the_rarest_are_printed(data, capsys):
    for number, name in enumerate(NAMES):
        # Class k fills k + 1 of 1035 pixels, 0 to 44; 45 to 49 occur nowhere.
        pixels = np.repeat(np.arange(45), np.arange(1, 46))
        write(data / "masks" / f"{name}.png", np.resize(pixels, (23, 45)))
        write(data / "images" / f"{name}.png", np.random.default_rng(number).integers(0, 256, (23, 45, 3)))
    _, _, report = run(data, num_classes=50)
    said = capsys.readouterr().out
    printed = [int(line.split()[1]) for line in said.splitlines() if line.startswith("class ")]
    assert printed == [*range(44, 34, -1), *range(9, -1, -1)]
    assert "25 classes between these" in said and "5 classes do not occur" in said
    assert len(report["classes"]) == 50
    assert (data.parent / "logs/check/index.html").read_text().count('<td class="name">') == 50


def test_too_few_and_nothing_to_check(tmp_path, data):
    for name in NAMES[1:]:
        (data / "images" / f"{name}.png").unlink()
        (data / "masks" / f"{name}.png").unlink()
    status, found, _ = run(data)
    assert status == 1 and "validation" in found["split"]["means"]
    with pytest.raises(UserError, match="shapes"):
        check.run(Config(mode="check", logs_dir=str(tmp_path)))


SPEC = DatasetSpec("two", ("a", "b"), ((0, 0, 0), (1, 1, 1)), ignore_label=255)


def test_balanced_weights_by_hand():
    # a: 30 of 40 pixels, b: 10 of 40; the median of .75 and .25 is .5.
    assert class_weights.balanced([{0: 30, 1: 10, 255: 999}], SPEC) == (0.6667, 2.0)
    assert class_weights.balanced([{255: 5}], SPEC) == (1.0, 1.0)


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "weights.csv"
    for text in ("a,1\nb,2.5\n", "b,2.5\na,1\n", "1\n2.5\n"):
        path.write_text(text)
        assert class_weights.read(str(path), SPEC) == (1.0, 2.5)
    for text in ("a,1\n", "a,1\nc,2\n", "a,1\nb,x\n", "a,0\nb,0\n", "a,1\nb,-1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"weights\.csv"):
            class_weights.read(str(path), SPEC)
    with pytest.raises(UserError, match="--class_weights"):
        class_weights.read(str(tmp_path / "none.csv"), SPEC)
