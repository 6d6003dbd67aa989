"""Learning-rate schedules against numbers by hand; the tables of schedules and optimisers; exact resume with them."""

import numpy as np
import pytest

from fcn_tf import registry, train
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.io.run_dir import Run
from fcn_tf.training.schedules import learning_rate
from tests import tiny_training


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    tiny_training.write_weights(str(tmp_path))
    return str(tmp_path)


def curve(folder):
    return tiny_training.events(Run(f"{folder}/run").train_events)


@pytest.mark.parametrize(
    "name, rates",
    [
        ("constant", [2, 2, 2, 2]),
        ("step", [2, 2, 0.2, 0.02]),
        ("poly", [2, 2 * 0.75**0.9, 2 * 0.5**0.9, 2 * 0.25**0.9]),
        ("cosine", [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5]),
    ],
)
def test_schedules_by_hand(name, rates):
    assert [learning_rate(name, 2.0, max_steps=4)(step) for step in range(4)] == pytest.approx(rates)
    warm = [learning_rate(name, 2.0, max_steps=4, warmup_steps=2)(step) for step in range(4)]
    assert warm == pytest.approx([rates[0] / 2, *rates[1:]])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resume_is_exact_with_a_schedule(folder, tmp_path_factory, optimizer, capsys):
    settings = {"optimizer": optimizer, "schedule": "poly", "warmup_steps": 2, "weight_decay": 0.01, "eval_every": 2}
    other = str(tmp_path_factory.mktemp("other"))
    tiny_training.write_weights(other)
    assert train.run(tiny_training.config(other, max_steps=4, **settings)) == 0
    with pytest.MonkeyPatch.context() as patch:  # the same command, killed after two steps
        patch.setattr("fcn_tf.training.hooks.TrainingIntervals.validates", _stop_at_2)
        with pytest.raises(KeyboardInterrupt):
            train.run(tiny_training.config(folder, max_steps=4, save_every=2, **settings))
    assert train.run(tiny_training.config(folder, max_steps=4, **settings)) == 0
    assert "resumed at step 2" in (printed := capsys.readouterr().out) and "learning rate now" not in printed
    ours, theirs = curve(folder), curve(other)
    for tag in ("loss", "learning_rate"):
        assert [ours[tag][step] for step in (3, 4)] == [theirs[tag][step] for step in (3, 4)]
    want = [3e-3 / 2, 3e-3 * 0.75**0.9, 3e-3 * 0.5**0.9, 3e-3 * 0.25**0.9]
    assert list(theirs["learning_rate"].values()) == pytest.approx(want, rel=1e-6)
    assert Run(f"{other}/run").read_history()[-1]["learning_rate"] == pytest.approx(want[-1], rel=1e-6)


def _stop_at_2(_intervals, step):
    if step == 2:
        raise KeyboardInterrupt
    return False


def test_another_optimiser_and_schedule_are_one_entry_each(folder, monkeypatch):
    with open(f"{folder}/mine.py", "w") as file:
        file.write(
            "import keras\n\n"
            "def lion(learning_rate, *, factors, **_):\n"
            "    return keras.optimizers.Lion(learning_rate, name='lion')\n\n"
            "def linear(done):\n"
            "    return 1.0 - done\n"
        )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(registry.OPTIMIZERS, "lion", "mine:lion")
    monkeypatch.setitem(registry.SCHEDULES, "linear", "mine:linear")
    assert train.run(tiny_training.config(folder, optimizer="lion", schedule="linear", max_steps=2)) == 0
    assert list(curve(folder)["learning_rate"].values()) == [np.float32(3e-3), np.float32(1.5e-3)]


def test_adam_refuses_weight_decay(folder):
    with pytest.raises(UserError, match="--optimizer=adam has no weight decay, got --weight_decay=0.1; use"):
        train.run(tiny_training.config(folder, weight_decay=0.1))
