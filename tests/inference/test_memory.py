"""What labelling an image takes, counted by hand, and the tile size that is proposed."""

import keras
import pytest

from fcn_tf.errors import UserError
from fcn_tf.inference import memory
from fcn_tf.models import build


def test_estimate_by_hand():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, padding="same")(images)
    network = keras.Model(images, keras.layers.Conv2D(2, 3, padding="same")(x))
    largest_kernel = 3 * 3 * 3 * 8
    # Two outputs of 8 floats and the pixel; of the second convolution the 9 patches and its input and output.
    held, reserved = 2 * 8 * 4 + memory._INPUT, (9 * 8 + 8 + 2) * 4 + memory._INPUT
    labels = memory._LABELS
    estimate = memory.PredictionMemory(network)
    need = 100 * (held + labels) + 4 * largest_kernel, 100 * reserved + 4 * largest_kernel
    assert estimate.need(10, 10, tile=0) == need == estimate.need(10, 10, tile=16)
    in_tiles = 64 * held + 4 * largest_kernel + 100 * labels, 64 * reserved + 4 * largest_kernel
    assert estimate.need(10, 10, tile=8) == in_tiles
    # What is drawn is as large as the picture, however small the tiles.
    overlay = 10**6 * (memory._OVERLAY + labels)
    assert estimate.need(1000, 1000, tile=8) == (overlay, overlay)
    views = memory.PredictionMemory(network, scales=(0.5, 2))
    assert views.need(10, 10, tile=0)[0] == 100 * (4 * held + 3 * 2 * 4 + labels) + 4 * largest_kernel


def test_what_cannot_be_labelled_at_once_gets_a_tile_size_that_would_do():
    estimate = memory.PredictionMemory(build.build_model("fcn8s", num_classes=3, weights=None))
    held, reserved = estimate.need(1000, 2000, tile=0)
    for available in ((None, None), (held, reserved), (held, None)):
        estimate.require(1000, 2000, tile=0, available=available, name="x")
    for available, what in (
        ((held - 1, reserved), "takes about 0.4 GB, 0.4 GB are free"),
        ((held, reserved - 1), "reserves about 1.5 GB, 1.5 GB may be reserved"),
    ):
        with pytest.raises(UserError, match=f"^x: labelling 2000x1000 pixels at once {what}; add --slid") as caught:
            estimate.require(1000, 2000, tile=0, available=available, name="x")
        tile = int(caught.value.flags[0].partition("=")[2])
        assert 128 <= tile < 2000
        estimate.require(1000, 2000, tile=tile, available=available, name="x")
    with pytest.raises(UserError, match="in tiles of 512 .*; make it smaller"):
        estimate.require(1000, 2000, tile=512, available=(1, 1), name="x")
