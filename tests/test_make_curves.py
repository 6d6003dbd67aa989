"""tools/make_curves.py: a panel a run, a line where a run should have come to, and no picture without a history."""

import json

import numpy as np
import pytest

from fcn_tf.io import images
from fcn_tf.io.run_dir import HISTORY_COLUMNS, TRAINING_COLUMNS, Run
from tools import make_curves


def write_run(folder, scores):
    """A run of so many validations, whose training curve ends at 1."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({}))
    for name, columns, numbers in (
        ("history.csv", HISTORY_COLUMNS, {"val_mean_iou": scores}),
        ("training.csv", TRAINING_COLUMNS, {"train_mean_iou": [0.1, 1.0]}),
    ):
        (column, values), *_ = numbers.items()
        rows = [{"step": 10 * number, "epoch": 1, column: value} for number, value in enumerate(values, 1)]
        lines = [",".join(str(row.get(each, "")) for each in columns) for row in rows]
        (folder / name).write_text("\n".join([",".join(columns), *lines]) + "\n")
    return Run(str(folder))


def decoded(runs, aims):
    return images.decode_image(make_curves.draw(runs, aims), name="curves.png").astype(int)


def grey(picture):
    """How many pixels are of the colour of the line of an aim."""
    return int((np.ptp(picture, axis=2) == 0)[:, 60:].sum() - (picture[:, 60:] == 255).all(-1).sum())


def test_draws_a_panel_a_run_and_the_aim(tmp_path):
    runs = [("same", write_run(tmp_path / "one", [0.2, 0.4])), ("same", write_run(tmp_path / "two", [0.5]))]
    alone = decoded(runs[:1], [])
    both = decoded(runs, [])
    aimed = decoded(runs, [None, 0.9])
    assert both.shape[1] == 2 * alone.shape[1] and both.shape == aimed.shape
    left = both.shape[1] // 2
    np.testing.assert_array_equal(both[:, : left - 40], aimed[:, : left - 40])  # no aim, no line
    assert grey(aimed[:, left:]) > grey(both[:, left:]) + 50


def test_a_folder_without_a_history_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"history\.csv is empty or missing; expected the --logs_dir"):
        make_curves.draw([("none", Run(str(tmp_path)))], [])


def test_command(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "one", [0.2])
    picture = tmp_path / "curves.png"
    monkeypatch.setattr("sys.argv", ["make_curves.py", f"--output={picture}", "--aims=0.5", f"a title={tmp_path}/one"])
    make_curves.main()
    assert capsys.readouterr().out.strip() == str(picture) and picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs"], "'logs' has no title; expected TITLE=LOGS_DIR"),
        (["--aims=high", "a=logs"], "argument --aims: invalid _aims value: 'high'"),
        (["--aims=0.5,0.6", "a=logs"], "--aims names 2, expected at most one for each of 1 runs"),
    ],
)
def test_mistakes(arguments, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make_curves.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        make_curves.main()
    assert ended.value.code == 2 and said in capsys.readouterr().err
