"""The layout of a run, and its small files."""

import os

import pytest

from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import HISTORY_COLUMNS, TRAINING_COLUMNS, Run, checkpoint_steps, free_logs_dir


def row(step, **changes):
    values = {name: 0.5 for name in HISTORY_COLUMNS} | {"step": step, "epoch": step / 10}
    return values | changes


def test_layout(tmp_path):
    run = Run(str(tmp_path))
    names = {"config": "config.json", "history": "history.csv", "training": "training.csv", "model": "model.keras"}
    names |= {"checkpoints": "checkpoints", "train_events": "train", "validation_events": "validation"}
    names |= {"visualize": "visualize", "evaluation": "evaluation", "predict": "predict"}
    assert {key: os.path.relpath(getattr(run, key), tmp_path) for key in names} == names
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("logs_dir", ["link", "link/", "link/run"])
def test_a_link_that_leads_nowhere_is_told_with_its_target(tmp_path, monkeypatch, logs_dir):
    monkeypatch.chdir(tmp_path)
    os.symlink("disk/gone", "other")
    os.symlink("other", "link")
    said = f"--logs_dir: link is a symbolic link to {tmp_path}/disk/gone, which is not there; make that folder"
    with pytest.raises(UserError, match=said):
        Run(logs_dir).require_layout()
    os.makedirs("disk/gone")
    Run(logs_dir).require_layout()


def test_config_comes_back_and_no_temporary_file_stays(tmp_path):
    run = Run(str(tmp_path / "new"))
    config = {"arch": "fcn8s", "colors": [[0, 1, 2]], "ignore_label": None}
    run.write_config(config)
    assert run.read_config() == config
    assert os.listdir(run.logs_dir) == ["config.json"]


