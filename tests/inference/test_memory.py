"""What labelling an image takes, counted by hand, and the tile size that is proposed."""

import keras
import pytest

from fcn_tf.errors import UserError
from fcn_tf.inference import fitting, memory, tiles
from fcn_tf.io import system
from fcn_tf.models import build


def test_estimate_by_hand():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, padding="same")(images)
    network = keras.Model(images, keras.layers.Conv2D(2, 3, padding="same")(x))
    largest_kernel = 3 * 3 * 3 * 8
    # Two outputs of 8 floats and the pixel; of the second convolution the 9 patches and its input and output.
    held, reserved = 2 * 8 * 4 + memory._INPUT, (9 * 8 + 8 + 2) * 4 + memory._INPUT
    labels = fitting.LABELS
    estimate = memory.PredictionMemory(network)
    need = 100 * (held + labels) + 4 * largest_kernel, 100 * reserved + 4 * largest_kernel
    assert estimate.need(10, 10, tile=0) == need == estimate.need(10, 10, tile=16)
    in_tiles = 64 * held + 4 * largest_kernel + 100 * labels, 64 * reserved + 4 * largest_kernel
    assert estimate.need(10, 10, tile=8) == in_tiles
    # What is drawn is as large as the picture, however small the tiles.
    overlay = 10**6 * (fitting.DRAWN + labels)
    assert estimate.need(1000, 1000, tile=8) == (overlay, overlay)
    views = memory.PredictionMemory(network, scales=(0.5, 2))
    assert views.need(10, 10, tile=0)[0] == 100 * (4 * held + 3 * 2 * 4 + labels) + 4 * largest_kernel


def test_what_cannot_be_labelled_at_once_is_labelled_in_tiles_that_fit():
    estimate = memory.PredictionMemory(build.build_model("fcn8s", num_classes=3, weights=None))
    held, reserved = estimate.need(1000, 2000, tile=0)
    for available in ((None, None), (held, reserved), (held, None)):
        assert estimate.fits(1000, 2000, tile=0, available=available)
        assert estimate.tile_for(1000, 2000, tile=0, available=available, name="x") == 0
    for available in ((held - 1, reserved), (held, reserved - 1)):
        assert not estimate.fits(1000, 2000, tile=0, available=available)
        tile = estimate.tile_for(1000, 2000, tile=0, available=available, name="x")
        assert 128 <= tile < 2000 and tile % 128 == 0
        assert estimate.fits(1000, 2000, tile=tile, available=available)
        assert estimate.tile_for(1000, 2000, tile=tile, available=available, name="x") == tile
    held, reserved = estimate.need(1000, 2000, tile=1000)
    for available, what in (
        ((held - 1, reserved), "takes about 0.2 GB, 0.2 GB are free"),
        ((held, reserved - 1), "reserves about 0.8 GB, 0.8 GB may be reserved"),
    ):
        pattern = f"^x: labelling 2000x1000 pixels in tiles of 1000 {what}; add --slid"
        with pytest.raises(UserError, match=pattern) as caught:
            estimate.tile_for(1000, 2000, tile=1000, available=available, name="x")
        tile = int(caught.value.flags[0].partition("=")[2])
        assert 128 <= tile < 1000 and estimate.fits(1000, 2000, tile=tile, available=available)
    for tile, how in ((0, "even in small tiles"), (512, "in tiles of 512")):
        with pytest.raises(UserError, match=f"{how} .*; make it smaller"):
            estimate.tile_for(1000, 2000, tile=tile, available=(1, 1), name="x")


