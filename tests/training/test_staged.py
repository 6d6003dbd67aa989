"""Networks trained one after another (--staged): the paper's, and for what is not theirs two of the same kind."""

import os
import re
import shutil
import signal

import numpy as np
import pytest

from fcn_tf import registry, train
from fcn_tf.data import datasets
from fcn_tf.inference import checkpoint, evaluator
from fcn_tf.io.run_dir import Run
from tests import matfiles, tiny_training


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)


@pytest.fixture
def two_stages(monkeypatch):
    monkeypatch.setitem(registry.HEADS, "first", registry.HEADS["fcn8s"])
    monkeypatch.setattr(registry, "STAGED", ("first", "fcn8s"))


def settings(folder, **changes):
    options = {"staged": True, "stage_rate": 0.1, "max_steps": 2, "eval_every": 2, "save_every": 1, "ema": 0.5}
    return tiny_training.config(folder, **options | changes)


def weights(run):
    return evaluator.load_model(run).get_weights()


def test_the_papers_networks_score_skips_as_they_come(tmp_path, capsys):
    folder = str(tmp_path)
    convs = matfiles.vgg_convs(11, (8,) * 5, hidden=64)  # as wide as conv6 is made here
    matfiles.write_mat(f"{folder}/narrow.mat", convs)
    options = {"arch": "fcn8s_paper", "plain_skips": True, "optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-3}
    assert train.run(settings(folder, **options)) == 0
    _, *stages = re.split(r"^from .*:$", capsys.readouterr().out, flags=re.M)
    loaded, new = ([set(re.findall(rf"^{kind} +(\w+)", each, re.M)) for each in stages] for kind in ("loaded", "new"))
    of_32s = {name for name in convs if name.startswith("conv")} | {"conv6", "conv7", "conv8"}
    assert loaded == [of_32s, of_32s | {"upsample_pool4", "score_pool4"}]
    assert new == [
        {"upsample_pool4", "score_pool4", "upsample16"},
        {"upsample_pool3", "score_pool3", "upsample8"},
    ]
    fcn32s, fcn16s, fcn8s = (Run(f"{folder}/run{below}") for below in ("/fcn32s", "/fcn16s", ""))
    assert [run.read_config()["flags"]["plain_skips"] for run in (fcn32s, fcn16s, fcn8s)] == [False, True, True]
    for run, skips in ((fcn16s, ["pool4"]), (fcn8s, ["pool4", "pool3"])):
        for model in (evaluator.load_model(run), checkpoint.load_newest(run)):
            assert [layer.name for layer in model.layers if layer.name.startswith("scale_")] == []
            for name in skips:
                assert model.get_layer(f"score_{name}").input is model.get_layer(name).output
                assert np.all(model.get_layer(f"score_{name}").get_weights()[0])  # zero at first
    assert train.run(settings(folder, **options)) == 0
    assert "resumed at step 2\nnothing to do" in capsys.readouterr().out


@pytest.mark.usefixtures("two_stages")
def test_one_command_trains_both_and_may_be_stopped_in_between(tmp_path, capsys):
    folder = str(tmp_path)
    tiny_training.write_weights(folder)
    whole, first = Run(f"{folder}/run"), Run(f"{folder}/run/first")
    assert train.run(settings(folder)) == 0
    printed = capsys.readouterr().out
    assert f"stage 1 of 2: --arch=first in {first.logs_dir}\n" in printed
    assert re.search(rf"^from {first.model}:\nloaded +conv1_1 ", printed, re.M) and " new\n" not in printed
    scores = [run.best_validation()["val_mean_iou"] for run in (first, whole)]
    lines = [f"first: mean IoU {scores[0]:.4f}", f"fcn8s: mean IoU {scores[1]:.4f} ({scores[1] - scores[0]:+.4f})"]
    assert printed.splitlines()[-2:] == lines
    assert [row["learning_rate"] for run in (first, whole) for row in run.read_history()] == pytest.approx([3e-3, 3e-4])
    flags = [run.read_config()["flags"] for run in (first, whole)]
    assert [(each["arch"], each["staged"], each["init_from"]) for each in flags] == [
        ("first", False, ""),
        ("fcn8s", True, ""),
    ]

    # As if it had been killed before the second network had saved anything.
    again = str(tmp_path / "again")
    shutil.copytree(whole.logs_dir, f"{again}/run", ignore=lambda *_: {"model.keras", "train"})
    shutil.copy(first.model, f"{again}/run/first")
    other = Run(f"{again}/run")
    shutil.rmtree(other.checkpoints)
    os.remove(other.history)
    assert train.run(settings(again, weights=f"{folder}/narrow.mat")) == 0
    printed = capsys.readouterr().out
    assert (
        "resumed at step 2\nnothing to do" in printed
        and "stage 2 of 2" in printed
        and f"from {Run(f'{again}/run/first').model}:" in printed
    )
    assert all((a == b).all() for a, b in zip(weights(other), weights(whole), strict=True))


@pytest.mark.usefixtures("two_stages")
def test_a_signal_ends_the_command_and_not_only_a_stage(tmp_path, monkeypatch, capsys):
    folder = str(tmp_path)
    tiny_training.write_weights(folder)

    def load(name, data_dir, split, **_):
        def stop(index):
            if index == 0:  # a second signal would end this process
                os.kill(os.getpid(), signal.SIGTERM)

        return tiny_training.dataset(8) if split == "train" else tiny_training.dataset(3, split, on_read=stop)

    monkeypatch.setattr(datasets, "load", load)
    assert train.run(settings(folder)) == 143
    run = Run(f"{folder}/run")
    assert "stopped by SIGTERM after step 2" in capsys.readouterr().out
    assert run.has_begun() and not run.has_checkpoint() and run.read_config()["flags"]["staged"]
