"""A run whose data were moved or renamed goes on with --data_dir, exactly, and says so to whoever uses it later."""

import json
import shutil

import pytest

import main
from fcn_tf import registry
from fcn_tf.io.run_dir import Run
from tests import tiny_training
from tests.prepared import make, write


def photos(root, numbers, first_scene=0):
    for number in numbers:
        image, label = tiny_training.scene(first_scene + number)
        write(root / "images" / f"{number}.png", image)
        write(root / "masks" / f"{number}.png", label)
    return root


def train(folder, run, data, *flags, dataset="folder", steps=2):
    """Starts a training; returns its status."""
    weights = tiny_training.write_weights(str(folder))
    asked = [f"--weights={weights}", f"--dataset={dataset}", f"--data_dir={data}", "--image_size=32", "--batch_size=2"]
    often = ["--save_every=1", "--eval_every=2", "--log_every=1", f"--max_steps={steps}"]
    return main.main(["main.py", f"--logs_dir={folder}/{run}", *asked, *often, *flags])


def resume(folder, run, *flags, mode="train"):
    return main.main(["main.py", f"--mode={mode}", f"--logs_dir={folder}/{run}", *flags])


def stored(folder):
    return json.loads((folder / "config.json").read_text())["flags"]["data_dir"]


def losses(folder):
    return {row["step"]: row["train_loss"] for row in Run(str(folder)).read_training()}


@pytest.mark.parametrize("dataset", ["folder", "records"])
def test_it_goes_on_as_if_nothing_was_moved(dataset, tmp_path, capsys):
    data = photos(tmp_path / "data", range(12))
    data = data if dataset == "folder" else make("folder", data, tmp_path / "shards")
    flags = ["--holdout=1,2"] if dataset == "folder" else []
    assert train(tmp_path, "whole", data, *flags, dataset=dataset, steps=4) == 0
    assert train(tmp_path, "run", data, *flags, dataset=dataset, steps=2) == 0
    moved = shutil.move(data, tmp_path / "moved")
    capsys.readouterr()
    if dataset == "folder":  # a folder that is not there is told, and where it may be said
        for mode in ("train", "evaluate", "visualize"):
            assert resume(tmp_path, "run", mode=mode) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and f"there is no folder {data}" in error
            assert error.endswith(f"The run in {tmp_path}/run has its data there; if they were moved, --data_dir says "
                                  "where to.\n")  # fmt: skip
    assert resume(tmp_path, "run", f"--data_dir={moved}", "--max_steps=4") == 0
    said = capsys.readouterr().out
    assert "resumed at step 2" in said and "the examples changed" not in said
    assert losses(tmp_path / "run") == losses(tmp_path / "whole") and max(losses(tmp_path / "run")) == 4
    histories = [Run(str(tmp_path / name)).read_history() for name in ("run", "whole")]
    assert [row["val_loss"] for row in histories[0]] == [row["val_loss"] for row in histories[1]]
    assert stored(tmp_path / "run") == str(moved) and stored(tmp_path / "whole") == str(data)
    assert resume(tmp_path, "run", mode="evaluate") == 0


def test_what_came_and_went_meanwhile_is_told(tmp_path, capsys):
    data = photos(tmp_path / "data", range(12))
    assert train(tmp_path, "run", data) == 0
    gone, *_ = json.loads((tmp_path / "run/examples.json").read_text())["train"]
    moved = data.rename(tmp_path / "moved")
    for folder in ("images", "masks"):
        (moved / folder / f"{gone.removeprefix('images/')}.png").unlink()
    capsys.readouterr()
    assert resume(tmp_path, "run", f"--data_dir={moved}", "--max_steps=3") == 0
    assert f"1 training example removed ({gone})" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/examples.json").read_text())["trained_before"].keys() == {gone}


def test_other_examples_are_refused_even_of_the_same_names(tmp_path, capsys):
    data = photos(tmp_path / "data", range(12))
    assert train(tmp_path, "run", data) == 0
    before = (tmp_path / "run/config.json").read_bytes()
    photos(tmp_path / "other", range(12), first_scene=50)
    shutil.copy(data / "images/3.png", tmp_path / "other/images")
    capsys.readouterr()
    assert resume(tmp_path, "run", f"--data_dir={tmp_path}/other", "--max_steps=3") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"--data_dir={tmp_path}/other lacks 11 of the 12 examples of the run in {tmp_path}/run (images/" in error
    assert f"give the folder that {data} was moved to, or another --logs_dir" in error
    (tmp_path / "run/examples.json").unlink()
    assert resume(tmp_path, "run", f"--data_dir={shutil.copytree(data, tmp_path / 'copy')}", "--max_steps=3") == 2
    assert "has no list of its examples" in capsys.readouterr().err
    assert (tmp_path / "run/config.json").read_bytes() == before


def test_a_folder_beside_the_run_s_own_is_refused(tmp_path, capsys):
    """It has the same photos, and may have other masks."""
    data = photos(tmp_path / "data", range(12))
    assert train(tmp_path, "run", data) == 0
    before = (tmp_path / "run/config.json").read_bytes()
    other = shutil.copytree(data, tmp_path / "other")
    for path in (other / "masks").iterdir():
        write(path, tiny_training.scene(99)[1])
    capsys.readouterr()
    assert resume(tmp_path, "run", f"--data_dir={other}", "--max_steps=3") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"has its data in {data}, which is still there, got --data_dir={other}" in error
    shutil.rmtree(data)
    names = [f"class {number}" for number in range(len(json.loads(before)["class_names"]))]
    (tmp_path / "run/config.json").write_text(json.dumps(json.loads(before) | {"class_names": names}))
    (other / "classes.txt").write_text("\n".join(reversed(names)))
    assert resume(tmp_path, "run", f"--data_dir={other}", "--max_steps=3") == 2
    assert "has the classes class 0" in capsys.readouterr().err
    assert stored(tmp_path / "run") == str(data)


def test_the_same_folder_may_be_written_otherwise(tmp_path, monkeypatch):
    data = photos(tmp_path / "data", range(12))
    assert train(tmp_path, "run", data) == 0
    (tmp_path / "run/examples.json").unlink()  # nothing needs comparing
    monkeypatch.chdir(tmp_path)
    assert resume(tmp_path, "run", "--data_dir=data/") == 0  # nothing is left to do
    assert stored(tmp_path / "run") == "data/"


def test_networks_that_are_finished_find_their_data_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(registry.HEADS, "first", registry.HEADS["fcn8s"])
    monkeypatch.setattr(registry, "STAGED", ("first", "fcn8s"))
    data = photos(tmp_path / "data", range(12))
    assert train(tmp_path, "run", data, "--staged") == 0
    moved = data.rename(tmp_path / "moved")
    assert resume(tmp_path, "run", f"--data_dir={moved}", "--max_steps=3") == 0
    assert "stage 2 of 2" in capsys.readouterr().out
    assert stored(tmp_path / "run") == stored(tmp_path / "run/first") == str(moved)
    assert resume(tmp_path, "run/first", mode="evaluate") == 0
