"""check: each bad input is made here, found, named, and mended by what is printed."""

import json

import numpy as np
import pytest
from PIL import Image

from fcn_tf import check, class_weights
from fcn_tf.config import Config
from fcn_tf.datasets.base import DatasetSpec
from fcn_tf.errors import UserError

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
    assert "--num_classes=2 --mask_values=0,255" in report["command"] and report["command"] in capsys.readouterr().out
    assert [row["train"]["share"] for row in report["classes"]] == [0.5, 0.5]
    assert (data.parent / "logs/check/class_weights.csv").read_text() == "0,1\n1,1\n"
    assert list((data.parent / "logs/check").glob("class_1_mask.png"))
    assert run(data)[0] == 0  # from the cache


def test_unreadable_and_truncated_files(data):
    photo = data / "images/p0.png"
    photo.write_bytes(photo.read_bytes()[:-200])
    (data / "masks/p1.png").write_bytes(b"<html>")
    status, found, _ = run(data)
    assert status == 1 and "--on_bad_example=skip" in found["unreadable"]["mend"]
    assert sorted(path[-6:] for path in found["unreadable"]["files"]) == ["p0.png", "p1.png"]


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
    assert "ROTATE_270" in found["exif_turned"]["mend"] and "masks/p1.png" in found["exif_turned"]["mend"]


def ids(data, values):
    for name in NAMES:
        write(data / "masks" / f"{name}.png", np.resize(values, (32, 40)))


def test_out_of_range(data):
    ids(data, [0, 1, 2])
    write(data / "masks/p4.png", np.resize([0, 1, 9], (32, 40)))
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and [path[-6:] for path in found["out_of_range"]["files"]] == ["p4.png"]
    assert "--ignore_label=9" in found["out_of_range"]["mend"]
    assert run(data, num_classes=3, ignore_label="9")[0] == 0


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
    assert status == 1 and "--mask_values=0,7" in found["classes"]["means"]


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
    assert status == 0 and "rm " in found["duplicates"]["mend"]


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
