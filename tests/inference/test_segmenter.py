"""Segmenter: pictures of any kind and size in, labels, confidence and files out; runs, files, threads, memory."""

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn_tf
from fcn_tf.errors import UserError
from fcn_tf.inference import segmentation, segmenter
from fcn_tf.io import images
from tests import tiny_run
from tests.conftest import ROOT

CLASSES = np.array([[0, 1, 2], [2, 2, 1]])


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    tiny_run.write_run(folder)
    return folder


@pytest.fixture(scope="module")
def label(logs):
    return fcn_tf.Segmenter.from_run(logs)


def test_array_image_and_path_are_labelled_alike(label, tmp_path):
    picture = tiny_run.paint(CLASSES)
    (tmp_path / "a.png").write_bytes(images.encode_png(picture))
    for source in (picture, Image.fromarray(picture), tmp_path / "a.png", str(tmp_path / "a.png")):
        found = label(source)
        assert isinstance(found, fcn_tf.Segmentation)
        np.testing.assert_array_equal(found.labels, CLASSES)
        np.testing.assert_array_equal(found.image, picture)
        # Logits are 1 for the class seen and 0 for the two others.
        np.testing.assert_allclose(found.confidence, np.full(CLASSES.shape, np.e / (np.e + 2)), rtol=1e-6)
        assert found.labels.dtype == np.uint8 and found.confidence.dtype == np.float32
        assert found.class_names == ("red", "green", "blue") and found.colors == tiny_run.COLORS
        assert found.probabilities is None and found.tile == 0


def test_probabilities_are_those_of_all_classes(label):
    found = label(tiny_run.paint([[0, 1]]), probabilities=True)
    sure, other = np.e / (np.e + 2), 1 / (np.e + 2)
    np.testing.assert_allclose(found.probabilities, [[[sure, other, other], [other, sure, other]]], atol=1e-3)
    assert found.probabilities.dtype == np.float16
    np.testing.assert_allclose(found.confidence, [[sure, sure]], rtol=1e-6)
    assert label(tiny_run.paint([[0]]), confidence=False).confidence is None


def test_results_by_hand(label, tmp_path):
    found = label(tiny_run.paint(CLASSES), probabilities=True)
    assert found.areas() == {"red": (1, 1 / 6), "green": (2, 1 / 3), "blue": (3, 1 / 2)}
    np.testing.assert_array_equal(found.overlay(opacity=1.0), tiny_run.paint(CLASSES))
    assert found.overlay().shape == (2, 3, 3)
    legend = found.legend()
    tops = [np.nonzero((legend == color).all(-1))[1].min() for color in tiny_run.COLORS]
    assert tops == sorted(tops)  # in the order of class ids
    paths = found.save(str(tmp_path / "new/a"), outputs=("labels", "overlay", "confidence", "probabilities"))
    assert sorted(os.listdir(tmp_path / "new")) == sorted(map(os.path.basename, paths))
    read = {os.path.basename(path)[1:]: path for path in paths}
    with open(read["_label.png"], "rb") as file:
        np.testing.assert_array_equal(images.decode_label(file.read(), name="a"), CLASSES)
    with open(read["_confidence.png"], "rb") as file:
        assert set(images.decode_label(file.read(), name="a").ravel()) == {round(255 * np.e / (np.e + 2))}
    with np.load(read["_probabilities.npz"]) as saved:
        np.testing.assert_array_equal(saved["probabilities"], found.probabilities)
        assert saved["class_names"].tolist() == ["red", "green", "blue"]
    assert found._repr_png_().startswith(b"\x89PNG")
    assert found.save(str(tmp_path / "b"), outputs="labels,overlay") == [
        f"{tmp_path}/b_label.png",
        f"{tmp_path}/b_overlay.png",
    ]
    with pytest.raises(ValueError, match="opacity must be from 0 to 1, got 9"):
        found.overlay(opacity=9)


def test_outputs_that_were_not_asked_for_are_refused_before_anything_is_written(label, tmp_path):
    found = label(tiny_run.paint([[0]]))
    for name, message in (("probabilities", "call the Segmenter with probabilities=True"), ("areas", "no picture has")):
        with pytest.raises(ValueError, match=message):
            found.save(str(tmp_path / "a"), outputs=("labels", name))
    assert not os.listdir(tmp_path)


