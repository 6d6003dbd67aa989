"""--on_nan: what a training does whose loss is no longer finite."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import registry, train
from fcn_tf.data import datasets, pipeline
from fcn_tf.errors import UserError
from fcn_tf.io.run_dir import Run
from fcn_tf.training import distribution
from fcn_tf.training.step import TrainingStep
from tests import tiny_training

RATE = 3e-3  # of tiny_training
SETTINGS = {"max_steps": 6, "eval_every": 2, "save_every": 1, "on_nan": "rollback"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    tiny_training.write_weights(str(tmp_path))
    return str(tmp_path)


@pytest.fixture
def fragile(monkeypatch):
    """Makes the loss of a step NaN whenever the learning rate is above a limit."""

    def make(step, limit):
        take = TrainingStep.__call__

        def call(self, *batch, number, **options):
            result = take(self, *batch, number=number, **options)
            wrong = number == step - 1 and float(self._optimizer.learning_rate.numpy()) > limit
            return result._replace(loss=tf.constant(float("nan"))) if wrong else result

        monkeypatch.setattr(TrainingStep, "__call__", call)

    return make


def run_of(folder):
    return Run(os.path.join(folder, "run"))


def weights_of(folder, step):
    reader = tf.train.load_checkpoint(os.path.join(run_of(folder).checkpoints, f"ckpt-{step}"))
    names = sorted(name for name in reader.get_variable_to_shape_map() if name.startswith("v"))
    return [np.asarray(reader.get_tensor(name)) for name in names]


def test_it_goes_back_to_the_best_with_half_the_rate_and_stays_there(folder, fragile, capsys, tmp_path_factory):
    fragile(5, 2e-3)
    assert train.run(tiny_training.config(folder, **SETTINGS)) == 0
    printed = capsys.readouterr().out
    said = re.search(
        r"training diverged: the loss of step 5 is nan \(its batch: (.*)\); back to the best (.*)", printed
    )
    assert said is not None
    batch = pipeline.examples_of_step(tiny_training.load("", "", "train"), 4, batch_size=4, seed=0)
    assert said[1] == ", ".join(example.name for example in batch)
    best = int(re.search(r"validation, step (\d)", said[2])[1])
    assert best in (2, 4) and said[2].endswith("with half the learning rate (1 of 3 times)")
    assert f"resumed at step {best}\n" in printed and "learning rate now 0.0015 (was 0.003)" in printed
    assert "learning rate 0.0015 (halved 1 times), times" in printed
    rates = {row["step"]: row["learning_rate"] for row in run_of(folder).read_history()}
    assert rates == pytest.approx({step: RATE if step <= best else RATE / 2 for step in (2, 4, 6)})
    assert run_of(folder).read_config()["halvings"] == 1

    # As by hand, to the bit.
    other = str(tmp_path_factory.mktemp("by_hand"))
    tiny_training.write_weights(other)
    with pytest.raises(UserError, match="or let --on_nan=rollback do so"):
        train.run(tiny_training.config(other, **SETTINGS | {"on_nan": "stop"}))
    assert train.run(tiny_training.config(other, resume_from="best", **SETTINGS | {"learning_rate": RATE / 2})) == 0
    for mine, theirs in zip(weights_of(folder, 6), weights_of(other, 6), strict=True):
        np.testing.assert_array_equal(mine, theirs)

    # The same command continues with the half.
    capsys.readouterr()
    assert train.run(tiny_training.config(folder, **SETTINGS | {"max_steps": 8})) == 0
    assert "halved 1 times" in capsys.readouterr().out
    assert run_of(folder).read_history()[-1]["learning_rate"] == pytest.approx(RATE / 2)
    # Another rate is what it says.
    assert train.run(tiny_training.config(folder, **SETTINGS | {"max_steps": 9, "learning_rate": 1e-3})) == 0
    assert "halved" not in capsys.readouterr().out and "halvings" not in run_of(folder).read_config()


@pytest.fixture
def two_stages(monkeypatch):
    monkeypatch.setitem(registry.HEADS, "first", registry.HEADS["fcn8s"])
    monkeypatch.setattr(registry, "STAGED", ("first", "fcn8s"))


@pytest.mark.usefixtures("two_stages")
def test_what_is_advised_in_staged_is_the_rate_of_the_command(folder, fragile):
    """Of which --stage_rate makes that of the second network."""
    fragile(3, 4e-3)
    settings = SETTINGS | {"staged": True, "stage_rate": 2.0, "on_nan": "stop"}
    with pytest.raises(UserError, match=r"loss of step 3 is nan .* --resume_from=best --learning_rate=0\.0003, or"):
        train.run(tiny_training.config(folder, **settings))


@pytest.mark.usefixtures("two_stages")
def test_the_last_network_of_staged_keeps_its_half_too(folder, fragile, capsys):
    """Whose config.json has the --learning_rate of the command, which --stage_rate has lowered."""
    fragile(3, 1e-3)
    settings = SETTINGS | {"staged": True, "stage_rate": 0.5, "max_steps": 4}
    assert train.run(tiny_training.config(folder, **settings)) == 0
    assert capsys.readouterr().out.count("back to the best validation") == 3  # 3e-3 twice, 1.5e-3 once
    assert train.run(tiny_training.config(folder, **settings | {"max_steps": 6})) == 0
    assert "learning rate 0.00075 (halved 1 times)" in capsys.readouterr().out
    assert run_of(folder).read_config()["halvings"] == 1
    assert [row["learning_rate"] for row in run_of(folder).read_history()][-2:] == pytest.approx([RATE / 4] * 2)


def test_three_times_at_most(folder, fragile, capsys):
    fragile(2, 0.0)
    with pytest.raises(UserError) as caught:
        train.run(tiny_training.config(folder, **SETTINGS | {"save_every": 9, "eval_every": 9}))
    message = str(caught.value)
    assert message.startswith("training diverged: the loss of step 2 is nan (its batch: train")
    assert "halved the learning rate 3 times; look at these files" in message
    assert "--learning_rate below 0.000375" in message and "\n" not in message
    printed = capsys.readouterr().out
    assert re.findall(r"back to step 0, with half the learning rate \((\d) of 3 times\)", printed) == ["1", "2", "3"]


def test_only_one_process_can(folder, monkeypatch):
    monkeypatch.setattr(distribution, "others", lambda strategy: ["host:1"])
    with pytest.raises(UserError, match="--on_nan=rollback is of one process, and TF_CONFIG names several"):
        train.run(tiny_training.config(folder, **SETTINGS))
