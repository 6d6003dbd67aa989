"""The training loop learns, resumes exactly, stops cleanly and writes what it should; on one and many devices."""

import dataclasses
import errno
import functools
import json
import math
import os
import re
import shutil
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import fcn_tf
from fcn_tf import train
from fcn_tf.data import datasets, pipeline
from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator
from fcn_tf.io import files, run_dir, system
from fcn_tf.io.run_dir import HISTORY_COLUMNS, Run
from fcn_tf.models import build, pytorch_tutorial
from fcn_tf.reports import charts
from fcn_tf.reports.charts import write_curves
from fcn_tf.training import profiling, validation
from fcn_tf.training.checkpoints import Checkpoints
from fcn_tf.training.running_metrics import MEASURES
from tests import disks, processes, tiny_training


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    # A sixth of the time of a training; `finished` and a test here draw them.
    monkeypatch.setattr(charts, "write_curves", lambda run: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the narrow weights and a finished run of 16 steps, validated at 8 and 16, with --debug."""
    folder = str(tmp_path_factory.mktemp("finished"))
    tiny_training.write_weights(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", tiny_training.load)
        assert train.run(tiny_training.config(folder, debug=True)) == 0
    return folder


@pytest.fixture
def folder(tmp_path, finished):
    """A folder of its own with the narrow weights."""
    shutil.copy(os.path.join(finished, "narrow.mat"), tmp_path)
    return str(tmp_path)


def run_of(folder):
    return Run(os.path.join(folder, "run"))


def saved_state(folder, step):
    """{name: array} of a checkpoint."""
    reader = tf.train.load_checkpoint(os.path.join(run_of(folder).checkpoints, f"ckpt-{step}"))
    return {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}


def checkpoint_steps(folder):
    return run_dir.checkpoint_steps(run_of(folder).checkpoints)


def same_state(one, other, step):
    a, b = saved_state(one, step), saved_state(other, step)
    assert a.keys() == b.keys()
    # TensorFlow counts saves in a variable of its own.
    return all(np.array_equal(a[name], b[name]) for name in a if not name.startswith("save_counter"))


def test_memory_rate_and_freezing_are_told(folder, capsys):
    changes = {"freeze": "conv1,conv2", "accumulate": 2, "recompute": True, "profile": True}
    assert train.run(tiny_training.config(folder, **changes)) == 0
    printed = capsys.readouterr().out
    # conv1_1: 3x3x3x8 + 8, conv2_1: 3x3x8x8 + 8.
    every, trained = re.search(r", ([\d,]+) parameters, ([\d,]+) of them trained;", printed).groups()
    assert int(every.replace(",", "")) - int(trained.replace(",", "")) == 224 + 584
    assert re.search(r"^memory: about 0\.7 GB at the peak of a step", printed, re.M)
    assert re.search(r"^step 11/16: loss [\d.]+, [\d.]+ images/s, 00:\d\d left$", printed, re.M)
    assert re.search(r"^traced from step 10 on: .*xprof", printed, re.M)
    assert run_of(folder).read_config()["flags"]["freeze"] == "conv1,conv2"


def test_rates_of_trunk_and_head_are_the_archs_unless_given(folder):
    weights = os.path.join(folder, "narrow.mat")
    pretrained, untrained = (build.build_network("fcn8s", num_classes=3, weights=each) for each in (weights, None))

    def rates(network, **flags):
        network = train._with_rates(network, tiny_training.config(folder, **flags))
        factors = network.learning_rate_factors()
        return factors["conv1_1/kernel"], factors["conv8/kernel"]

    assert rates(pretrained) == (0.3, 10.0)
    assert rates(pretrained, trunk_rate=0.1) == (0.1, 10.0) and rates(pretrained, head_rate=2.0) == (0.3, 2.0)
    assert rates(untrained) == (1.0, 10.0)
    assert rates(untrained, weights="none", init_from="of which the trunk is") == (0.3, 10.0)


def test_crops_larger_than_all_photos_are_brought_to_are_told(folder, capsys):
    small = {"longest_side": 40, "max_steps": 1, "eval_every": 1}
    assert train.run(tiny_training.config(folder, image_size=48, **small)) == 0
    assert "note: --image_size=48 is larger than that, " in capsys.readouterr().out
    assert train.run(tiny_training.config(folder, image_size=40, logs_dir=f"{folder}/other", **small)) == 0
    assert "is larger than that" not in capsys.readouterr().out


def test_photos_are_brought_to_one_size_in_training_and_validation(folder, monkeypatch):
    """Crops of 48 are parts of photos brought to 64, and what learns from them labels photos of any size."""
    seen = []

    def transform(image, label, **options):
        seen.append((options["longest_side"], options["size"]))
        return whole(image, label, **options)

    whole = pipeline.transform
    monkeypatch.setattr(pipeline, "transform", transform)
    config = tiny_training.config(
        folder, longest_side=64, image_size=48, max_steps=200, eval_every=200, scales="1", debug=True
    )
    assert train.run(config) == 0
    assert set(seen) == {(64, (48, 48))}
    run = run_of(folder)
    assert run.read_history()[-1]["val_mean_iou"] > 0.7
    label = fcn_tf.Segmenter.from_run(run.logs_dir)
    image, truth = tiny_training.scene(100)
    large = label(image.repeat(8, 0).repeat(8, 1))
    assert label.longest_side == 64 and (large.labels == truth.repeat(8, 0).repeat(8, 1)).mean() > 0.8
    assert (label(image).labels == truth).mean() > 0.75
    # Before a validation there is no model.keras, and the newest checkpoint is used.
    os.remove(run.model)
    with pytest.warns(UserWarning, match="no validated model yet"):
        again = fcn_tf.Segmenter.from_run(run.logs_dir)
    assert again.longest_side == 64
    np.testing.assert_array_equal(again(image.repeat(8, 0).repeat(8, 1)).labels, large.labels)


def test_what_tracing_takes_is_not_training(folder, monkeypatch):
    for name in ("start", "stop"):
        monkeypatch.setattr(profiling.tf.profiler.experimental, name, lambda *_: time.sleep(2))
    assert train.run(tiny_training.config(folder, profile=True)) == 0
    rates = tiny_training.events(run_of(folder).train_events)["images_per_second"]
    assert min(rates[10], rates[15], rates[16]) > 4 / 2  # steps of four that took less than a pause


def test_it_learns(finished):
    rows = run_of(finished).read_history()
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]
    assert abs(tiny_training.events(run_of(finished).train_events)["loss"][1] / math.log(3) - 1) < 0.1


def test_the_history_has_one_row_a_validation(finished):
    with open(run_of(finished).history) as file:
        assert tuple(file.readline().strip().split(",")) == HISTORY_COLUMNS
    rows = run_of(finished).read_history()
    assert [row["step"] for row in rows] == [8, 16]
    assert [row["epoch"] for row in rows] == [4, 8]  # 4 pictures a step, 8 an epoch
    for row in rows:
        assert row["learning_rate"] == pytest.approx(3e-3) and row["images_per_second"] > 0
        for part in ("train", "val"):
            assert all(0 <= row[f"{part}_{name}"] <= 1 for name in MEASURES)
            assert len({row[f"{part}_{name}"] for name in MEASURES}) == len(MEASURES) == 4
    assert rows[1]["train_mean_iou"] > rows[0]["train_mean_iou"]
    assert sorted(row["elapsed_seconds"] for row in rows) == [row["elapsed_seconds"] for row in rows]


def test_config_json_says_how_the_run_was_made(finished):
    content = run_of(finished).read_config()
    assert content["flags"] == tiny_training.config(finished, debug=True).to_json()
    assert content["class_names"] == ["red", "green", "blue"] and content["num_classes"] == 3
    assert content["colors"] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]] and content["ignore_label"] == 255
    assert content["versions"]["tensorflow"] == tf.__version__ and content["versions"]["keras"] == keras.__version__
    assert content["threads"] == system.threads()


def test_the_curves_share_their_tags(finished):
    scalars = {"loss", "pixel_accuracy", "mean_iou", "images_per_second"}
    training = tiny_training.events(run_of(finished).train_events)
    validation = tiny_training.events(run_of(finished).validation_events)
    for tag in scalars | {"learning_rate", "gradient_norm/vgg", "gradient_norm/new"}:
        assert list(training[tag]) == list(range(1, 17))  # --log_every=1
    for tag in scalars | {"mean_accuracy", "iou/red"}:
        assert list(validation[tag]) == [8, 16]
    assert set(training["learning_rate"].values()) == {np.float32(3e-3)}
    rows = run_of(finished).read_history()
    assert [row["val_loss"] for row in rows] == pytest.approx(list(validation["loss"].values()))
    means = [np.mean([training["loss"][step] for step in range(end - 7, end + 1)]) for end in (8, 16)]
    assert [row["train_loss"] for row in rows] == pytest.approx(means)


def test_the_graph_and_pictures_of_every_validation_are_there(finished):
    assert "graph" in tiny_training.events(run_of(finished).train_events)
    validation = tiny_training.events(run_of(finished).validation_events)
    pictures = {tag: list(steps) for tag, steps in validation.items() if tag.startswith("photo, ground truth")}
    assert len(pictures) == 3  # as many as there are validation examples, at most four
    assert set(map(tuple, pictures.values())) == {(8, 16)}


def test_gradient_norms_of_trunk_and_new_layers_are_logged(finished):
    training = tiny_training.events(run_of(finished).train_events)
    for tag in ("gradient_norm/vgg", "gradient_norm/new"):
        assert list(training[tag]) == list(range(1, 17))
        assert all(np.isfinite(norm) and norm >= 0 for norm in training[tag].values())
    assert training["gradient_norm/new"][1] > 0
    # The score layers start at zero, so nothing reaches the trunk at the first step.
    assert training["gradient_norm/vgg"][1] == 0 < training["gradient_norm/vgg"][16]


def test_the_training_curve_has_a_point_for_each_that_is_logged(finished):
    rows, training = run_of(finished).read_training(), tiny_training.events(run_of(finished).train_events)
    assert [row["step"] for row in rows] == list(range(1, 17)) and rows[3]["epoch"] == 2
    assert [row["train_loss"] for row in rows] == pytest.approx(list(training["loss"].values()))
    assert [row["train_mean_iou"] for row in rows] == pytest.approx(list(training["mean_iou"].values()))


def test_classes_are_followed_by_name_and_curves_are_drawn(finished):
    validation = tiny_training.events(run_of(finished).validation_events)
    for tag in ("iou/red", "iou/green", "iou/blue", "confusion (rows: ground truth)"):
        assert list(validation[tag]) == [8, 16]
    means = [np.mean([validation[f"iou/{name}"][step] for name in ("red", "green", "blue")]) for step in (8, 16)]
    assert means == pytest.approx([row["val_mean_iou"] for row in run_of(finished).read_history()])
    assert os.path.getsize(run_of(finished).curves) > 1000


def test_debug_adds_histograms_and_sparsity(finished):
    training = tiny_training.events(run_of(finished).train_events)
    for tag in ("weights/conv1_1/kernel", "gradients/conv_t3/bias", "activations/relu6", "sparsity/relu6"):
        assert list(training[tag]) == [8, 16]
    assert all(0 <= share <= 1 for share in training["sparsity/relu6"].values())


def test_the_model_kept_is_the_best_on_validation(finished):
    run = run_of(finished)
    best = max(row["val_mean_iou"] for row in run.read_history())
    model = evaluator.load_model(run)
    validation = tiny_training.load("", "", "validation")
    assert evaluator.evaluate_dataset(model, validation).mean_iou == pytest.approx(best)


def test_the_newest_two_checkpoints_are_kept_and_the_best(finished):
    best = run_of(finished).best_validation()["step"]
    assert checkpoint_steps(finished) == sorted({12, 16, best})


def test_a_finished_run_has_nothing_left_to_do(finished, capsys):
    before = run_of(finished).read_history()
    events = os.listdir(run_of(finished).train_events)
    assert train.run(tiny_training.config(finished, debug=True)) == 0
    assert os.listdir(run_of(finished).train_events) == events
    assert "resumed at step 16" in (printed := capsys.readouterr().out) and "--max_steps" in printed
    assert run_of(finished).read_history() == before


def test_stopped_and_resumed_is_bit_identical_to_uninterrupted(finished, folder, capsys):
    assert train.run(tiny_training.config(folder, max_steps=6, save_every=3)) == 0
    shutil.rmtree(os.path.join(folder, "run", "validation"))
    # As if it had been killed after a validation whose checkpoint was never written.
    run_of(folder).append_history({**run_of(folder).read_history()[-1], "step": 7})
    assert "threads" not in capsys.readouterr().out
    saved = run_of(folder).read_config()
    run_of(folder).write_config(saved | {"threads": saved["threads"] | {"cpus": 96}})  # as of another machine
    assert train.run(tiny_training.config(folder)) == 0
    printed = capsys.readouterr().out
    assert "resumed at step 6\n" in printed and f"note: cpus {saved['threads']['cpus']} (was 96); results" in printed
    assert run_of(folder).read_config()["threads"] == saved["threads"]
    assert same_state(finished, folder, 16)
    assert [row["step"] for row in run_of(folder).read_history()] == [6, 8, 16]
    ours, theirs = (run_of(each).read_history()[-1] for each in (folder, finished))
    for name in ("train_loss", *(name for name in HISTORY_COLUMNS if name.startswith("train_"))):
        assert ours[name] == theirs[name]
    ours, theirs = (tiny_training.events(run_of(each).train_events)["loss"] for each in (folder, finished))
    assert ours == theirs
    assert run_of(folder).read_config()["flags"]["max_steps"] == 16


def test_everything_at_once_resumes_to_the_bit(folder, capsys):
    """And points of the training curves, though a step between two of them is the one resumed from."""
    settings = {"optimizer": "sgd", "nesterov": True, "bias_rate": 2.0, "clip_norm": 0.05, "weight_decay": 1e-4}
    settings |= {"ema": 0.9, "schedule": "poly", "early_stopping": 9, "log_every": 2, "eval_every": 5, "save_every": 3}
    whole = os.path.join(folder, "whole")
    assert train.run(tiny_training.config(folder, **settings, max_steps=5, logs_dir=f"{whole}/run")) == 0
    assert train.run(tiny_training.config(folder, **settings, max_steps=5)) == 0
    for name in files.glob(f"{run_of(folder).checkpoints}/*-5.*"):  # as if it had been killed before that one
        files.remove(name)
    assert checkpoint_steps(folder) == [3]
    assert train.run(tiny_training.config(folder, **settings, max_steps=5)) == 0
    printed = capsys.readouterr().out
    assert "resumed at step 3\n" in printed and "learning rate now" not in printed
    assert same_state(whole, folder, 5)
    ours, theirs = (run_of(each).read_training() for each in (folder, whole))
    assert [row["step"] for row in ours] == [2, 4, 5]
    for one, other in zip(ours, theirs, strict=True):
        assert {**one, "images_per_second": 0} == {**other, "images_per_second": 0}
    score = evaluator.evaluate_dataset(evaluator.load_model(run_of(folder)), tiny_training.load("", "", "validation"))
    assert score.mean_iou == pytest.approx(run_of(folder).best_validation()["val_mean_iou"]), "that of the average"


def test_it_stops_early_and_knows_when_it_is_started_again(folder, capsys):
    """At a rate at which nothing changes, the first validation is the best."""
    settings = {"learning_rate": 1e-12, "eval_every": 1, "save_every": 100}
    assert train.run(tiny_training.config(folder, **settings, early_stopping=2)) == 0
    printed = capsys.readouterr().out
    assert "stopped early after step 3: no better mean IoU in 2 validations\n" in printed and "\ndone: " in printed
    assert checkpoint_steps(folder) == [1, 3]
    assert train.run(tiny_training.config(folder, **settings, early_stopping=2)) == 0
    assert "nothing to do: the run stopped early at step 3," in capsys.readouterr().out
    assert train.run(tiny_training.config(folder, **settings, early_stopping=3)) == 0
    assert "stopped early after step 4" in capsys.readouterr().out
    assert [row["step"] for row in run_of(folder).read_history()] == [1, 2, 3, 4]


def test_batch_normalisation_resumes_exactly(folder, tmp_path):
    def config(name, **changes):
        settings = {"arch": "fcn32s_mindspore", "weights": f"{folder}/narrow.mat", "eval_every": 4, "save_every": 2}
        return tiny_training.config(str(tmp_path / name), **settings | {"max_steps": 4} | changes)

    assert train.run(config("whole")) == 0
    assert train.run(config("halves", max_steps=2)) == 0
    assert train.run(config("halves")) == 0
    one, other = (str(tmp_path / name) for name in ("whole", "halves"))
    assert same_state(one, other, 4)
    layout = json.loads(saved_state(one, 4)["layout/.ATTRIBUTES/VARIABLE_VALUE"].item())
    assert ["bn7/moving_variance", [64]] in layout


def test_a_signal_during_validation_saves_and_the_validation_is_made_up_for(folder, monkeypatch, capsys):
    def load(name, data_dir, split, **_):
        def stop(index):
            if index == 0:  # a second signal would end this process
                os.kill(os.getpid(), signal.SIGTERM)

        if split == "train":
            return tiny_training.dataset(8)
        return tiny_training.dataset(3, split, first_seed=100, on_read=stop if not run_of(folder).exists() else None)

    monkeypatch.setattr(datasets, "load", load)
    before = signal.getsignal(signal.SIGTERM)
    assert train.run(tiny_training.config(folder, max_steps=4)) == 143
    assert "stopped by SIGTERM after step 4" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before
    assert not run_of(folder).read_history() and run_of(folder).has_checkpoint()
    assert evaluator.load_model(run_of(folder)).name == "fcn8s", "not validated yet, and better than none"
    assert train.run(tiny_training.config(folder, max_steps=8, eval_every=4)) == 0
    first, second = run_of(folder).read_history()
    assert first["step"] == 4 and first["train_loss"] > 0 and first["images_per_second"] > 0 and first["val_loss"] > 0
    assert os.path.exists(run_of(folder).model)
    losses = tiny_training.events(run_of(folder).train_events)["loss"]
    assert first["train_loss"] == pytest.approx(np.mean([losses[step] for step in (1, 2, 3, 4)]))
    # What the made-up validation told of is not told again.
    assert second["train_loss"] == pytest.approx(np.mean([losses[step] for step in (5, 6, 7, 8)]))


@pytest.mark.parametrize("save_every", [4, 1000])
def test_a_validation_that_cannot_be_written_costs_no_step(folder, monkeypatch, save_every):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    settings = {"max_steps": 8, "eval_every": 4, "save_every": save_every}
    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        patch.setattr(Run, "append_history", full)
        train.run(tiny_training.config(folder, **settings))
    message = str(caught.value)
    assert "step 4" in message and "(No space left on device)" in message and "\n" not in message
    assert checkpoint_steps(folder) == [4] and not run_of(folder).read_history()
    assert train.run(tiny_training.config(folder, **settings)) == 0
    first, second = run_of(folder).read_history()
    losses = tiny_training.events(run_of(folder).train_events)["loss"]
    assert first["step"] == 4 and first["train_loss"] == pytest.approx(np.mean([losses[i] for i in (1, 2, 3, 4)]))
    assert second["step"] == 8 and second["train_loss"] == pytest.approx(np.mean([losses[i] for i in (5, 6, 7, 8)]))


def test_training_goes_on_without_what_it_can_do_without(folder, monkeypatch, capsys):
    monkeypatch.setattr(charts, "write_curves", write_curves)
    run = run_of(folder)
    os.makedirs(run.curves)  # where a file should go
    for path in (run.train_events, run.validation_events):
        with open(path, "w"):  # where a folder should go
            pass
    assert train.run(tiny_training.config(folder, profile=True, debug=True)) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(told) == 4 and all(line.endswith("; training goes on without") for line in told)
    for path in (run.curves, run.train_events, run.validation_events):
        assert any(path in line for line in told)
    assert [row["step"] for row in run.read_history()] == [8, 16] and checkpoint_steps(folder)


def test_half_a_model_is_not_left(finished, tmp_path):
    model = evaluator.load_model(run_of(finished))
    path = tmp_path / "model.keras"
    path.write_bytes(b"the one before")
    with disks.no_file_larger_than(5000), pytest.raises(OSError) as caught:
        validation.save_model(model, str(path))
    assert files.refusal(caught.value) == "File too large"
    assert os.listdir(tmp_path) == ["model.keras"] and path.read_bytes() == b"the one before"


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(folder):
    with pytest.raises(UserError) as caught:
        train.run(tiny_training.config(folder, learning_rate=1e30, save_every=1))
    message = str(caught.value)
    step = int(re.search(r"step (\d+)", message)[1])
    assert 2 <= step <= 4 and "--learning_rate" in message and "\n" not in message
    kept = checkpoint_steps(folder)
    assert kept and f"ckpt-{max(kept)};" in message.replace(". ", "; ") and max(kept) < step
    assert all(np.isfinite(a).all() for a in saved_state(folder, max(kept)).values() if a.dtype.kind == "f")


@pytest.mark.parametrize("save_every", [100, 6])
def test_a_loss_that_is_read_late_still_names_its_step_and_is_never_saved(folder, save_every):
    """Nothing is read before the checkpoint, or the last step; the bar's refresh, after a second, may come first."""
    changes = {"learning_rate": 1e30, "save_every": save_every, "log_every": 100, "eval_every": 100}
    with pytest.raises(UserError, match="training diverged") as caught:
        train.run(tiny_training.config(folder, **changes))
    assert 2 <= int(re.search(r"the loss of step (\d+) is (nan|inf)", str(caught.value))[1]) <= 4
    assert "the last checkpoint is none yet" in str(caught.value) and not checkpoint_steps(folder)


def test_scores_do_not_depend_on_how_often_they_are_read(finished, folder):
    assert train.run(tiny_training.config(folder, log_every=5)) == 0
    for ours, theirs in zip(run_of(folder).read_history(), run_of(finished).read_history(), strict=True):
        assert all(ours[name] == theirs[name] for name in HISTORY_COLUMNS if "second" not in name)
    losses, all_losses = (tiny_training.events(run_of(each).train_events)["loss"] for each in (folder, finished))
    assert list(losses) == [5, 10, 15, 16]
    assert losses[10] == pytest.approx(np.mean([all_losses[step] for step in (6, 7, 8, 9, 10)]))


def train_to_the_best(folder, step):
    """Trains up to `step`, whose validation then counts as one that nothing will surpass."""
    assert train.run(tiny_training.config(folder, max_steps=step)) == 0
    rows = run_of(folder).read_history()
    run_of(folder).truncate_history(step - 1)
    run_of(folder).append_history({**rows[-1], "val_mean_iou": 1.0})


@pytest.fixture(scope="module")
def best_at_2(finished, tmp_path_factory):
    """A folder with the narrow weights and a run of two steps, whose validation is the best."""
    folder = str(tmp_path_factory.mktemp("best_at_2"))
    shutil.copy(os.path.join(finished, "narrow.mat"), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", tiny_training.load)
        train_to_the_best(folder, 2)
    return folder


def moved(trained, folder):
    """Copies a folder and its run, as if it had been trained in `folder`, which is returned."""
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    config = run_of(folder).config
    files.write_bytes(config, files.read_bytes(config).replace(trained.encode(), folder.encode()))
    return folder


@pytest.fixture(scope="module")
def past_the_best(best_at_2, tmp_path_factory):
    """The same, two worse steps later."""
    folder = moved(best_at_2, str(tmp_path_factory.mktemp("past_the_best")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", tiny_training.load)
        assert train.run(tiny_training.config(folder, max_steps=4, save_every=1)) == 0
    return folder


def test_a_new_best_is_saved_at_its_step(folder):
    assert train.run(tiny_training.config(folder, max_steps=5, eval_every=2, save_every=100)) == 0
    rows = run_of(folder).read_history()
    assert [row["step"] for row in rows] == [2, 4, 5]
    best, saved = -1.0, []
    for row in rows:
        if row["val_mean_iou"] > best or row["step"] == 5:  # the last step is saved as it is
            saved.append(row["step"])
        best = max(best, row["val_mean_iou"])
    assert checkpoint_steps(folder) == sorted({*saved[-2:], run_of(folder).best_validation()["step"]})


def test_what_diverged_goes_on_from_the_best_as_if_nothing_had_been(finished, folder, capsys):
    train_to_the_best(folder, 8)
    kept = files.read_bytes(run_of(folder).model)
    # It ruins the weights, at a finite loss.
    assert train.run(tiny_training.config(folder, learning_rate=1.0, max_steps=14, eval_every=5, save_every=2)) == 0
    assert "learning rate now 1 (was 0.003)\n" in capsys.readouterr().out
    assert [row["step"] for row in run_of(folder).read_history()] == [8, 10, 14]
    assert checkpoint_steps(folder) == [8, 12, 14]
    assert files.read_bytes(run_of(folder).model) == kept, "two worse models came after the best"
    with pytest.raises(UserError, match="diverged") as caught:
        train.run(tiny_training.config(folder, learning_rate=1e30))
    message = str(caught.value)
    assert "the best validation was at step 8. " in message and "\n" not in message
    assert "--resume_from=best --learning_rate=0.003," in message, "the rate that was good"
    assert checkpoint_steps(folder) == [8, 12, 14]
    capsys.readouterr()
    assert train.run(tiny_training.config(folder, resume_from="best")) == 0
    printed = capsys.readouterr().out
    assert "resumed at step 8\n" in printed and "ckpt-12, ckpt-14, 2 row(s) of " in printed
    assert [row["step"] for row in run_of(folder).read_history()] == [8, 16]
    assert same_state(finished, folder, 16)
    assert checkpoint_steps(folder) == [8, 12, 16]


def test_another_learning_rate_holds_after_resuming(folder, capsys):
    assert train.run(tiny_training.config(folder, max_steps=2, precision="float16")) == 0
    assert train.run(tiny_training.config(folder, max_steps=3, precision="float16", learning_rate=5e-4)) == 0
    assert "learning rate now 0.0005 (was 0.003)\n" in capsys.readouterr().out
    assert [row["learning_rate"] for row in run_of(folder).read_history()] == pytest.approx([3e-3, 5e-4])
    assert tiny_training.events(run_of(folder).train_events)["learning_rate"][3] == np.float32(5e-4)
    assert run_of(folder).read_training()[-1]["learning_rate"] == np.float32(5e-4)
    assert run_of(folder).read_config()["flags"]["learning_rate"] == 5e-4
    assert train.run(tiny_training.config(folder, max_steps=4, precision="float16", learning_rate=5e-4)) == 0
    assert "learning rate now" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["drop_after", "truncate_history"])
def test_the_same_command_makes_up_for_a_kill_while_dropping(past_the_best, folder, monkeypatch, capsys, name):
    moved(past_the_best, folder)
    assert checkpoint_steps(folder) == [2, 3, 4]

    def killed(*_):
        raise KeyboardInterrupt

    settings = tiny_training.config(folder, max_steps=4, resume_from="best")
    with monkeypatch.context() as patch:
        patch.setattr({"drop_after": Checkpoints, "truncate_history": Run}[name], name, killed)
        with pytest.raises(KeyboardInterrupt):
            train.run(settings)
    assert [row["step"] for row in run_of(folder).read_history()] == [2, 4]
    assert checkpoint_steps(folder) == ([2, 3, 4] if name == "drop_after" else [2])
    capsys.readouterr()
    assert train.run(settings) == 0
    assert "resumed at step 2\n" in capsys.readouterr().out
    assert [row["step"] for row in run_of(folder).read_history()] == [2, 4] and checkpoint_steps(folder) == [2, 4]


def test_stopped_after_resuming_from_the_best_it_says_how_to_go_on(best_at_2, folder, monkeypatch, capsys):
    moved(best_at_2, folder)

    def load(name, data_dir, split, **_):
        def stop(index):
            if index == 0 and not os.path.exists(f"{folder}/stopped"):  # a second signal would end this process
                os.mkdir(f"{folder}/stopped")
                os.kill(os.getpid(), signal.SIGTERM)

        return tiny_training.dataset(8) if split == "train" else tiny_training.dataset(3, split, on_read=stop)

    monkeypatch.setattr(datasets, "load", load)
    assert train.run(tiny_training.config(folder, max_steps=4, eval_every=3, resume_from="best")) == 143
    said = "stopped by SIGTERM after step 3, saved; the same command without --resume_from continues there"
    assert said in capsys.readouterr().out


def test_there_must_be_a_best_to_go_on_from(folder, monkeypatch):
    monkeypatch.setattr(train.system, "load_tensorflow", lambda: pytest.fail("it takes seconds"))
    with pytest.raises(UserError, match="--resume_from=best: .*checkpoints holds no checkpoint.*found none; leave"):
        train.run(tiny_training.config(folder, resume_from="best"))
    files.write_bytes(os.path.join(run_of(folder).checkpoints, "ckpt-4.index"), b"")
    with pytest.raises(UserError, match="found ckpt-4; leave the flag out"):
        train.run(tiny_training.config(folder, resume_from="best"))


def test_an_example_that_cannot_be_read_is_one_line(folder, monkeypatch):
    def broken(index):
        if index == 3:
            raise UserError("photos/3.png: the picture is cut short; remove it.")

    monkeypatch.setattr(datasets, "load", lambda *_, **__: tiny_training.dataset(8, on_read=broken))
    with pytest.raises(UserError, match=r"^photos/3.png: the picture is cut short; remove it.$"):
        train.run(tiny_training.config(folder))


@pytest.mark.skipif(files.fcntl is None, reason="this system has no locks")
def test_a_second_training_does_not_touch_the_first(folder):
    run = run_of(folder)
    half = os.path.join(run.checkpoints, "ckpt-4_temp")
    os.makedirs(half)
    with run.claimed(), pytest.raises(UserError, match="another training"):
        train.run(tiny_training.config(folder))
    assert os.path.exists(half)  # the other one is writing it


def test_a_run_of_another_network_is_refused(finished, folder):
    shutil.copytree(run_of(finished).checkpoints, run_of(folder).checkpoints)
    with pytest.raises(UserError, match="another network"):
        train.run(tiny_training.config(folder, arch="fcn8s", precision="float16"))


@pytest.mark.parametrize("change", ["scale", "order"])
def test_a_run_whose_network_another_version_built_otherwise_of_the_same_variables_is_refused(
    change, folder, monkeypatch, capsys
):
    """As fcn8s_pytorch on a trunk with batch normalisation, whose features were divided by 58."""
    settings = {"arch": "fcn8s_pytorch", "trunk": "vgg_bn", "max_steps": 2, "eval_every": 2}
    head = pytorch_tutorial.FCN8S
    with monkeypatch.context() as patched:
        if change == "scale":
            built = functools.partial(head.build, feature_scale=58.0)
            patched.setattr(pytorch_tutorial, "FCN8S", dataclasses.replace(head, build=built, takes_scale=False))
        else:
            patched.setattr(keras.layers, "Add", lambda **_: lambda maps: maps[0])
        assert train.run(tiny_training.config(folder, **settings)) == 0
    before = {path: path.read_bytes() for path in Path(run_of(folder).logs_dir).rglob("*") if path.is_file()}
    said = {
        "scale": r"scale_pool5 multiplies by 0.0172413 there and by 1.0 here",
        "order": r"bn_t1 reads relu_t1 there and fuse_1 here",
    }[change]
    with pytest.raises(UserError, match=rf"model.keras is a network of another version: {said}.*--init_from") as caught:
        train.run(tiny_training.config(folder, **settings | {"max_steps": 4}))
    assert "\n" not in str(caught.value)
    after = {path: path.read_bytes() for path in before}
    assert {str(path) for path in before if before[path] != after[path]} <= {run_of(folder).facts}

    os.remove(run_of(folder).model)  # nothing says what it was
    capsys.readouterr()
    assert train.run(tiny_training.config(folder, **settings | {"max_steps": 4})) == 0
    assert "resumed at step 2" in capsys.readouterr().out


def start_main(folder, *arguments, **environment):
    common = ["--mode=train", "--dataset=camvid", f"--data_dir={folder}/data", f"--weights={folder}/narrow.mat"]
    common += [f"--logs_dir={folder}/run", "--arch=fcn8s", "--image_size=32", "--batch_size=4", "--log_every=1"]
    return processes.start("main.py", *common, *arguments, **environment)


def test_signals_save_and_the_same_command_continues(folder):
    """SIGTERM, then SIGINT, on real processes; --eval_every beyond reach, so that only training is interrupted."""
    tiny_training.write_camvid(os.path.join(folder, "data"))
    arguments = ["--max_steps=1000000", "--save_every=5", "--eval_every=1000000"]
    done = 0
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = start_main(folder, *arguments)
        processes.wait_for(lambda done=done: max(checkpoint_steps(folder), default=0) > done, process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        assert "Traceback" not in output
        assert (f"resumed at step {done}\n" in output) == (done > 0)
        done, before = int(re.search(rf"stopped by {number.name} after step (\d+)", output)[1]), done
        assert done == max(checkpoint_steps(folder)) > before
    process = start_main(folder, *arguments, "--arch=original")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and re.fullmatch(r"error: .*--arch=.*\n", output)


def test_two_workers_train_as_one_device(folder, monkeypatch):
    """Two processes on this machine for two steps, while this one takes them alone; a longer one is marked slow."""
    monkeypatch.undo()  # the processes read files
    data_dir = tiny_training.write_camvid(os.path.join(folder, "data"))
    steps = {"max_steps": 2, "eval_every": 2, "save_every": 2, "dropout": 0.0}
    flags = [f"--{name}={value}" for name, value in steps.items()]
    everything = {"TF_CPP_MIN_LOG_LEVEL": "0"}
    started = [start_main(folder, *flags, **each, **everything) for each in processes.workers(2)]
    one = Run(f"{folder}/one")
    alone = tiny_training.config(folder, data_dir=data_dir, logs_dir=one.logs_dir, learning_rate=1e-4, **steps)
    assert train.run(alone) == 0
    for process in started:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and "2 replica(s)" in output, output
        assert processes.CHATTER.search(output) is None
    assert processes.CHATTER.search(files.read_bytes(run_of(folder).log).decode())
    losses = [tiny_training.events(run.train_events)["loss"] for run in (one, run_of(folder))]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5) and list(losses[0]) == [1, 2]
    rows = [run.read_history()[-1] for run in (one, run_of(folder))]
    assert rows[1]["val_loss"] == pytest.approx(rows[0]["val_loss"], abs=1e-5)
    assert checkpoint_steps(folder) == run_dir.checkpoint_steps(one.checkpoints) == [2]


@pytest.mark.slow
def test_two_workers_learn_as_one_device_does(folder):
    """Two processes on this machine under MultiWorkerMirroredStrategy, then a resume of both."""
    tiny_training.write_camvid(os.path.join(folder, "data"))
    arguments = ["--eval_every=3", "--save_every=3", "--dropout=0"]

    def learn(name, max_steps, workers):
        shutil.copytree(f"{folder}/data", f"{folder}/{name}/data", dirs_exist_ok=True)
        shutil.copy(f"{folder}/narrow.mat", f"{folder}/{name}")
        here = f"{folder}/{name}"
        started = [
            start_main(here, f"--max_steps={max_steps}", *arguments, **each) for each in processes.workers(workers)
        ]
        outputs = [process.communicate(timeout=300)[0] for process in started]
        for process, output in zip(started, outputs, strict=True):
            assert process.returncode == 0, output
        return outputs

    learn("one", 6, workers=1)
    learn("two", 3, workers=2)
    for output in learn("two", 6, workers=2):
        assert "resumed at step 3\n" in output and "2 replica(s)" in output
    one, two = Run(f"{folder}/one/run"), Run(f"{folder}/two/run")
    losses = [tiny_training.events(run.train_events)["loss"] for run in (one, two)]
    assert list(losses[0]) == list(losses[1]) == [1, 2, 3, 4, 5, 6]
    assert list(losses[1].values()) == pytest.approx(list(losses[0].values()), abs=1e-5)
    assert [row["step"] for row in two.read_history()] == [3, 6]
    assert sorted(os.listdir(two.logs_dir)) == sorted(os.listdir(one.logs_dir))
    assert sorted(os.listdir(two.checkpoints)) == sorted(os.listdir(one.checkpoints))


def test_a_worker_alone_says_whom_it_waits_for_and_a_signal_ends_it(folder):
    tiny_training.write_camvid(os.path.join(folder, "data"))
    here, absent = processes.workers(2)
    process = start_main(folder, **here)
    address = json.loads(absent["TF_CONFIG"])["cluster"]["worker"][1]
    assert process.stdout.readline() == f"waiting for the other workers: {address}\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM and not output


@pytest.mark.slow
def test_workers_stop_together_when_one_is_asked_to(folder):
    """SIGTERM to one while it trains, SIGINT to one in a validation; both times the same command."""
    tiny_training.write_camvid(os.path.join(folder, "data"), validation=300)
    arguments = ["--max_steps=1000000", "--save_every=5"]
    done = 0

    def interrupt(number, to, eval_every):
        started = [
            start_main(folder, *arguments, f"--eval_every={eval_every}", **each) for each in processes.workers(2)
        ]
        processes.wait_for(lambda: max(checkpoint_steps(folder), default=0) > done, started[to])
        started[to].send_signal(number)
        outputs = [process.communicate(timeout=300)[0] for process in started]
        assert not any("Traceback" in output for output in outputs), outputs
        return [process.returncode for process in started], outputs

    # At a step for both, the checkpoint comes first: the signal arrives in a validation of 300 pictures.
    for number, to, eval_every in ((signal.SIGTERM, 1, 1000000), (signal.SIGINT, 0, 5)):
        statuses, outputs = interrupt(number, to, eval_every)
        assert statuses == [128 + number] * 2, outputs
        found = [re.search(rf"^stopped by {number.name} after step (\d+)(.*)$", output, re.M) for output in outputs]
        assert found[0][1] == found[1][1], outputs
        assert found[0][2] == ", saved; the same command continues there" and found[1][2] == "; the chief saves"
        assert all((f"resumed at step {done}\n" in output) == (done > 0) for output in outputs)
        done = int(found[0][1])
        assert done == max(checkpoint_steps(folder))
    assert done % 5 == 0 and not run_of(folder).read_history()
