"""--mode=search: trials, their report, and a search that was stopped."""

import importlib.util
import math
import shlex
import sys
import types

import numpy as np
import pytest
from PIL import Image

import main
from fcn_tf import registry, search
from fcn_tf.command import flags
from fcn_tf.config import merge
from fcn_tf.errors import UserError
from fcn_tf.io.run_dir import HISTORY_COLUMNS, Run
from fcn_tf.reports import search_report
from tests import tiny_run

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
optuna_warns = pytest.mark.filterwarnings("ignore")

TRIALS = [
    search_report.Trial("logs/trial_0", 0.5, {"learning_rate": 1e-4, "image_size": 96, "class_weights": "none"}),
    search_report.Trial("logs/trial_1", None, {"learning_rate": 1e-3, "image_size": 96, "class_weights": "none"}),
    search_report.Trial("logs/trial_2", 0.75, {"learning_rate": 2e-4, "image_size": 128, "class_weights": "balanced"}),
]


class Training:
    """Stands in for train.run: the nearer the learning rate is to 3e-4, the better."""

    def __init__(self):
        self.configs, self.status, self.error = [], 0, None

    def __call__(self, config):
        self.configs.append(config)
        run = Run(config.logs_dir)
        if self.error:
            raise UserError(self.error)
        run.write_config({})
        if self.status:
            return self.status
        score = 1 / (1 + abs(math.log(config.learning_rate / 3e-4)))
        columns = dict.fromkeys(HISTORY_COLUMNS)
        run.append_history({**columns, "step": 10, "val_loss": 1.0, "val_mean_iou": score})
        return 0


@pytest.fixture
def training(monkeypatch):
    fake = Training()
    module = types.ModuleType("fake_train")
    module.__dict__["run"] = fake
    monkeypatch.setitem(sys.modules, "fake_train", module)
    monkeypatch.setitem(registry.MODES, "train", "fake_train:run")
    return fake


def start(folder, **changes):
    values = {"dataset": "shapes", "learning_rate": 1e-4, "image_size": 96, "trials": 3, "seed": 1, **changes}
    return search.run(tiny_run.config("search", folder, **values))


@needs_optuna
@optuna_warns
def test_trials_are_trained_and_the_best_command_is_one(tmp_path, training, capsys):
    assert start(tmp_path) == 0
    assert [config.logs_dir for config in training.configs] == [f"{tmp_path}/trial_{number}" for number in range(3)]
    assert {config.mode for config in training.configs} == {"train"}
    for config in training.configs:
        assert 1e-5 <= config.learning_rate <= 1e-3
        assert config.image_size in ("64", "96", "128") and config.class_weights in ("none", "balanced")
    assert len({config.learning_rate for config in training.configs}) == 3
    best = min(training.configs, key=lambda config: abs(math.log(config.learning_rate / 3e-4)))
    words = capsys.readouterr().out.splitlines()[-1].split()
    assert words[:3] == ["python", "main.py", "--mode=train"]
    assert f"--learning_rate={best.learning_rate:.4g}" in words and f"--image_size={best.image_size}" in words
    assert f"--logs_dir={tmp_path}/best" in words and "--batch_size=2" in words
    assert (tmp_path / "search.csv").read_text().count("\n") == 4
    assert Image.open(tmp_path / "search.png").size == (1200, 380)


@needs_optuna
@optuna_warns
def test_a_stopped_search_goes_on_with_the_trial_it_was_in(tmp_path, training, capsys):
    training.status = 130
    assert start(tmp_path) == 130
    assert "the same command goes on with this trial" in capsys.readouterr().out
    training.status = 0
    assert start(tmp_path) == 0
    stopped, again, *others = training.configs
    assert again == stopped and len(others) == 2
    assert start(tmp_path, trials=4) == 0
    assert [config.logs_dir[-7:] for config in training.configs[2:]] == ["trial_1", "trial_2", "trial_3"]
    assert start(tmp_path, trials=4) == 0 and len(training.configs) == 5


@needs_optuna
@optuna_warns
def test_other_flags_are_another_search(tmp_path, training):
    assert start(tmp_path, trials=1) == 0
    with pytest.raises(UserError, match="holds a search with --arch=light, got --arch=original"):
        start(tmp_path, arch="original")


