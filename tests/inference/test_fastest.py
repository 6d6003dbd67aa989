"""--inference_precision: bfloat16 by itself where the processor multiplies it, and only where the labels stay."""

import keras
import numpy as np
import pytest

from fcn_tf import predict
from fcn_tf.inference import fastest
from fcn_tf.inference.evaluator import Predictor
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.inference.views import InferenceOptions
from fcn_tf.io import images, system
from fcn_tf.models import build
from tests import tiny_run

PLAIN = InferenceOptions()


@pytest.fixture
def multiplies(monkeypatch):
    """A processor that multiplies bfloat16."""
    monkeypatch.setattr(system, "has_instructions", lambda dtype: True)


def close_model():
    """Tells apart what bfloat16 rounds to the same: red wins by 1/1000."""
    pictures = keras.Input((None, None, 3))
    model = keras.Model(pictures, keras.layers.Conv2D(3, 1, name="pick")(pictures))
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 0] = (1.001, 1.0, 0.0)
    kernel[0, 0, 1] = (1.0, 1.001, 0.0)
    model.get_layer("pick").set_weights([kernel, np.zeros(3)])
    return model


def noise(side=16):
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3)).astype(np.uint8)


def test_bfloat16_is_taken_where_it_says_the_same(multiplies):
    said: list[str] = []
    model = tiny_run.color_model()
    predictor = fastest.predictor(model, PLAIN, dtype="auto", say=said.append)
    found = predictor.predict(tiny_run.paint([[0, 1, 2]])[None], confidence=True)
    assert found.labels.tolist() == [[[0, 1, 2]]] and predictor.num_classes == 3
    predictor.predict(noise())  # nothing is compared again
    (line,) = said
    assert line == (
        "computing in bfloat16, which is faster on this processor: 100.00 % of the first picture's pixels get the same "
        "label as in float32"
    )
    assert model.get_layer("pick").compute_dtype == "float32"
    np.testing.assert_array_equal(model.get_layer("pick").kernel, tiny_run.color_model().get_layer("pick").kernel)


def test_float32_stays_where_labels_would_change(multiplies):
    said: list[str] = []
    predictor = fastest.predictor(close_model(), PLAIN, dtype="auto", say=said.append)
    np.testing.assert_array_equal(predictor.predict(noise()).labels, Predictor(close_model()).labels(noise()))
    (line,) = said
    assert line.startswith("computing in float32: in bfloat16 only ") and line.endswith("expected 99.5 %")


def watched(monkeypatch):
    """A list of (pictures, tile) of each time that predictors label."""
    seen, original = [], Predictor.predict

    def predict(self, images, **options):
        seen.append((images, options.get("tile")))
        return original(self, images, **options)

    monkeypatch.setattr(Predictor, "predict", predict)
    return seen


def test_of_a_large_picture_the_middle_is_compared(multiplies, monkeypatch):
    monkeypatch.setattr(fastest, "_COMPARED", 4)
    seen = watched(monkeypatch)
    fastest.predictor(tiny_run.color_model(), PLAIN, dtype="auto", say=print).predict(noise(9))
    assert [(part.shape, tile) for part, tile in seen] == [((1, 4, 4, 3), None)] * 2 + [((1, 9, 9, 3), None)]
    np.testing.assert_array_equal(seen[0][0], noise(9)[:, 2:6, 2:6])


def test_a_model_that_resizes_is_compared_on_the_whole_made_smaller(multiplies, monkeypatch):
    monkeypatch.setattr(fastest, "_COMPARED", 40)
    seen = watched(monkeypatch)
    model = build.build_model("light", num_classes=3, longest_side=32)
    fastest.predictor(model, PLAIN, dtype="auto", say=print).predict(noise(60))
    assert [(part.shape, tile) for part, tile in seen] == [((1, 60, 60, 3), 40)] * 2 + [((1, 60, 60, 3), None)]


def test_nothing_is_compared_on_other_processors_nor_where_a_type_is_named(monkeypatch):
    monkeypatch.setattr(system, "has_instructions", lambda dtype: False)
    for dtype in ("auto", "", "float32", "bfloat16"):
        assert isinstance(fastest.predictor(tiny_run.color_model(), PLAIN, dtype=dtype, say=print), Predictor)


def test_a_named_type_is_what_is_computed_in():
    exact = fastest.predictor(close_model(), PLAIN, dtype="float32", say=print).predict(noise()).labels
    narrow = fastest.predictor(close_model(), PLAIN, dtype="bfloat16", say=print).predict(noise()).labels
    assert (exact != narrow).mean() > 0.1
    again = fastest.precision.in_precision(close_model(), "bfloat16")
    assert again.get_layer("pick").compute_dtype == "bfloat16"
    back = fastest.predictor(again, PLAIN, dtype="float32", say=print).predict(noise()).labels
    np.testing.assert_array_equal(back, exact)


def test_predict_says_what_it_computes_in_once_a_run(multiplies, tmp_path, capsys):
    tiny_run.write_run(tmp_path / "logs")
    for name in "ab":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{name}.png").write_bytes(images.encode_png(tiny_run.paint([[0, 1]])))
    places = {"input": str(tmp_path / "in"), "output_dir": str(tmp_path / "out")}
    assert predict.run(tiny_run.config("predict", tmp_path / "logs", **places)) == 0
    assert capsys.readouterr().out.count("computing in bfloat16") == 1
    # Results of another precision are other results.
    exact = tiny_run.config("predict", tmp_path / "logs", inference_precision="float32", **places)
    assert predict.run(exact) == 0
    out = capsys.readouterr().out
    assert "computing in" not in out and "done already" not in out


def test_in_python_the_type_of_the_training_is_the_default(multiplies, tmp_path):
    tiny_run.write_run(tmp_path)
    assert isinstance(Segmenter.from_run(tmp_path)._predictor, Predictor)
    said: list[str] = []
    fast = Segmenter.from_run(tmp_path, precision="auto", say=said.append)
    assert fast(tiny_run.paint([[2]])).labels.tolist() == [[2]] and len(said) == 1
