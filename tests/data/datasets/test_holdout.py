"""holdout: training files with a prefix become the validation split, whatever data set they are of."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import main
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.base import Example
from fcn_tf.data.datasets import holdout
from fcn_tf.errors import UserError
from tests import prepared, tiny_training

_VIDEOS = {"0001TP_1": 0, "0001TP_2": 1, "0006R0_1": 2, "0006R0_2": 3, "Seq05VD_1": 4}


def _camvid(folder):
    """Three videos to train on, and two scenes of CamVid's own validation split."""
    for split, scenes in (("train", _VIDEOS), ("val", {"a": 100, "b": 101})):
        for name, seed in scenes.items():
            image, label = tiny_training.scene(seed)
            for part, pixels in ((split, image), (f"{split}annot", label.astype(np.uint8))):
                os.makedirs(os.path.join(folder, part), exist_ok=True)
                Image.fromarray(pixels).save(os.path.join(folder, part, f"{name}.png"))
    return str(folder)


def _names(name, data_dir, split, **flags):
    return [example.name for example in datasets.load(name, data_dir, split, **flags).examples]


def test_a_prefix_parts_the_training_split(tmp_path):
    data_dir = _camvid(tmp_path)
    assert _names("camvid", data_dir, "validation", holdout="0001TP") == ["0001TP_1", "0001TP_2"]
    assert _names("camvid", data_dir, "train", holdout="0001TP") == ["0006R0_1", "0006R0_2", "Seq05VD_1"]
    assert _names("camvid", data_dir, "validation", holdout="0006R0, Seq") == ["0006R0_1", "0006R0_2", "Seq05VD_1"]
    assert _names("camvid", data_dir, "validation") == ["a", "b"]
    assert len(_names("camvid", data_dir, "all", holdout="0001TP")) == 7
    dataset = datasets.load("camvid", data_dir, "validation", holdout="0001TP")
    assert dataset.split == "validation" and dataset.read(dataset.examples[0])[0].shape == (32, 32, 3)


def test_a_folder_without_a_validation_split_is_parted_whole(tmp_path):
    for name in _VIDEOS:
        for part, pixels in (("images", np.zeros((4, 4, 3), np.uint8)), ("masks", np.eye(4, dtype=np.uint8))):
            os.makedirs(tmp_path / part, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / part / f"{name}.png")
    held, rest = (_names("folder", str(tmp_path), split, holdout="0001TP") for split in ("validation", "train"))
    assert held == ["0001TP_1", "0001TP_2"] and len(rest) == 3, "nothing is held out by the seed"


def test_prepared_records_go_by_the_names_of_their_files(tmp_path):
    out = prepared.make("camvid", _camvid(tmp_path / "data"), tmp_path / "out")
    held = datasets.load("records", out, "validation", holdout="0006R0")
    assert [example.name for example in held.examples] == ["0006R0_1", "0006R0_2"] and held.shards == 1
    assert held.read(held.examples[0])[1].shape == (32, 32)


def test_mistakes_are_named():
    examples = tuple(Example(name, f"data/{name}.png") for name in _VIDEOS)
    with pytest.raises(UserError, match=r"--holdout=0002 is the start of none of the 5 .*0001TP_1\.png") as caught:
        holdout.part(examples, ("0001", "0002"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="--holdout=0,S holds out all 5"):
        holdout.part(examples, ("0", "S"))
    with pytest.raises(UserError, match="--holdout goes by the names of files; shapes are generated"):
        datasets.load("shapes", "", "train", holdout="train_0")
    with pytest.raises(UserError, match="--holdout must be starts of file names"):
        Config(holdout="a,,b")


def test_a_run_trains_and_is_evaluated_on_its_own_parts(tmp_path, capsys):
    data_dir = _camvid(tmp_path / "data")
    logs = f"--logs_dir={tmp_path / 'run'}"
    flags = ["--dataset=camvid", f"--data_dir={data_dir}", "--holdout=0001TP", logs]
    assert main.main(["main.py", "--mode=check", *flags]) == 0
    said = capsys.readouterr().out
    assert "train: 3 pairs" in said and "validation: 2 pairs" in said and "--holdout=0001TP" in said
    weights = tiny_training.write_weights(str(tmp_path))
    train = ["--mode=train", f"--weights={weights}", "--image_size=32x24", "--batch_size=2", "--max_steps=2", *flags]
    augment = ["--jitter=0.5", "--rotate=20", "--class_crops=0.5", "--scales=0.75,1"]
    assert main.main(["main.py", *train, *augment]) == 0
    assert "camvid: 3 training and 2 validation examples" in capsys.readouterr().out
    assert main.main(["main.py", "--mode=train", "--max_steps=3", logs]) == 0
    said = capsys.readouterr().out
    assert "resumed at step 2" in said and "camvid: 3 training and 2 validation examples" in said
    saved = json.loads((tmp_path / "run/config.json").read_text())["flags"]
    assert (saved["holdout"], saved["image_size"], saved["rotate"]) == ("0001TP", "32x24", 20.0)
    assert main.main(["main.py", "--mode=evaluate", "--split=validation", logs]) == 0
    assert "2 images of camvid validation" in capsys.readouterr().out
    per_image = np.load(tmp_path / "run/evaluation/per_image.npz")
    assert per_image["names"].tolist() == ["0001TP_1", "0001TP_2"]
    assert main.main(["main.py", "--mode=train", "--holdout=0006R0", logs]) == 2