@needs_optuna
@optuna_warns
@pytest.mark.parametrize("damage", ["text", "half", "noise"])
def test_a_damaged_study_is_one_line(tmp_path, training, damage):
    assert start(tmp_path, trials=1) == 0
    study = tmp_path / "search.db"
    data = study.read_bytes()
    noise = np.random.default_rng(0).bytes(len(data) // 2)
    study.write_bytes({"text": b"text" * 100, "half": data[: len(data) // 2], "noise": data[:4096] + noise}[damage])
    left = study.read_bytes()
    with pytest.raises(
        UserError, match=rf"^{study} cannot be read as a search \(.+\); if .* put a copy .*--logs_dir\.$"
    ):
        start(tmp_path, trials=2)
    assert study.read_bytes() == left and len(training.configs) == 1


@needs_optuna
@optuna_warns
def test_a_trial_that_fails_is_one_and_a_mistake_ends_the_search(tmp_path, training, capsys, monkeypatch):
    training.error = "no data here"
    with pytest.raises(UserError, match="no data here"):
        start(tmp_path / "a")
    (tmp_path / "b/trial_0").mkdir(parents=True)
    (tmp_path / "b/trial_0/config.json").write_text("{}")  # training had begun
    training.error = "training diverged"
    with pytest.raises(UserError, match="none of 1 trials was ever validated"):
        start(tmp_path / "b", trials=1)
    assert "trial failed: training diverged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("side", "sides"),
    [
        ("96", ["64", "96", "128"]),
        ("224", ["160", "224", "288"]),
        ("20", ["20", "32"]),
        ("360x480", ["256x352", "360x480", "480x608"]),
    ],
)
def test_crops_are_around_the_one_given(side, sides):
    asked = {}
    trial = types.SimpleNamespace(
        suggest_float=lambda name, low, high, log: asked.setdefault(name, (low, high, log))[0],
        suggest_categorical=lambda name, choices: asked.setdefault(name, choices)[0],
    )
    search.space(trial, tiny_run.config("search", "x", image_size=side, learning_rate=0.01))
    assert asked["image_size"] == sides and asked["class_weights"] == ("none", "balanced")
    assert asked["learning_rate"] == (pytest.approx(0.001), pytest.approx(0.1), True)
    asked.clear()
    search.space(trial, tiny_run.config("search", "x", loss="dice"))
    assert asked["class_weights"] == ("none",), "dice takes none"


def test_without_optuna(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="--mode=search needs optuna, .* pip install optuna"):
        start(tmp_path)


def test_trials_are_counted(tmp_path, capsys):
    assert main.main(["main.py", "--mode=search", "--trials=0", f"--logs_dir={tmp_path}"]) == 2
    assert "--trials must be 1 or more, up to 10^15, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("plain", [True, False])
def test_the_command_says_what_staged_sets_by_itself(plain):
    config = merge({"mode": "search", "staged": True, "plain_skips": plain, "logs_dir": "none"}, None)
    typed = shlex.split(search.command(config, {}))
    assert flags.config_from_flags(["main.py", *typed[2:]]).plain_skips == plain


def test_the_command_names_what_differs_from_the_defaults(tmp_path):
    config = tiny_run.config("search", "a b", dataset="voc", data_dir="my data", batch_size=7)
    assert search.command(config, {"learning_rate": 1.23456e-5}) == (
        "python main.py --mode=train --dataset=voc '--data_dir=my data' --batch_size=7 --learning_rate=1.235e-05 "
        "'--logs_dir=a b/best'"
    )


def test_the_table_has_the_best_first():
    lines = search_report.table(TRIALS).splitlines()
    assert [line.split()[-1] for line in lines] == ["trial", "trial_2", "trial_0", "trial_1"]
    assert lines[1].split() == ["0.7500", "0.0002", "128", "balanced", "trial_2"] and "failed" in lines[3]
    assert len({len(line) for line in lines}) == 1


def test_the_csv_has_every_trial():
    rows = search_report.csv_of(TRIALS).decode().splitlines()
    assert rows[0] == "trial,mean_iou,learning_rate,image_size,class_weights"
    assert rows[2] == "trial_1,,0.001,96,none"


def test_the_picture_has_a_point_for_each_score(tmp_path):
    def picture(trials):
        path = tmp_path / "search.png"
        path.write_bytes(search_report.chart(trials))
        return np.asarray(Image.open(path).convert("RGB")).astype(int)

    blue = np.abs(picture(TRIALS) - (31, 95, 191)).sum(-1) < 30
    more = np.abs(picture([*TRIALS, TRIALS[0]._replace(score=0.6)]) - (31, 95, 191)).sum(-1) < 30
    assert more[:, :450].sum() > blue[:, :450].sum() > 20
    assert picture([TRIALS[1]]).shape == (380, 1200, 3)  # axes alone
