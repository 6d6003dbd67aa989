"""Segmenter on what --mode=export wrote: the same answers, class names and colours as on the run."""

import importlib.util
import json
import os

import numpy as np
import pytest

import fcn_tf
from fcn_tf import export, registry
from fcn_tf.errors import UserError
from fcn_tf.formats.base import Source
from fcn_tf.inference import exported
from fcn_tf.models import segmentation
from tests import tiny_run

COLORS = ((9, 8, 7), (20, 30, 40), (50, 60, 70))
NAMES = ("red", "green", "blue")


def write(folder, name, **about):
    """Exports `color_model`; returns the folder. `about` goes into its classes.json."""
    entry = registry.resolve(registry.EXPORTS[name])
    for module, dist in entry.packages.items():
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {dist}")
    model = segmentation.segmentation_model(tiny_run.color_model(), NAMES)
    metadata = export._metadata({"class_names": NAMES, "colors": COLORS}, "uint8", "float32")
    folder.mkdir()
    entry.write(Source(model, metadata), str(folder), "float32")
    (folder / "classes.json").write_text(json.dumps(metadata | about))
    return folder


@pytest.mark.parametrize("name", [name for name in registry.EXPORTS if name != "web"])
def test_an_export_labels_as_the_run_does(name, tmp_path):
    folder = write(tmp_path / "export", name)
    file = registry.resolve(registry.EXPORTS[name]).file
    run = fcn_tf.Segmenter(tiny_run.color_model(), class_names=NAMES, colors=COLORS)
    picture = np.random.default_rng(0).integers(0, 256, (17, 23, 3)).astype(np.uint8)
    for source in (folder, folder / file):
        segmenter = fcn_tf.Segmenter.from_run(source)
        assert (segmenter.class_names, segmenter.colors) == (NAMES, COLORS)
        found, wanted = segmenter(picture), run(picture)
        np.testing.assert_array_equal(found.labels, wanted.labels)
        np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-6)
        np.testing.assert_array_equal(found.overlay(), wanted.overlay())
        assert found.labels.dtype == np.uint8 and found.areas() == wanted.areas()
        assert segmenter(picture, confidence=False).confidence is None
        two = segmenter([picture, picture[::-1]])
        np.testing.assert_array_equal(two[1].labels, wanted.labels[::-1])


def test_pictures_beyond_a_size_and_sliding_windows_go_in_tiles(tmp_path, monkeypatch):
    folder = write(tmp_path / "export", "savedmodel")
    picture = tiny_run.paint(np.arange(40 * 50).reshape(40, 50) % 3)
    whole = fcn_tf.Segmenter.from_run(folder)(picture)
    monkeypatch.setattr(exported, "LARGEST_TILE", 32)
    for options in ({}, {"sliding_window": 32}):
        found = fcn_tf.Segmenter.from_run(folder, **options)(picture)
        assert found.tile == 32 and whole.tile == 0
        np.testing.assert_array_equal(found.labels, whole.labels)


def test_what_an_export_does_not_give_is_refused(tmp_path):
    folder = write(tmp_path / "export", "savedmodel")
    for options in ({"tta": True}, {"precision": "bfloat16"}):
        with pytest.raises(UserError, match="is an export, .* leave them out, or give the run"):
            fcn_tf.Segmenter.from_run(folder, **options)
    with pytest.raises(UserError, match="gives labels and their confidence only"):
        fcn_tf.Segmenter.from_run(folder)(tiny_run.paint([[0]]), probabilities=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"?"), "cannot be loaded .*--format=savedmodel"),
        (lambda folder: (folder / "saved_model.pb").unlink(), "has no model; expected one of saved_model.pb"),
        (lambda folder: (folder / "classes.json").write_text('{"classes": [1]}'), "does not list the classes"),
        (lambda folder: (folder / "classes.json").write_text("{"), "does not list the classes"),
    ],
)
def test_a_damaged_export_is_a_user_error(damage, message, tmp_path):
    folder = write(tmp_path / "export", "savedmodel")
    damage(folder)
    with pytest.raises(UserError, match=message):
        fcn_tf.Segmenter.from_run(folder)


def test_a_runtime_that_is_not_installed_is_named(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "classes.json").write_text('{"classes": [{"name": "a", "color": [0, 0, 0]}]}')
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match="needs onnxruntime, which is not installed: pip install onnxruntime"):
        fcn_tf.Segmenter.from_run(os.path.join(tmp_path, "model.onnx"))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        *(("longest_side", value, "0 or a number of pixels") for value in ("96", True, 0.5, 10**22, -1, None)),
        *(("bytes_per_pixel", value, "a positive number") for value in ("96", True, 0, 10**22, -1.0, None)),
    ],
)
def test_a_number_that_is_none_is_one_line(tmp_path, key, value, expected):
    folder = write(tmp_path / "export", "savedmodel", **{key: value})
    with pytest.raises(UserError, match=f"classes.json says {key} is .*, expected {expected}"):
        exported.find(str(folder))


def test_an_export_that_resizes_makes_pictures_smaller_where_memory_is_short(tmp_path):
    export = exported.find(str(write(tmp_path / "export", "savedmodel", longest_side=64, bytes_per_pixel=100.0)))
    memory = exported.ExportMemory(export)
    need, _ = memory.need(3000, 4000, tile=0)
    scores = registry.resolve(registry.EXPORTS["savedmodel"]).memory.scores * (4 * 3 + exported._BESIDE)
    assert memory.bytes_per_pixel == scores > 100 * 1.05
    assert need == pytest.approx(3000 * 4000 * (4 + 24 + 3 * 16) + 48 * 64 * scores, abs=1)
    assert memory.need(16, 32, tile=0)[0] == pytest.approx(16 * 32 * (4 + 24 + 3 * 16) + 32 * 64 * scores, abs=1)
    assert memory.tile_for(3000, 4000, tile=0, available=(need, None), name="x") == 0
    assert 64 < memory.tile_for(3000, 4000, tile=0, available=(need // 2, None), name="x") < 4000
    assert memory.fits(300, 400, tile=0, available=(None, None), count=8)


def test_an_export_is_asked_for_memory_before_it_takes_any(tmp_path):
    export = exported.find(str(write(tmp_path / "export", "savedmodel", bytes_per_pixel=1000)))
    memory = exported.ExportMemory(export)
    network, _ = registry.resolve(registry.EXPORTS["savedmodel"]).memory
    assert memory.bytes_per_pixel == pytest.approx(1000 * network)
    need, _ = memory.need(1000, 1000, tile=0)
    assert need == pytest.approx(10**6 * (1000 * network + 4), rel=1e-6)
    options = {"kept": 0, "name": "x"}
    assert memory.tile_for(1000, 1000, tile=0, available=(need, None), **options) == 0
    tile = memory.tile_for(1000, 1000, tile=0, available=(need - 1, None), **options)
    assert tile == 768 and memory.need(1000, 1000, tile=tile)[0] < 0.75 * need  # the largest that leaves a quarter free
    with pytest.raises(
        UserError, match=r"^x: labelling 1000x1000 pixels in tiles of 900 takes .*--sliding_window=768\.$"
    ):
        memory.tile_for(1000, 1000, tile=900, available=(int(0.8 * need), None), **options)
    # However much there is: what runtimes do with larger pictures was not tried.
    assert memory.tile_for(3000, 1000, tile=0, available=(None, None), **options) == 2048


def test_an_older_export_counts_as_the_largest_network(tmp_path):
    export = exported.find(str(write(tmp_path / "export", "savedmodel")))
    assert export.bytes_per_pixel == exported._BYTES_PER_PIXEL
