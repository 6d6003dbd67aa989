"""evaluate and visualize ask for memory: counted by hand, and what they propose instead."""

import keras
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator, tiles
from fcn_tf.inference.memory import PredictionMemory
from fcn_tf.inference.scoring_memory import ScoringMemory
from fcn_tf.inference.views import InferenceOptions
from fcn_tf.io import system
from fcn_tf.models import build
from tests import tiny_run

PIXELS = 1000 * 1500


@pytest.fixture
def model():
    images = keras.Input((None, None, 3))
    return keras.Model(images, keras.layers.Conv2D(2, 3, padding="same")(images))


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes that may be held and reserved."""

    def put(held, reserved=None):
        monkeypatch.setattr(system, "memory_left", lambda: held)
        monkeypatch.setattr(system, "reservable", lambda: reserved)

    return put


@pytest.mark.parametrize(
    ("options", "scored"), [(InferenceOptions(), 100), (InferenceOptions(tta=True), 100 + 2 * 4 * 2)]
)
def test_scores_come_on_top_and_each_image_counts(model, options, scored):
    scales = options.scales if options.tta else ()
    held, reserved = PredictionMemory(model, scales=scales).need(1000, 1500, tile=256, count=3)
    need = ScoringMemory(model, options).need(3, 1000, 1500, tile=256)
    assert need == (held + 3 * PIXELS * scored, reserved + 3 * PIXELS * scored)


def test_what_does_not_fit_is_told_with_the_flag_that_makes_it_fit(model, free):
    memory = ScoringMemory(model, InferenceOptions())
    one, three = (memory.need(count, 1000, 1500, tile=0)[0] for count in (1, 3))
    for held, reserved in ((three, None), (None, None), (None, 10**12)):
        free(held, reserved)
        memory.require("x", (3, 1000, 1500, 3))
    free(three - 1)
    with pytest.raises(
        UserError, match=r"^x: labelling and scoring 3 images of 1500x1000 pixels .*; add --batch_size=2\.$"
    ):
        memory.require("x", (3, 1000, 1500, 3))
    free(one - 1)
    with pytest.raises(
        UserError, match=r"^x: labelling and scoring 1500x1000 .*; add --sliding_window=\d+\.$"
    ) as caught:
        memory.require("x", (1, 1000, 1500, 3))
    tile = int(str(caught.value).rpartition("=")[2].rstrip("."))
    ScoringMemory(model, InferenceOptions(tile=tile)).require("x", (1, 1000, 1500, 3))
    free(None, 10)
    with pytest.raises(UserError, match="let the program have more memory"):
        memory.require("x", (1, 1000, 1500, 3))


def test_a_gpus_memory_is_not_known(model, free, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    free(1)
    ScoringMemory(model, InferenceOptions()).require("x", (1, 1000, 1500, 3))


def test_it_is_asked_before_a_batch_and_told_when_it_runs_out_all_the_same(free, monkeypatch):
    data = tiny_run.dataset([([[0, 1]], [[0, 1]])] * 3)
    free(1)
    with pytest.raises(UserError, match="^image0: labelling and scoring 2 images of 2x1 pixels takes about 0.0 GB"):
        evaluator.evaluate_dataset(tiny_run.color_model(), data, batch_size=2)
    free(None)
    assert evaluator.evaluate_dataset(tiny_run.color_model(), data).images == 3

    def runs_out(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(evaluator.Evaluator, "_batch", runs_out)
    with pytest.raises(
        UserError, match="^image0: there is not enough memory to label and score 2x1 pixels; add --slid"
    ):
        evaluator.evaluate_dataset(tiny_run.color_model(), data)


def test_of_a_model_that_resizes_a_band_is_scored_at_once():
    """151 classes of 12 million pixels are 7 GB of logits, of which 16 MB are there at a time."""
    model = build.build_model("light", num_classes=151, weights=None, longest_side=512)
    labelled = PredictionMemory(model)
    pixels, band = 3000 * 4000, labelled.scored_at_once(3000, 4000)
    assert band * 4 * 151 <= tiles._BAND
    held, reserved = labelled.need(3000, 4000, tile=0)
    scored = band * 100 + (pixels - band) * 20
    assert ScoringMemory(model, InferenceOptions()).need(1, 3000, 4000, tile=0) == (held + scored, reserved + scored)
    assert held + scored < 10**9
    # Of several images a band has as many pixels, not each of them as many.
    held, _ = labelled.need(3000, 4000, tile=0, count=4)
    bands = 4 * labelled.scored_at_once(3000, 4000, 4)
    assert 4 * 151 * bands <= tiles._BAND and held < 4 * labelled.need(3000, 4000, tile=0)[0]
    need, _ = ScoringMemory(model, InferenceOptions()).need(4, 3000, 4000, tile=0)
    assert need == held + bands * 100 + (4 * pixels - bands) * 20


def test_no_tiles_are_proposed_to_a_model_that_resizes(free):
    model = build.build_model("light", num_classes=2, weights=None, longest_side=64)
    free(10**7)
    memory = ScoringMemory(model, InferenceOptions())
    with pytest.raises(UserError, match=r"GB are free; let the program have more memory\.$"):
        memory.require("x", (1, 1000, 1500, 3))
    assert str(memory.exhausted()) == (
        "x: there is not enough memory to label and score 1500x1000 pixels; make it smaller."
    )
