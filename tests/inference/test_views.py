"""Views and tiles: label each pixel once, and changes nothing where nothing can change."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator
from fcn_tf.inference import tiles as tiles_module
from fcn_tf.inference.tiles import bands, tiles
from fcn_tf.inference.views import InferenceOptions, scoring
from fcn_tf.models import resizing
from tests import tiny_run


def photos(batch=2, height=37, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3)).astype(np.uint8)


def neighbour_model():
    """Not flip-equivariant: every pixel gets the scores of the one to its left."""
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, (1, 3), padding="same", name="left")(images))
    kernel = np.zeros((1, 3, 3, 3), np.float32)
    kernel[0, 0] = np.eye(3)
    model.get_layer("left").set_weights([kernel, np.zeros(3)])
    return model


def scores(model, options, images):
    """Of whole images, in one part."""
    found, (_, height, width, _) = scoring(model, options), images.shape
    looked = found.look(images)
    assert len(looked) == found.looks
    return found.part(looked, tf.constant([0, 0, height, width]), tf.constant([height, width]))


@pytest.mark.parametrize("side", [0, 1, 5, 16, 37, 49, 500])
def test_tiles_label_every_pixel_once_and_see_what_they_label(side):
    times = np.zeros((37, 50), int)
    for tile in tiles(37, 50, side):
        times[tile.kept] += 1
        top, left, height, width = tile.inside
        seen, picture = np.zeros((37, 50), bool)[tile.seen], np.arange(37 * 50).reshape(37, 50)
        assert side == 0 or max(seen.shape) <= side
        np.testing.assert_array_equal(picture[tile.seen][top : top + height, left : left + width], picture[tile.kept])
    assert (times == 1).all()


def test_tiles_are_of_one_size_and_labels_lie_deep():
    found = list(tiles(100, 100, 32))
    assert {(w.seen[0].stop - w.seen[0].start, w.seen[1].stop - w.seen[1].start) for w in found} == {(32, 32)}
    for tile in found:
        for axis in (0, 1):
            seen, kept = tile.seen[axis], tile.kept[axis]
            assert kept.start == 0 or kept.start - seen.start >= 4
            assert kept.stop == 100 or seen.stop - kept.stop >= 4


def test_the_whole_picture_is_one_tile():
    (tile,) = tiles(37, 50, 0)
    assert tile.inside == (0, 0, 37, 50)


@pytest.mark.parametrize("side", [7, 32])
def test_tiles_of_a_1x1_model_equal_the_whole_picture(side):
    model, images = tiny_run.color_model(), photos()
    whole = evaluator.Predictor(model).labels(images)
    np.testing.assert_array_equal(evaluator.Predictor(model, InferenceOptions(tile=side)).labels(images), whole)
    np.testing.assert_array_equal(whole, images.argmax(-1))


def test_tiles_of_a_model_of_stride_32_equal_the_whole_picture():
    """They begin where its coarsest features do: the second of three at 128, and not halfway, at 112."""
    pictures = keras.Input((None, None, 3))
    model = keras.Model(pictures, keras.layers.UpSampling2D(32)(keras.layers.AveragePooling2D(32)(pictures)))
    images = photos(1, 480, 480)
    whole = evaluator.Predictor(model).labels(images)
    np.testing.assert_array_equal(evaluator.Predictor(model, InferenceOptions(tile=256)).labels(images), whole)


@pytest.mark.parametrize("length", [257, 480, 2301])
def test_tiles_begin_at_multiples_of_32_and_overlap(length):
    found = list(tiles(1, length, 256))
    for one, other in itertools.pairwise([tile.seen[1] for tile in found]):
        assert other.start % 32 == 0 and one.stop - other.start >= 32 and other.stop - other.start <= 256
    assert found[-1].seen[1].stop == length


@pytest.mark.parametrize("batch_size", [1, 2])
def test_tiles_of_a_1x1_model_measure_the_same(batch_size):
    pairs = [([[0, 1, 2] * 3] * 8, [[0, 1, 3] * 3] * 8), ([[1] * 9] * 8, [[0] * 9] * 8)]
    data, model, seen = tiny_run.dataset(pairs), tiny_run.color_model(), []
    plain = evaluator.evaluate_dataset(model, data)
    cut = evaluator.evaluate_dataset(
        model,
        data,
        options=InferenceOptions(tile=4),
        batch_size=batch_size,
        on_batch=lambda indices, images, labels, predictions, counts: seen.extend(predictions),
    )
    np.testing.assert_array_equal(cut.counts, plain.counts)
    np.testing.assert_allclose(cut.loss, plain.loss, rtol=1e-6)
    np.testing.assert_array_equal(seen, [pair[0] for pair in pairs])


def test_flips_of_a_flip_equivariant_model_change_nothing():
    model, images = tiny_run.color_model(), photos()
    flipped = InferenceOptions(tta=True, scales=(1.0,))
    np.testing.assert_array_equal(
        evaluator.Predictor(model, flipped).labels(images), evaluator.Predictor(model).labels(images)
    )
    logits = images * np.float32(1 / 255)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(scores(model, flipped, images), logs, atol=1e-5)


def test_flips_average_probabilities():
    images = photos(1, 1, 8)
    mixed = np.exp(scores(neighbour_model(), InferenceOptions(tta=True, scales=(1.0,)), images))
    values = np.pad(images.astype(np.float64), ((0, 0), (0, 0), (1, 1), (0, 0)))
    left, right = (np.exp(view - view.max(-1, keepdims=True)) for view in (values[:, :, :-2], values[:, :, 2:]))
    wanted = sum(view / view.sum(-1, keepdims=True) for view in (left, right)) / 2
    np.testing.assert_allclose(mixed, wanted, atol=1e-5)


def test_scales_of_a_flat_picture_change_nothing():
    model, images = tiny_run.color_model(), np.full((1, 13, 9, 3), (10, 200, 30), np.uint8)
    plain = scores(model, InferenceOptions(), images)
    many = scores(model, InferenceOptions(tta=True), images)
    np.testing.assert_allclose(np.exp(many), keras.ops.softmax(plain), atol=1e-5)
    assert many.shape == plain.shape


def resizing_model(side):
    """Brings pictures to this longer side; the scores of a pixel are its red, green and blue."""
    images = keras.Input((None, None, 3))
    small = resizing.FitLongestSide(side, name="fit")(images)
    scores = keras.layers.Rescaling(0.02)(small)
    return keras.Model(images, resizing.ResizeLike(name="resize")(scores, like=images))


def test_scales_of_a_model_that_resizes_are_other_sizes_of_its_own():
    images = photos(1, 40, 60)
    many = scores(resizing_model(30), InferenceOptions(tta=True, scales=(0.5, 1.0), flip=False), images)
    views = [scores(resizing_model(side), InferenceOptions(), images) for side in (15, 30)]
    wanted = sum(np.asarray(keras.ops.softmax(view)) for view in views) / 2
    np.testing.assert_allclose(np.exp(many), wanted, atol=1e-5)
    assert np.abs(np.exp(many) - keras.ops.softmax(views[1])).max() > 0.01


def test_a_model_that_resizes_takes_no_tiles():
    with pytest.raises(UserError, match="brings all that it is given to 30 pixels .* got a sliding window of 64"):
        scoring(resizing_model(30), InferenceOptions(tile=64))


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("options", [InferenceOptions(), InferenceOptions(tta=True)])
def test_bands_of_a_model_that_resizes_say_what_the_whole_says(rows, options, monkeypatch):
    model, images = resizing_model(30), photos(2, 40, 60)
    data = tiny_run.dataset([(image.argmax(-1), np.roll(image.argmax(-1), 3)) for image in images])

    def found():
        measured = evaluator.Evaluator(model, data.spec, options).run(data, batch_size=2)
        return evaluator.Predictor(model, options).predict(images, confidence=True, probabilities=True), measured

    whole, measured = found()
    monkeypatch.setattr(tiles_module, "_BAND", rows * 60 * 4 * 3 * 2)
    assert tiles_module.band_rows(40, 60, scores=4 * 3 * 2) == min(rows, 40)
    banded, again = found()
    np.testing.assert_array_equal(banded.labels, whole.labels)
    np.testing.assert_allclose(banded.confidence, whole.confidence, rtol=1e-6)  # exponentials of the last few differ
    np.testing.assert_allclose(banded.probabilities, whole.probabilities, atol=1e-3)
    np.testing.assert_array_equal(again.counts, measured.counts)
    assert again.loss == pytest.approx(measured.loss)
    assert 0 < measured.pixel_accuracy < 1


@pytest.mark.parametrize("side", [0, 16])
def test_bands_cut_what_a_tile_keeps(side):
    picture = np.arange(37 * 50).reshape(37, 50)
    for tile in tiles(37, 50, side):
        found = list(bands(tile, 5))
        np.testing.assert_array_equal(np.concatenate([picture[band.kept] for band in found]), picture[tile.kept])
        for band in found:
            top, left, height, width = band.inside
            assert height <= 5 and band.seen == tile.seen
            np.testing.assert_array_equal(
                picture[band.seen][top : top + height, left : left + width], picture[band.kept]
            )


def test_what_exceeds_the_memory_is_made_smaller_for_a_model_that_resizes():
    classes = np.repeat(np.arange(3), 20)[None].repeat(40, 0)  # (40, 60)
    predictor = evaluator.Predictor(resizing_model(30))
    images = tiny_run.paint(classes)[None]
    whole = predictor.predict(images, confidence=True, probabilities=True)
    found = predictor.predict(images, confidence=True, probabilities=True, tile=24)
    np.testing.assert_array_equal(whole.labels[0], classes)
    np.testing.assert_array_equal(found.labels[0][:, 2:-2], classes[:, 2:-2])
    for each, like in zip(found, whole, strict=True):
        assert each.shape == like.shape and each.dtype == like.dtype
    assert predictor.predict(images, tile=64).labels.shape == (1, 40, 60)  # it is no larger


def test_a_single_pixel_can_be_scaled():
    assert scores(tiny_run.color_model(), InferenceOptions(tta=True), photos(1, 1, 1)).shape == (1, 1, 1, 3)


def test_views_of_tiles_run_in_one_trace():
    predictor = evaluator.Predictor(tiny_run.color_model(), InferenceOptions(tta=True, tile=16))
    for size in ((20, 30), (16, 16), (5, 40)):
        assert predictor.labels(photos(1, *size)).shape == (1, *size)
    assert predictor._label.experimental_get_tracing_count() == 1
