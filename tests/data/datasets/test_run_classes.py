"""What the classes of a run are called: the same in every mode, whoever reads the data set."""

import csv
import dataclasses
import json

import numpy as np
import pytest

import main
from fcn_tf.data import datasets
from fcn_tf.data.base import DatasetSpec
from fcn_tf.data.datasets import run_classes
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import per_image
from tests import tiny_run, tiny_training
from tests.prepared import write

NUMBERS, NAMES = ("0", "1", "2"), ("sky", "road", "car")
COLORS = ((9, 0, 0), (0, 9, 0), (0, 0, 9))


def photos(root, numbers=range(6)):
    for number in numbers:
        image, label = tiny_training.scene(number)
        write(root / "images" / f"{number}.png", image)
        write(root / "masks" / f"{number}.png", label)
    return root


@pytest.fixture
def data(tmp_path):
    return photos(tmp_path / "data")


@pytest.fixture
def run(tmp_path, data):
    """A run that was trained on it while its classes had no names."""
    spec = DatasetSpec("folder", NUMBERS, COLORS)
    return tiny_run.write_run(tmp_path / "run", spec, flags={"dataset": "folder", "data_dir": str(data)})


def do(run, mode, *flags):
    return main.main(["main.py", f"--mode={mode}", f"--logs_dir={run.logs_dir}", *flags])


def names(run):
    config = run.read_config()
    assert config["colors"] == [list(color) for color in COLORS]  # whatever becomes of the names
    return tuple(config["class_names"])


def scored(run):
    return tuple(row["name"] for row in json.loads(files.read_bytes(f"{run.evaluation}/metrics.json"))["per_class"])


@pytest.mark.parametrize("mode", ["evaluate", "visualize", "export"])
def test_names_given_later_are_those_of_every_mode(mode, run, data, tmp_path, capsys):
    assert do(run, "evaluate", "--split=all") == 0
    hint = f"write {data}/classes.txt: one name a line, class 0 first; the next evaluation gives these names to the run"
    assert hint in capsys.readouterr().out and names(run) == scored(run) == NUMBERS
    (data / "classes.txt").write_text("\n".join(NAMES))
    assert do(run, mode, "--split=all", *(["--format=keras"] if mode == "export" else [])) == 0
    said = capsys.readouterr().out
    assert said.count(f"the run in {run.logs_dir} calls its classes sky, road, car from now on, not by numbers\n") == 1
    assert names(run) == NAMES and "note: the data set has other names" not in said
    if mode == "export":
        assert [each["name"] for each in exported(run)] == list(NAMES)
    assert do(run, "predict", f"--input={data}/images/1.png", f"--output_dir={tmp_path}/out") == 0
    rows = list(csv.DictReader((tmp_path / "out/areas.csv").read_text().splitlines()))
    assert {row["class"] for row in rows} == set(NAMES)
    (data / "classes.txt").unlink()
    capsys.readouterr()
    assert do(run, "evaluate", "--split=all") == 0
    said = capsys.readouterr().out
    assert scored(run) == names(run) == NAMES and "classes.txt" not in said and "from now on" not in said


def exported(run):
    return json.loads(files.read_bytes(f"{run.export}/keras/classes.json"))["classes"]


def test_names_that_a_run_has_stay(run, data, capsys):
    run.write_config({**run.read_config(), "class_names": list(NAMES)})
    (data / "classes.txt").write_text("heaven\nroad\ncar\n")
    assert do(run, "evaluate", "--split=all") == 0
    said = capsys.readouterr().out
    assert "note: the data set has other names for the classes (heaven, road, car) than the run, which keeps" in said
    assert scored(run) == names(run) == NAMES


def test_another_data_set_names_nothing_in_the_run(run, tmp_path):
    other = photos(tmp_path / "other")
    (other / "classes.txt").write_text("\n".join(NAMES))
    assert do(run, "evaluate", "--split=train", f"--data_dir={other}") == 0
    assert names(run) == NUMBERS and scored(run) == NAMES
    (other / "classes.txt").unlink()
    run.write_config({**run.read_config(), "class_names": list(NAMES)})
    assert do(run, "evaluate", "--split=train", f"--data_dir={other}") == 0
    assert scored(run) == NAMES  # the model's, where the data set has none


def test_other_numbers_of_classes_are_left_alone(run):
    spec = DatasetSpec("folder", ("a", "b"), COLORS[:2])
    dataset = tiny_run.dataset([], spec=spec)
    assert run_classes.in_run(dataset, run.read_config(), "auto", own=True) is dataset
    run_classes.store(run, ("a", "b"), claimed=True)
    run_classes.store(Run(f"{run.logs_dir}/none"), ("a", "b"), claimed=True)
    assert names(run) == NUMBERS


def test_the_colours_of_the_run_stay_when_it_gets_names(run, data):
    (data / "classes.csv").write_text("sky,1,2,3\nroad,4,5,6\ncar,7,8,9\n")
    options = {"num_classes": 3, "ignore_label": "none", "mask_values": "0-2"}
    dataset = datasets.load("folder", str(data), "all", **options)
    spec = run_classes.settle(run, dataset, name="folder", data_dir=str(data), palette="auto").spec
    assert (spec.class_names, spec.colors) == (NAMES, COLORS) and names(run) == NAMES


def test_a_config_that_cannot_be_written_costs_nothing(run, monkeypatch, capsys):
    def fails(path, data):
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr(files, "write_bytes", fails)
    run_classes.store(run, NAMES, claimed=True)
    assert names(run) == NUMBERS and capsys.readouterr().out == ""


def test_a_training_that_goes_on_takes_names_over_once(tmp_path, data, capsys):
    weights = tiny_training.write_weights(str(tmp_path))
    command = ["main.py", f"--logs_dir={tmp_path}/run", f"--weights={weights}", "--dataset=folder"]
    command += [f"--data_dir={data}", "--image_size=32", "--batch_size=2", "--save_every=1"]
    run = Run(f"{tmp_path}/run")
    assert main.main([*command, "--max_steps=1"]) == 0
    colors = run.read_config()["colors"]
    (data / "classes.txt").write_text("\n".join(NAMES))
    assert main.main([*command, "--max_steps=1"]) == 0  # nothing to do but this
    assert run.read_config()["class_names"] == list(NAMES)
    (data / "classes.txt").write_text("a\nb\nc\n")
    capsys.readouterr()
    assert main.main([*command, "--max_steps=2"]) == 0
    assert capsys.readouterr().out.count("note: the data set has other names") == 1
    assert run.read_config()["class_names"] == list(NAMES) and run.read_config()["colors"] == colors


def test_what_was_scored_by_numbers_is_compared_with_what_has_names(tmp_path):
    dataset = tiny_run.dataset([([[0, 1]], [[0, 1]])])
    by_number = dataclasses.replace(dataset, spec=dataclasses.replace(dataset.spec, class_names=NUMBERS))
    counts, run = np.ones((1, 3, 3), np.int64), Run(str(tmp_path))
    files.write_bytes(f"{run.evaluation}/{per_image.FILE}", per_image.pack(by_number, counts))
    np.testing.assert_array_equal(per_image.read_pixel_counts(run, dataset), counts)


def test_a_run_that_is_trained_meanwhile_is_named_later(run, capsys):
    with run.claimed():
        run_classes.store(run, NAMES, claimed=False)
    assert names(run) == NUMBERS and capsys.readouterr().out == ""
    run_classes.store(run, NAMES, claimed=False)
    assert names(run) == NAMES and "calls its classes sky, road, car from now on" in capsys.readouterr().out