def test_drawing_in_bands_changes_nothing(label, monkeypatch):
    found = label(tiny_run.paint(np.arange(7 * 5).reshape(7, 5) % 3))
    whole, areas = found.overlay(), found.areas()
    monkeypatch.setattr(segmentation, "_BAND", 11)
    np.testing.assert_array_equal(found.overlay(), whole)
    assert found.areas() == areas


def test_neighbours_of_one_size_go_through_the_model_together(label, monkeypatch):
    seen = []
    predict = label._predictor.predict
    monkeypatch.setattr(label._predictor, "predict", lambda x, **how: (seen.append(len(x)), predict(x, **how))[1])
    shapes = [(2, 3)] * 10 + [(4, 1), (2, 3)]
    wanted = [np.full(shape, i % 3) for i, shape in enumerate(shapes)]
    found = label([tiny_run.paint(each) for each in wanted])
    assert seen == [8, 2, 1, 1]
    for result, each in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(result.labels, each)
    assert label([]) == [] and len(label((tiny_run.paint([[1]]),))) == 1
    with pytest.raises(UserError, match=r"picture 1 of the list has shape \(3,\)"):
        label([tiny_run.paint([[1]]), np.zeros(3)])


def test_threads_share_one(label):
    pictures = [np.random.default_rng(seed).integers(0, 3, (3 + seed % 4, 5)) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda classes: label(tiny_run.paint(classes)), pictures))
    for result, classes in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(result.labels, classes)


def test_a_model_file_and_its_run_are_the_same(logs, tmp_path):
    picture = tiny_run.paint(CLASSES)
    beside = fcn_tf.Segmenter.from_run(logs / "model.keras")
    assert beside.class_names == ("red", "green", "blue")
    (tmp_path / "alone.keras").write_bytes((logs / "model.keras").read_bytes())
    alone = fcn_tf.Segmenter.from_run(tmp_path / "alone.keras", tta=True)
    assert alone.class_names == ("class 0", "class 1", "class 2") and len(set(alone.colors)) == 3
    for each in (beside, alone):
        np.testing.assert_array_equal(each(picture).labels[:, 0], CLASSES[:, 0])


@pytest.mark.parametrize(
    ("source", "message"),
    [("none", "is no run: no config.json"), ("none/a.keras", "a.keras does not exist"), ("", "is no run")],
)
def test_what_is_no_model_is_refused(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        fcn_tf.Segmenter.from_run(source)


def test_a_folder_of_exports_and_a_file_beside_a_model_are_told_with_what_to_give(tmp_path):
    for name in ("onnx", "tflite"):
        (tmp_path / "export" / name).mkdir(parents=True)
        (tmp_path / "export" / name / "classes.json").write_text("{}")
    with pytest.raises(UserError, match="export holds exports, expected one of them; give .*/onnx or .*/tflite.$"):
        fcn_tf.Segmenter.from_run(tmp_path / "export")
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="model.bin is a file, but no model; expected a run's folder"):
        fcn_tf.Segmenter.from_run(tmp_path / "model.bin")


def test_names_and_colours_must_match_the_model():
    with pytest.raises(UserError, match="tells 3 classes apart, got 2 class names and 3 colours"):
        fcn_tf.Segmenter(tiny_run.color_model(), class_names="ab", colors=tiny_run.COLORS)


def test_tiles_are_chosen_where_the_memory_does_not_suffice(logs, monkeypatch):
    fresh = fcn_tf.Segmenter.from_run(logs)
    classes = np.random.default_rng(0).integers(0, 3, (300, 400))
    monkeypatch.setattr(segmenter.system, "memory_left", lambda: 5_000_000)
    monkeypatch.setattr(segmenter, "_SMALL", 0)  # takes the lock
    found = fresh(tiny_run.paint(classes))
    assert 0 < found.tile < 400
    np.testing.assert_array_equal(found.labels, classes)
    assert [each.tile for each in fresh([tiny_run.paint(classes)] * 2)] == [found.tile] * 2
    monkeypatch.setattr(segmenter.system, "memory_left", lambda: 1000)
    with pytest.raises(UserError, match="^the picture: labelling 400x300 pixels even in small tiles takes about"):
        fresh(tiny_run.paint(classes))


