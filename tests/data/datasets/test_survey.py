"""What can be listed of a data set though splits are missing or classes are not clear."""

from typing import Any

import numpy as np
import pytest

from fcn_tf import check, train
from fcn_tf.config import Config
from fcn_tf.errors import UserError
from tests.checked import NAMES, ids, photos_and_masks, run
from tests.prepared import write


@pytest.fixture
def data(tmp_path):
    return photos_and_masks(tmp_path / "data")


def test_masks_of_several_kinds_for_one_photo_are_no_guess(tmp_path):
    write(tmp_path / "data/images/a.png", np.zeros((8, 8, 3)))
    for kind in ("mask", "gt"):
        write(tmp_path / f"data/masks/a_{kind}.png", np.zeros((8, 8)))
    with pytest.raises(UserError, match=r"a_gt\.png and a_mask\.png have the same stem"):
        run(tmp_path / "data")


def test_classes_that_are_not_clear(data):
    ids(data, [0, 7])
    status, found, _ = run(data)
    assert status == 1 and found["classes"]["mend"] == "Add --num_classes=8; or --mask_values=0,7"
    assert run(data, num_classes=8)[0] == run(data, mask_values="0,7")[0] == 0


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


def test_too_few_and_nothing_to_check(tmp_path, data):
    for name in NAMES[1:]:
        (data / "images" / f"{name}.png").unlink()
        (data / "masks" / f"{name}.png").unlink()
    status, found, _ = run(data)
    assert status == 1 and "validation" in found["split"]["means"]
    with pytest.raises(UserError, match="shapes"):
        check.run(Config(mode="check", logs_dir=str(tmp_path)))


def test_a_validation_split_of_few_photos_is_told_before_training_too(tmp_path, capsys):
    for number in range(20):
        write(tmp_path / f"data/images/{number}.png", np.random.default_rng(number).integers(0, 256, (8, 8, 3)))
        write(tmp_path / f"data/masks/{number}.png", np.resize([0, 255], (8, 8)))
    counts = {seed: run(tmp_path / "data", seed=seed)[2]["pairs"]["validation"] for seed in range(8)}
    seed = next(seed for seed, count in counts.items() if count < 3)
    _, found, _ = run(tmp_path / "data", seed=seed)
    assert found["few_validation"]["severity"] == "warning"
    better = int(found["few_validation"]["mend"].partition("--seed=")[2].partition(",")[0])
    _, found, report = run(tmp_path / "data", seed=better)
    assert "few_validation" not in found and report["pairs"] == {"train": 16, "validation": 4}
    for each in (seed, better):
        capsys.readouterr()
        with pytest.raises(UserError, match="none.mat"):  # which is asked for after the files
            train.run(
                Config(
                    dataset="folder",
                    data_dir=str(tmp_path / "data"),
                    logs_dir=str(tmp_path / "logs"),
                    weights=str(tmp_path / "none.mat"),
                    seed=each,
                )
            )
        warning = "held out for validation, so scores say little" in capsys.readouterr().out
        assert warning == (each == seed)


def test_photos_that_are_not_read_are_a_finding(data):
    for name in ("x.heic", "y.avif"):
        (data / "images" / name).touch()
    status, found, _ = run(data)
    assert status == 0 and [path[-6:] for path in found["unread"]["files"]] == ["x.heic", "y.avif"]
    assert found["unread"]["severity"] == "warning" and "Save each as JPEG" in found["unread"]["mend"]
