"""Which model is kept: the best on validation, and never one that diverged."""

import math
import os

import numpy as np
import pytest

from fcn_tf.inference import evaluator
from fcn_tf.io.run_dir import HISTORY_COLUMNS, Run
from fcn_tf.training.hooks import TrainingIntervals, TrainingState
from fcn_tf.training.running_metrics import RunningMetrics
from fcn_tf.training.validation import KeepBestModel, StopEarly, Validation, WriteHistory, save_model
from tests import tiny_run


@pytest.fixture
def run(tmp_path):
    return Run(str(tmp_path))


def state_of(step):
    return TrainingState(
        spec=tiny_run.SPEC,
        intervals=TrainingIntervals(10, 1, 1, 1),
        start=step,
        batch_size=1,
        dataset_size=1,
        rate=lambda: 0.1,
        since_validation=RunningMetrics(tiny_run.SPEC),
        since_log=RunningMetrics(tiny_run.SPEC),
    )


def validate(run, model, step, pairs=(([[0, 1, 2]], [[0, 1, 2]]),)):
    state = state_of(step)
    result = Validation(model, tiny_run.dataset(pairs))(state.since_validation, lambda: None)
    for hook in (KeepBestModel(model, run), WriteHistory(run)):
        hook.after_validation(state, result)


def with_bias(*values):
    model = tiny_run.color_model()
    model.set_weights([model.get_weights()[0], np.array(values, np.float32)])
    return model


def kept_bias(run):
    return evaluator.load_model(run).get_layer("pick").bias.numpy().tolist()


def test_the_better_model_is_kept(run):
    for step, bias, kept in ((1, [9, 0, 0], [9, 0, 0]), (2, [0, 0, 0], [0, 0, 0]), (3, [0, 9, 0], [0, 0, 0])):
        validate(run, with_bias(*bias), step)
        assert kept_bias(run) == kept
    assert run.best_validation()["step"] == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_diverged_is_never_the_best(run, value):
    diverged = with_bias(value, value, value)
    validate(run, diverged, 1)
    assert not os.path.exists(run.model) and run.best_validation() is None
    validate(run, with_bias(9, 0, 0), 2)
    validate(run, diverged, 3, pairs=(([[0, 0, 0]], [[0, 0, 0]]),))  # all of it right, as NaN counts for class 0
    assert run.read_history()[-1]["val_mean_iou"] == 1 and run.best_validation()["step"] == 2
    assert kept_bias(run) == [9, 0, 0]


def test_where_nothing_is_labelled_the_first_model_is_kept(run):
    for step in (1, 2):
        validate(run, with_bias(step, 0, 0), step, pairs=(([[0]], [[3]]),))
    assert kept_bias(run) == [1, 0, 0] and run.best_validation() is None
    assert run.read_history()[0]["val_loss"] is None


def test_a_model_takes_the_place_of_a_link_and_not_of_what_it_points_to(run, tmp_path):
    (tmp_path / "precious.keras").write_bytes(b"mine")
    for name in ("model.keras", "model.keras.new.keras"):
        (tmp_path / name).symlink_to("precious.keras")
    save_model(tiny_run.color_model(), run.model)
    assert (tmp_path / "precious.keras").read_bytes() == b"mine" and not math.isnan(sum(kept_bias(run)))
    assert sorted(os.listdir(tmp_path)) == ["model.keras", "model.keras.new.keras", "precious.keras"]


def test_a_failed_save_leaves_the_model_that_was_there(run, monkeypatch):
    save_model(with_bias(1, 0, 0), run.model)
    model = with_bias(2, 0, 0)

    def save(path):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("no room")

    monkeypatch.setattr(model, "save", save)
    with pytest.raises(OSError, match="no room"):
        save_model(model, run.model)
    assert kept_bias(run) == [1, 0, 0] and os.listdir(run.logs_dir) == ["model.keras"]


def test_it_stops_early_once_nothing_gets_better(run):
    hook = StopEarly(run, 2, chief=True, total=lambda numbers: [2 * numbers[0]])
    for step, iou, stops in ((1, 0.5, False), (2, 0.4, False), (3, 0.6, False), (4, 0.6, False), (5, 0.5, True)):
        run.append_history({**dict.fromkeys(HISTORY_COLUMNS), "step": step, "val_loss": 1.0, "val_mean_iou": iou})
        state = state_of(step)
        hook.after_validation(state, None)
        assert state.early_stop == state.stopping == stops
    last = state_of(10)  # of --max_steps
    hook.after_validation(last, None)
    assert not last.early_stop


@pytest.mark.parametrize("said", [0, 1])
def test_workers_stop_early_as_the_chief_says(run, said):
    """Another worker looks at no history; the sum over all of them tells it."""
    asked = []
    state = state_of(5)
    StopEarly(run, 1, chief=False, total=lambda numbers: asked.append(numbers) or [said]).after_validation(state, None)
    assert asked == [[0]] and state.early_stop == bool(said)