def resizing_segmenter(side=40, **options):
    model = fcn_tf.build_model("light", num_classes=3, longest_side=side)
    scores = model.get_layer("score_conv3")
    scores.set_weights([np.random.default_rng(0).normal(0, 0.1, array.shape) for array in scores.get_weights()])
    return fcn_tf.Segmenter(model, class_names=("red", "green", "blue"), colors=tiny_run.COLORS, **options)


def test_pictures_of_any_size_go_through_a_model_that_resizes(monkeypatch):
    label = resizing_segmenter()
    assert label.longest_side == 40
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((90, 60), (90, 60), (1, 1), (20, 50))]
    together = label(pictures)
    for picture, found in zip(pictures, together, strict=True):
        alone = label(picture)
        assert found.labels.shape == picture.shape[:2] and found.tile == 0
        np.testing.assert_array_equal(found.labels, alone.labels)
    monkeypatch.setattr(segmenter.system, "memory_left", lambda: 15_000_000)
    large = tiny_run.paint(rng.integers(0, 3, (15, 20))).repeat(40, 0).repeat(40, 1)  # (600, 800)
    smaller = label(large)
    assert 0 < smaller.tile < 800 and smaller.tile % 128 == 0 and smaller.labels.shape == (600, 800)
    monkeypatch.undo()
    assert (label(large).labels == smaller.labels).mean() > 0.97
    with pytest.raises(UserError, match="brings all that it is given to 40 pixels .* got a sliding window of 64"):
        resizing_segmenter(sliding_window=64)


def test_tiles_get_smaller_where_memory_runs_out_all_the_same(logs, monkeypatch):
    import tensorflow as tf

    def fails(images, *, tile, **wanted):
        if tile == 0 or tile > 100:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return predict(images, tile=tile, **wanted)

    classes = np.random.default_rng(0).integers(0, 3, (40, 800))
    for window in (0, 256):
        fresh = fcn_tf.Segmenter.from_run(logs, sliding_window=window)
        predict = fresh._predictor.predict
        monkeypatch.setattr(fresh._predictor, "predict", fails)
        monkeypatch.setattr(segmenter, "_SMALLEST_TILE", 64)
        if window:
            with pytest.raises(UserError, match="in tiles of 256; give a smaller --sliding_window"):
                fresh(tiny_run.paint(classes))
        else:
            found = fresh(tiny_run.paint(classes))
            assert found.tile == 100
            np.testing.assert_array_equal(found.labels, classes)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 31)])
def test_networks_label_pictures_down_to_one_pixel(size):
    model = fcn_tf.build_model("fcn8s", num_classes=4, weights="tiny")
    label = fcn_tf.Segmenter(model, class_names="abcd", colors=((0, 0, 0),) * 4)
    found = label(np.zeros((*size, 3), np.uint8))
    assert found.labels.shape == found.confidence.shape == size


def test_a_missing_run_costs_no_tensorflow(tmp_path):
    program = (
        "import sys, fcn_tf\n"
        "try: fcn_tf.Segmenter.from_run('none')\n"
        "except fcn_tf.UserError as error: print(error, 'tensorflow' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("none is no run") and done.stdout.endswith(" False\n") and not done.stderr


def test_what_a_prompt_shows_is_short(logs):
    label = fcn_tf.Segmenter.from_run(logs)
    found = label(np.zeros((4, 6, 3), np.uint8))
    assert repr(found) == "<Segmentation of 6x4 pixels: 3 classes, red, green, blue>"
    assert repr(label).startswith("<Segmenter of ") and repr(label).endswith(": 3 classes, red, green, blue>")
    many = dataclasses.replace(found, class_names=tuple("abcde"))
    assert repr(many) == "<Segmentation of 6x4 pixels: 5 classes, a, b, c and 2 more>"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_not_a_model(kind):
    with pytest.raises(UserError, match=r"got a path; use Segmenter\.from_run\('logs/bag'\)\.$"):
        fcn_tf.Segmenter(kind("logs/bag"))


def test_a_model_without_names_and_colours_says_how_many_it_needs():
    with pytest.raises(UserError, match="tells 3 classes apart, got 0 class names and 0 colours; give as many of each"):
        fcn_tf.Segmenter(tiny_run.color_model())
