"""Paths that are not local: everything a run does with files, on TensorFlow's file system in memory, ram://."""

import os
import uuid
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import check as check_mode
from fcn_tf import evaluate, predict, train, visualize
from fcn_tf.config import Config
from fcn_tf.data import datasets, pipeline
from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import contact_sheet
from tests import prepared, tiny_training


def upload(local, remote):
    for folder, _, names in os.walk(local):
        for name in names:
            path = os.path.join(folder, name)
            files.write_bytes(files.join(remote, os.path.relpath(path, local)), files.read_bytes(path))
    return remote


@pytest.fixture
def ram():
    """An empty folder in memory, of this test alone: ram:// cannot remove a tree out of which files were taken."""
    root = f"ram://fcn_tf_tests/{uuid.uuid4().hex}"
    files.makedirs(root)
    return root


def test_files(ram):
    path = files.join(ram, "a", "b.bin")
    files.write_bytes(path, b"0123456789")
    files.write_bytes(path, b"01234")  # ram:// itself would append
    assert files.read_bytes(path) == b"01234" and files.size(path) == files.stamp(path)[0] == 5
    assert files.read_range(path, 1, 3) == b"123" and files.read_range(path, 3, 9) == b"34"
    assert files.list_dir(files.join(ram, "a")) == ["b.bin"] and files.glob(files.join(ram, "a", "*.bin")) == [path]
    files.replace(path, files.join(ram, "a", "c.bin"))
    assert not files.exists(path)
    files.remove(files.join(ram, "a", "c.bin"))
    files.write_bytes(files.join(ram, "a", "d", ".0123456789ab.tmp"), b"left by a kill")
    files.sweep(files.join(ram, "a", "d"))
    assert files.list_dir(files.join(ram, "a", "d"), hidden=True) == []
    for fails in (files.read_bytes, files.size, files.stamp, files.list_dir, files.remove):
        with pytest.raises(OSError) as caught:
            fails(path)
        assert not isinstance(caught.value, tf.errors.OpError)


def test_a_folder_and_its_records(ram, tmp_path):
    data = upload(prepared.write_folder(tmp_path / "data"), f"{ram}/data")
    assert check_mode.run(Config(mode="check", dataset="folder", data_dir=data, logs_dir=f"{ram}/check")) == 0
    assert files.exists(f"{ram}/check/check/index.html")
    out = prepared.make("folder", data, f"{ram}/out")
    streams = []
    for name, where in (("folder", str(tmp_path / "data")), ("folder", data), ("records", out)):
        dataset = datasets.load(name, where, "train")
        batches = pipeline.training_batches(dataset, batch_size=3, image_size=16, seed=0, num_steps=4)
        streams.append([np.concatenate([images.numpy() for images, _ in batches])])
    assert np.array_equal(streams[0], streams[1]) and np.array_equal(streams[0], streams[2])
    dataset = datasets.load("records", out, "train")
    shard = f"{out}/train-00000-of-00009.tfrecord"
    tf.io.gfile.remove(shard)
    with pytest.raises(UserError, match=r"train-00000-of-00009\.tfrecord: images/.* in it cannot be read"):
        dataset.read(dataset.examples[0])
    source = datasets.load("folder", data, "train")
    files.remove(source.examples[0].image)
    with pytest.raises(UserError, match=r"cannot be read \(no such file\)"):
        source.read(source.examples[0])


def test_a_run(ram, tmp_path, capsys):
    tiny_training.write_weights(str(tmp_path))
    upload(tiny_training.write_camvid(tmp_path / "data"), f"{ram}/data")
    upload(str(tmp_path / "narrow.mat").rpartition("/")[0], f"{ram}/weights")
    base: dict[str, Any] = {"dataset": "camvid", "data_dir": f"{ram}/data", "logs_dir": f"{ram}/run"}
    settings = {**base, "weights": f"{ram}/weights/narrow.mat", "eval_every": 2, "save_every": 2}
    assert train.run(tiny_training.config(str(tmp_path), max_steps=2, **settings)) == 0
    assert train.run(tiny_training.config(str(tmp_path), max_steps=4, **settings)) == 0
    assert "resumed at step 2\n" in capsys.readouterr().out
    run = Run(f"{ram}/run")
    assert [row["step"] for row in run.read_history()] == [2, 4]
    assert evaluator.load_model(run).output_shape[-1] == 11
    assert not [name for name in files.list_dir(run.logs_dir, hidden=True) if ".tmp" in name]
    assert any("tfevents" in name for name in files.list_dir(run.train_events))
    assert evaluate.run(Config(mode="evaluate", **base)) == 0 and files.exists(f"{run.evaluation}/report.html")
    assert visualize.run(Config(mode="visualize", batch_size=2, **base)) == 0
    assert len(files.glob(f"{run.visualize}/inp_*.png")) == 2
    sample = contact_sheet.Sample("a", *tiny_training.scene(0), np.zeros((32, 32), np.int32))
    contact_sheet.write_sheet([sample], tiny_training.SPEC, run.visualize, title="", subtitle="")  # in place of it
    assert len(files.glob(f"{run.visualize}/inp_*.png")) == 1
    assert predict.run(Config(mode="predict", input=f"{ram}/data/val", **base)) == 0
    assert files.exists(f"{run.predict}/0_label.png")
