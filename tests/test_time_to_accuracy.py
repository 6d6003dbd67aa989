"""benchmarks/time_to_accuracy.py and its contenders: they learn the same, score right, and go on where they stopped."""

import importlib
import json
import types

import numpy as np
import pytest

from benchmarks import learner_fcn, time_to_accuracy, turns
from benchmarks.learner import Learner
from fcn_tf.errors import UserError
from fcn_tf.models import pretrained
from tests import tiny_training


class Constant(Learner):
    """Predicts one class more of the photos' rows right with each step."""

    def _step(self, images, labels, number):
        return float(images.mean() + labels.mean())

    def _predict(self, images):
        found = np.zeros(images.shape[:3], int)
        found[:, : 8 * self.done] = 1
        return found

    def _state(self):
        return [np.array(self.done)]

    def _restore(self, state):
        assert len(state) == 1


@pytest.fixture
def folder(tmp_path):
    """Batches of four steps; of the truth all is class 1 but an ignored row."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (8, 32, 32, 3), np.uint8))
    np.save(tmp_path / "labels.npy", rng.integers(0, 2, (8, 32, 32), np.uint8))
    np.save(tmp_path / "photos.npy", np.zeros((2, 40, 48, 3), np.uint8))
    truth = np.ones((2, 40, 48), np.uint8)
    truth[:, 0] = 255
    np.save(tmp_path / "truth.npy", truth)
    return tmp_path


def test_scores_are_those_of_the_labelled_pixels(folder):
    learner = Constant(folder=str(folder), num_classes=2, batch_size=2)
    assert learner.score() == 0
    assert learner.train(2) >= 0
    # 15 of 39 labelled rows are class 1; class 0 is predicted, and nowhere true.
    assert learner.score() == pytest.approx(15 / 39 / 2)


def test_a_score_is_interpolated_between_two_turns():
    curve = [[25, 100.0, 0.2], [50, 220.0, 0.6], [75, 300.0, 0.5]]
    assert time_to_accuracy.reached(curve, 0.5) == (pytest.approx(43.75), pytest.approx(190.0))
    assert time_to_accuracy.reached(curve, 0.1) == (pytest.approx(12.5), pytest.approx(50.0))
    assert time_to_accuracy.reached(curve, 0.7) is None


class Worker:
    """As `turns.Worker`, in this process; ends after `turns_left` calls of "train"."""

    turns_left = 99

    def __init__(self, target, *, python, folder, batch_size, num_classes, **options):
        if "PyTorch" in options or target.endswith("UNetLearner"):
            self._learner = None
        else:
            self._learner = Constant(folder=folder, num_classes=num_classes, batch_size=batch_size)

    def call(self, name, **arguments):
        if self._learner is None:
            raise turns.WorkerError("ModuleNotFoundError", "No module named 'segmentation_models'")
        if name == "train":
            type(self).turns_left -= 1
            if type(self).turns_left < 0:
                raise KeyboardInterrupt
        return getattr(self._learner, name)(**arguments)

    def close(self):
        pass


def test_it_goes_on_where_it_stopped(folder, monkeypatch, capsys):
    monkeypatch.setattr(turns, "Worker", Worker)
    monkeypatch.setattr(time_to_accuracy, "_write_batches", lambda args, folder: 2)
    flags = [f"--logs_dir={folder}", f"--json={folder}/out.json", "--archs=fcn8s", "--max_steps=4", "--every=1"]
    flags += ["--batch_size=2", "--target=0.4", "--peers=U-Net of segmentation-models"]
    monkeypatch.setattr(Worker, "turns_left", 2)
    with pytest.raises(KeyboardInterrupt):
        time_to_accuracy.main(flags)
    # Killed between the two files: the curve is a step ahead.
    curve = json.loads((folder / "fcn8s.json").read_text())
    assert [step for step, _, _ in curve] == [1, 2]
    (folder / "fcn8s.json").write_text(json.dumps([*curve, [3, 99.0, 0.3]]))
    monkeypatch.setattr(Worker, "turns_left", 99)
    time_to_accuracy.main(flags)
    found = json.loads((folder / "out.json").read_text())
    scores = [score for _, _, score in found["curves"]["fcn8s"]]
    assert scores == pytest.approx([7 / 39 / 2, 15 / 39 / 2, 23 / 39 / 2, 31 / 39 / 2])
    ours, *peers = found["rows"]
    assert ours["value"] is None and ours["note"].startswith("0.397 at most in 4 steps")
    assert {peer["note"] for peer in peers} == {"ModuleNotFoundError: No module named 'segmentation_models'"}
    assert [peer["what"].partition(", training")[0] for peer in peers] == [
        "U-Net of segmentation-models, 1e-4", "U-Net of segmentation-models, 1e-3"
    ]  # fmt: skip
    capsys.readouterr()
    time_to_accuracy.main(flags[:-2] + ["--target=0.2", "--peers="])  # nothing is trained for it
    assert json.loads((folder / "out.json").read_text())["rows"][0]["note"] == "2 steps"
    assert "step" not in capsys.readouterr().out.replace("2 steps", "")


def test_what_it_is_asked_must_be_there(folder, monkeypatch):
    monkeypatch.setattr(time_to_accuracy, "_write_batches", lambda args, folder: 2)
    with pytest.raises(UserError, match="--peers names 'caffe'; expected some of FCN-8s in PyTorch, U-Net"):
        time_to_accuracy.main([f"--logs_dir={folder}", "--peers=caffe"])


def test_batches_of_another_command_are_not_mixed_up(folder):
    args = types.SimpleNamespace(max_steps=4, batch_size=2, image_size=32, photos=2)
    (folder / "batches.json").write_text('{"steps": 9, "num_classes": 2}')
    with pytest.raises(UserError, match="holds batches of {'steps': 9}, expected {'steps': 4"):
        time_to_accuracy._write_batches(args, str(folder))


def test_more_steps_begin_with_the_batches_of_fewer(tmp_path, monkeypatch):
    class Batches:
        """As the worker that writes them, in this process."""

        def __init__(self, target, **options):
            self._batches = learner_fcn.Batches(**options)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def call(self, name, **arguments):
            return getattr(self._batches, name)(**arguments)

    monkeypatch.setattr(turns, "Worker", Batches)
    data_dir = tiny_training.write_camvid(tmp_path / "data", train=3, validation=1)
    args = types.SimpleNamespace(max_steps=2, batch_size=2, image_size=32, photos=2, data_dir=data_dir)
    folder = tmp_path / "logs"
    assert time_to_accuracy._write_batches(args, str(folder)) == 11
    few = {name: np.load(folder / f"{name}.npy") for name in ("images", "labels", "photos", "truth")}
    args.max_steps = 5
    time_to_accuracy._write_batches(args, str(folder))
    more = {name: np.load(folder / f"{name}.npy") for name in few}
    assert len(few["images"]) == 4 and len(more["images"]) == 10
    for name, array in few.items():
        np.testing.assert_array_equal(more[name][: len(array)], array)
    args.max_steps = 2  # which are there
    time_to_accuracy._write_batches(args, str(folder))
    assert len(np.load(folder / "images.npy")) == 10


@pytest.mark.parametrize("where", ["benchmarks.learner_fcn:Fcn", "benchmarks.peer_torch:TorchLearner"])
def test_a_network_learns_and_resumes(where, folder, tmp_path):
    """Labels that are no class weigh nothing; the dropout masks of PyTorch are no part of what is resumed."""
    module, name = where.split(":")
    if "torch" in module:
        torch = pytest.importorskip("torch", reason="PyTorch is no dependency; this contender is left out without it")
    labels = np.load(folder / "labels.npy")
    labels[:, :9] = 255
    np.save(folder / "labels.npy", labels)
    options = {"folder": str(folder), "num_classes": 2, "batch_size": 2, "weights": pretrained.find("tiny", "")}

    def learner():
        return getattr(importlib.import_module(module), name)(
            **options, **({} if "torch" in module else {"arch": "fcn8s"})
        )

    first, second = learner(), learner()
    first.train(2)
    first.save(str(tmp_path / "state.npz"))
    assert second.load(str(tmp_path / "state.npz")) == 2
    before = [array.copy() for array in second._state()]
    for one in (first, second):
        if "torch" in module:
            torch.manual_seed(1)
        one.train(1)
    for mine, theirs in zip(first._state(), second._state(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert any(np.abs(now - old).max() > 1e-5 for now, old in zip(second._state(), before, strict=True))
    assert first.score() == second.score()
