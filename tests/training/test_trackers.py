"""--log_to: what is sent, that a resumed run goes on, and that a service that fails costs no training."""

import importlib
import importlib.machinery
import importlib.util
import json
import signal
import sys
import types

import pytest

from fcn_tf import registry, train
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.io.run_dir import Run
from fcn_tf.training import trackers
from tests import tiny_training


class Recorder:
    """A service in memory."""

    def __init__(self):
        self.runs, self.broken = [], ""

    def __call__(self, name, flags, known):
        if self.broken == "start":
            raise ConnectionError("no route to host")
        run = types.SimpleNamespace(name=name, flags=flags, known=known, id=f"run{len(self.runs)}", url="here")
        run.points, run.status = {}, None

        def log(values, step):
            if self.broken == "log":
                raise TimeoutError("too slow")
            run.points[step] = {**run.points.get(step, {}), **values}

        run.log, run.finish = log, lambda status: setattr(run, "status", status)
        self.runs.append(run)
        return run


@pytest.fixture
def service(monkeypatch):
    recorder = Recorder()
    module = types.ModuleType("recorder")
    module.__spec__ = importlib.machinery.ModuleSpec("recorder", None)  # as of an installed package
    module.__dict__["start"] = recorder
    monkeypatch.setitem(sys.modules, "recorder", module)
    monkeypatch.setitem(registry.TRACKERS, "recorder", "recorder:start")
    return recorder


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    monkeypatch.setattr(train, "_check_masks", lambda *_: [])
    tiny_training.write_weights(tmp_path)

    def run(**changes):
        values = {"log_to": "recorder", "max_steps": 4, "eval_every": 2, "save_every": 2, "log_every": 2, **changes}
        return train.run(tiny_training.config(tmp_path, **values))

    return run


def test_curves_and_flags_are_sent(service, start, tmp_path):
    assert start() == 0
    (first,) = service.runs
    assert first.known is None and first.flags["learning_rate"] == 3e-3 and first.name == f"{tmp_path}/run"
    assert sorted(first.points) == [2, 4] and first.status == "finished"
    rows = Run(f"{tmp_path}/run").read_history()
    for row in rows:
        assert first.points[row["step"]]["validation/mean_iou"] == pytest.approx(row["val_mean_iou"])
    wanted = {"train/loss", "train/learning_rate", "train/images_per_second", "validation/loss"}
    assert wanted <= set(first.points[4])
    assert json.loads((tmp_path / "run/trackers.json").read_bytes()) == {"recorder": "run0"}


def test_a_service_that_cannot_be_reached_is_told_before_a_step(service, start, tmp_path):
    service.broken = "start"
    with pytest.raises(UserError, match="--log_to=recorder does not work: no route to host; set up recorder"):
        start()
    assert Run(f"{tmp_path}/run").read_history() == []


def test_a_run_that_stops_early_is_finished(service, start):
    assert start(early_stopping=1, learning_rate=1e-9, max_steps=40) == 0
    (run,) = service.runs
    assert max(run.points) < 40 and run.status == "finished"


def state(start, step, stop=None):
    """Where a training is that logs every step."""
    point = {"loss": 1.0, "mean_iou": float("nan"), "learning_rate": 0.1, "images_per_second": 3.0}
    intervals = types.SimpleNamespace(logs=lambda step: True, max_steps=9)
    values = {"intervals": intervals, "result": True, "point": lambda: point, "stop": stop}
    return types.SimpleNamespace(start=start, step=step, **values)


def test_a_resumed_run_goes_on_in_the_same_one_and_a_new_one_does_not(service, tmp_path):
    for begin, known in ((0, None), (4, "run0"), (0, None)):
        hook = trackers.TrackMetrics("recorder", Run(str(tmp_path)), {})
        hook.on_start(state(begin, begin))
        hook.after_step(state(begin, begin + 1))
        hook.on_stop(state(begin, begin + 1, signal.SIGTERM))
        hook.close()
        run = service.runs[-1]
        assert run.known == known and run.status == "stopped"
        assert run.points == {
            begin + 1: {"train/loss": 1.0, "train/learning_rate": 0.1, "train/images_per_second": 3.0}
        }


def test_a_service_that_fails_later_costs_a_warning(service, tmp_path, capsys):
    service.broken = "log"
    hook = trackers.TrackMetrics("recorder", Run(str(tmp_path)), {})
    for step in (0, 1, 2):
        hook.after_step(state(0, step)) if step else hook.on_start(state(0, 0))
    hook.close()
    warning = "warning: metrics at recorder cannot be written (too slow); training goes on without"
    assert capsys.readouterr().err.count(warning) == 1
    assert service.runs[0].status == "failed"


def test_a_package_that_is_not_installed(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="--log_to=wandb needs wandb, .* pip install wandb"):
        start(log_to="wandb")


@pytest.mark.parametrize("wrong", ["tensorboard", "mlflow,mlflow", "mlflow,"])
def test_other_services_are_refused(wrong):
    with pytest.raises(UserError, match="--log_to must be some of mlflow, wandb"):
        tiny_training.config("x", log_to=wrong)


def test_damaged_ids(tmp_path):
    run = Run(str(tmp_path))
    (tmp_path / "trackers.json").write_text("[1]")
    with pytest.raises(UserError, match="trackers.json is damaged"):
        trackers.read_ids(run)


def test_wandb_gets_the_step_as_a_value_since_its_own_may_not_go_back(monkeypatch):
    calls = []

    def record(name):
        return lambda *positional, **named: calls.append((name, positional, named))

    run = types.SimpleNamespace(id="w1", url=None, dir="offline")
    run.define_metric, run.log, run.finish = record("define"), record("log"), record("finish")
    module = types.ModuleType("wandb")
    module.__dict__["init"] = lambda **named: (calls.append(("init", (), named)), run)[1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    tracker = trackers.WandbTracker("logs/a", {"seed": 1}, "w1")
    tracker.log({"train/loss": 2.0}, 7)
    tracker.finish("stopped")
    expected = {"project": "fcn_tf", "name": "logs/a", "config": {"seed": 1}, "id": "w1", "resume": "allow"}
    assert calls[0] == ("init", (), expected) and (tracker.id, tracker.url) == ("w1", "offline")
    assert ("define", ("*",), {"step_metric": "step"}) in calls
    assert ("log", ({"train/loss": 2.0, "step": 7},), {}) in calls and calls[-1] == ("finish", (), {"exit_code": 1})


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_in_a_database(tmp_path, monkeypatch):
    mlflow = importlib.import_module("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    tracker = trackers.MlflowTracker("logs/a", {"seed": 1, "loss": "dice", "freeze": ""}, None)
    tracker.log({"validation/mean_iou": 0.5}, 10)
    tracker.finish("stopped")
    again = trackers.MlflowTracker("logs/a", {"seed": 1, "loss": "dice", "max_steps": 20}, tracker.id)
    again.log({"validation/mean_iou": 0.75}, 20)
    again.finish("finished")
    assert again.id == tracker.id and "experiment tests" in again.url
    client = mlflow.MlflowClient()
    run = client.get_run(tracker.id)
    assert run.data.params["loss"] == "dice" and run.data.tags["max_steps"] == "20"
    assert run.info.status == "FINISHED" and run.info.run_name == "logs/a"
    points = [(each.step, each.value) for each in client.get_metric_history(tracker.id, "validation/mean_iou")]
    assert points == [(10, 0.5), (20, 0.75)]