def test_what_a_runtime_holds_on_to_is_free_for_the_next_image(monkeypatch):
    estimate = memory.PredictionMemory(build.build_model("fcn8s", num_classes=3, weights=None))
    held = 10**9
    monkeypatch.setattr(system, "memory_left", lambda: 10**9)
    monkeypatch.setattr(system, "memory_held", lambda: held)
    assert estimate.available()[0] == 10**9
    estimate.tile_for(1000, 1000, tile=0, available=(None, None), name="x")
    taken = int(estimate.run(1000, 1000, tile=0, kept=0, count=1)[0])
    estimate.ran()
    assert estimate.available()[0] == 10**9  # nothing was held on to
    estimate.tile_for(1000, 1000, tile=0, available=(None, None), name="x")
    held += taken // 2
    estimate.ran()
    held += 10 * taken  # by others, later
    assert estimate.available()[0] == 10**9 + taken // 2
    estimate.tile_for(1000, 1000, tile=0, available=(None, None), name="x")
    held += 2 * taken  # more than it can be
    estimate.ran()
    assert estimate.available()[0] == 10**9 + taken
    estimate.tile_for(100, 100, tile=0, available=(None, None), name="x")
    estimate.ran()
    assert estimate.available()[0] == 10**9 + taken


def test_results_that_are_kept_take_memory():
    estimate = memory.PredictionMemory(build.build_model("fcn8s", num_classes=3, weights=None))
    (less, _), (more, _) = (estimate.need(1000, 1000, tile=256, kept=kept) for kept in (0, 100))
    assert more >= less + 100 * 10**6
    assert 0 < estimate.tile_for(20_000, 20_000, tile=0, available=(12 * 10**9, None), name="x") <= fitting.LARGEST_TILE


def test_a_model_that_resizes_takes_the_memory_of_its_own_size():
    plain, fitted = (
        memory.PredictionMemory(build.build_model("fcn8s", num_classes=3, weights=None, longest_side=side))
        for side in (0, 256)
    )
    (small, _), (large, _) = fitted.need(600, 800, tile=0), fitted.need(1200, 1600, tile=0)
    network, _ = plain.need(192, 256, tile=0)
    assert network < small < large < plain.need(1200, 1600, tile=0)[0]
    # Three times as many pixels more: as float32, and their labels; weights of rows; and the logits of a whole band.
    weights = memory._WEIGHTS * (600 * 192 + 800 * 256)
    band = tiles._BAND // (1600 * 4 * 3) * 1600
    assert fitted.scored_at_once(1200, 1600) == band < 1200 * 1600
    assert fitted.scored_at_once(600, 800) == 600 * 800 and plain.scored_at_once(1200, 1600) == 1200 * 1600
    logits = memory._RESIZED * 4 * 3 * (band - 600 * 800)
    assert large - small == pytest.approx(3 * 600 * 800 * (memory._FLOATS + fitting.LABELS) + weights + logits)
    thin, _ = fitted.need(1, 10**6, tile=0)
    assert (
        thin > memory._WEIGHTS * 256 * 16_384 and thin < memory._WEIGHTS * 256 * 10**6
    )  # not before it is made smaller
    assert 2 * small < fitted.need(600, 800, tile=0, count=4)[0] < 4 * small  # which share a band


def test_views_of_a_model_that_resizes_are_held_at_the_size_it_sees():
    model = build.build_model("fcn8s", num_classes=151, weights=None, longest_side=256)
    scales = (0.5, 1.0)
    plain, views = (memory.PredictionMemory(model, scales=each).need(600, 800, tile=0)[0] for each in ((), scales))
    band = memory.PredictionMemory(model).scored_at_once(600, 800)
    logits = 4 * 151 * 192 * 256
    assert views - plain == pytest.approx(2 * (0.5**2 + 1) * logits + 3 * 4 * 151 * band)


def test_what_cannot_be_resized_at_once_is_made_smaller_first():
    estimate = memory.PredictionMemory(build.build_model("fcn8s", num_classes=3, weights=None, longest_side=256))
    there = 6 * 10**7, None
    assert estimate.tile_for(400, 400, tile=0, available=there, name="x") == 0
    side = estimate.tile_for(4, 16_000, tile=0, available=there, name="x")  # weights of many columns
    assert 256 < side < 16_000 and estimate.fits(4, 16_000, tile=side, available=there)
    with pytest.raises(UserError, match="x: labelling 4000x3000 pixels even made smaller takes .*; make it smaller"):
        estimate.tile_for(3000, 4000, tile=0, available=(10**7, None), name="x")