def test_config_that_is_missing_or_damaged_is_named(tmp_path):
    run = Run(str(tmp_path))
    with pytest.raises(UserError, match="is no run: no config.json; train first with --mode=train --logs_dir="):
        run.read_config()
    for text, reason in (("{", "not JSON"), ("[1]", "no object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=reason):
            run.read_config()


def test_model_that_is_missing_is_named(tmp_path):
    run = Run(str(tmp_path))
    with pytest.raises(UserError, match="no trained model.*--mode=train"):
        run.require_model()
    (tmp_path / "model.keras").touch()
    run.require_model()


def test_history_has_the_documented_columns_and_comes_back_exactly(tmp_path):
    run = Run(str(tmp_path))
    assert run.read_history() == []
    rows = [row(10, train_loss=0.1 + 0.2), row(20, val_mean_iou=None, val_loss=float("inf"))]
    for each in rows:
        run.append_history(each)
    assert run.read_history() == rows
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header == (
        "step,epoch,train_loss,val_loss,val_pixel_accuracy,val_mean_accuracy,val_mean_iou,learning_rate,"
        "images_per_second,elapsed_seconds,train_pixel_accuracy,train_mean_accuracy,train_mean_iou,"
        "train_frequency_weighted_iou,val_frequency_weighted_iou"
    )


def test_a_history_without_the_later_columns_is_continued(tmp_path):
    run = Run(str(tmp_path))
    (tmp_path / "history.csv").write_text(f"{','.join(HISTORY_COLUMNS[:10])}\n10{',0.5' * 9}\n")
    later = dict.fromkeys(HISTORY_COLUMNS[10:])
    assert run.read_history() == [{**row(10, epoch=0.5), **later}]
    run.append_history(row(20))
    assert run.read_history() == [{**row(10, epoch=0.5), **later}, row(20)]


def test_history_drops_the_rows_past_the_step_resumed_from(tmp_path):
    run = Run(str(tmp_path))
    assert run.truncate_history(5) == 0
    for step in (10, 20, 30):
        run.append_history(row(step))
    assert run.truncate_history(20) == 1
    assert [each["step"] for each in run.read_history()] == [10, 20]
    run.append_history(row(25))
    assert [each["step"] for each in run.read_history()] == [10, 20, 25]


def test_a_folder_that_holds_no_run_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [free_logs_dir(given, "voc") for given in ("logs/", "logs/a", "a/")] == ["logs", "logs/a", "a"]
    for taken in ("logs", "logs/voc", "logs/a", "a"):
        Run(taken).write_config({})
    found = [free_logs_dir(given, "voc") for given in ("logs/", "logs", "logs/a", "a/")]
    assert found == ["logs/voc-2", "logs/voc-2", "logs/a-2", "a-2"]


def step_of(row):
    return None if row is None else row["step"]


def test_the_best_validation_is_the_earliest_of_the_highest_with_a_finite_loss(tmp_path):
    run = Run(str(tmp_path))
    assert run.best_validation() is None and run.best_checkpoint() is None
    run.append_history(row(5, val_loss=None, val_mean_iou=0.9))
    run.append_history(row(6, val_loss=float("inf"), val_mean_iou=0.9))
    run.append_history(row(7, val_mean_iou=None))
    assert run.best_validation() is None
    for step, score in ((10, 0.2), (20, 0.4), (30, 0.4), (40, 0.1)):
        run.append_history(row(step, val_mean_iou=score))
    assert run.best_validation() == row(20, val_mean_iou=0.4)
    assert step_of(run.best_validation([40, 10])) == 10 and run.best_validation([6]) is None
    assert run.best_checkpoint() is None and step_of(run.best_checkpoint(30)) == 30
    for name in ("ckpt-40.index", "ckpt-20.data-00000-of-00001", "ckpt-best.index", "my.index"):
        files.write_bytes(files.join(run.checkpoints, name), b"")
    assert step_of(run.best_checkpoint()) == 40 and step_of(run.best_checkpoint(20)) == 20
    assert checkpoint_steps(run.checkpoints) == [40] and checkpoint_steps(str(tmp_path / "none")) == []


def test_history_refuses_other_columns(tmp_path):
    run = Run(str(tmp_path))
    with pytest.raises(ValueError, match="extra"):
        run.append_history(row(1, extra=1.0))
    assert not os.path.exists(run.history)


def test_history_that_was_damaged_is_named(tmp_path):
    (tmp_path / "history.csv").write_text("step,epoch\nten,1\n")
    with pytest.raises(UserError, match="history.csv"):
        Run(str(tmp_path)).read_history()


def test_a_folder_is_one_trainings_at_a_time(tmp_path):
    first, second = Run(str(tmp_path / "logs")), Run(str(tmp_path / "logs"))
    with first.claimed(), pytest.raises(UserError, match=r"another training .*logs; wait for it or stop it"):
        with second.claimed():
            pass
    with second.claimed():
        assert files.list_dir(second.logs_dir) == []  # nothing is left behind that would lock for ever


def test_a_training_that_takes_a_folder_sweeps_it(tmp_path):
    (tmp_path / ".0123456789ab.tmp.keras").touch()
    os.utime(tmp_path / ".0123456789ab.tmp.keras", (0, 0))
    (tmp_path / ".ba9876543210.tmp").touch()  # written just now, by evaluate perhaps
    with Run(str(tmp_path)).claimed():
        assert os.listdir(tmp_path) == [".ba9876543210.tmp"]


def test_folders_that_cannot_be_locked_are_used_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    run = Run(str(tmp_path))
    with run.claimed(), monkeypatch.context() as patch:
        patch.setattr(files.fcntl, "flock", refuse)
        with run.claimed():
            pass
    with files.locked("ram://nowhere") as free:
        assert free


def test_points_of_the_training_curves_come_back(tmp_path):
    run = Run(str(tmp_path / "new"))
    assert run.read_training() == []
    rows = [dict.fromkeys(TRAINING_COLUMNS, 0.25) | {"step": step, "train_mean_iou": None} for step in (1, 2)]
    run.write_training(rows)
    assert run.read_training() == rows


def test_validations_since_the_best_are_counted(tmp_path):
    run = Run(str(tmp_path))
    assert run.validations_since_best() == 0
    for step, iou in ((10, 0.3), (20, 0.5), (30, 0.5), (40, 0.4)):
        run.append_history(row(step, val_mean_iou=iou))
    run.append_history(row(50, val_loss=float("nan"), val_mean_iou=1.0))  # diverged
    assert run.validations_since_best() == 3
    assert [run.validations_since_best(step) for step in (5, 10, 20, 35)] == [0, 0, 0, 1]


def test_a_folder_that_cannot_be_is_a_mistake(monkeypatch, tmp_path):
    def refuse(path):
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(files, "makedirs", refuse)
    with pytest.raises(UserError, match="--logs_dir=.*cannot be made there"), Run(str(tmp_path / "run")).claimed():
        pass
