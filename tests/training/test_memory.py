"""Predicted memory, on a model small enough to count by hand."""

import keras
import pytest

from fcn_tf.models import build
from fcn_tf.models.build import Network
from fcn_tf.training import memory
from fcn_tf.training.memory import Plan, activation_bytes, peak_bytes
from tests import tiny_training

# At 8x8, float32: the photo 768 bytes, conv1_1 and relu1_1 1024, pool1 256, conv8 and logits 128.
IMAGE, RELU, POOL, LOGITS = 8 * 8 * 3 * 4, 8 * 8 * 4 * 4, 4 * 4 * 4 * 4, 4 * 4 * 2 * 4
IN_FLIGHT = 3 * RELU
KERNEL = 3 * 3 * 3 * 4  # of conv1_1
PARAMETERS = KERNEL + 4 + 4 * 2 + 2


@pytest.fixture
def small():
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1_1")(images)
    x = keras.layers.ReLU(name="relu1_1")(x)
    x = keras.layers.MaxPooling2D(2, name="pool1")(x)
    x = keras.layers.Conv2D(2, 1, name="conv8")(x)
    return Network(keras.Model(images, x), {"conv1": ["conv1_1", "relu1_1", "pool1"]})


def test_activations_by_hand(small):
    assert activation_bytes(small, 8) == IMAGE + RELU + POOL + LOGITS + IN_FLIGHT
    assert activation_bytes(small, 16) == 4 * activation_bytes(small, 8)
    # Of a stage of one ReLU nothing is saved: it is there while it is computed again.
    assert activation_bytes(small, 8, recompute=True) == activation_bytes(small, 8)


def test_patches_are_counted():
    images = keras.Input((None, None, 3), name="images")

    def network(side):
        return Network(keras.Model(images, keras.layers.Conv2D(3, side, padding="same")(images)), {})

    # 49 pixels of 3 channels around each of 8 x 8, beside the result.
    assert activation_bytes(network(7), 8) == IMAGE + 8 * 8 * (3 + 49 * 3) * 4 + 3 * IMAGE
    # A patch of one pixel is the input.
    assert activation_bytes(network(1), 8) == IMAGE + 8 * 8 * 3 * 4 + 3 * IMAGE


def test_a_step_by_hand(small):
    process = memory._PROCESS
    one = activation_bytes(small, 8)
    assert peak_bytes(small, Plan(6, 8)) == process + 16 * PARAMETERS + 16 * KERNEL + 6 * one
    assert peak_bytes(small, Plan(6, 8, accumulate=3)) == process + 20 * PARAMETERS + 16 * KERNEL + 2 * one
    assert peak_bytes(small, Plan(6, 8, averaged=True)) == process + 20 * PARAMETERS + 16 * KERNEL + 6 * one
    small.model.get_layer("conv1_1").trainable = False
    # Four bytes of each number are left; the largest kernel that learns is conv8's; nobody asks for relu1_1 again.
    one -= RELU
    assert peak_bytes(small, Plan(6, 8)) == process + 16 * PARAMETERS - 12 * (KERNEL + 4) + 16 * 8 + 6 * one


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    weights = tiny_training.write_weights(str(tmp_path_factory.mktemp("weights")))
    return build.build_network("fcn8s", num_classes=3, weights=weights)


def test_half_the_bytes_a_number_half_the_activations(tmp_path, network):
    weights = tiny_training.write_weights(str(tmp_path))
    narrow = build.build_network("fcn8s", num_classes=3, weights=weights, dtype="bfloat16")
    # Photos, logits and what is subtracted from the photos stay float32.
    assert 0.5 < activation_bytes(narrow, 64) / activation_bytes(network, 64) < 0.7


def test_what_is_computed_again_is_not_kept(network):
    # VGG11 of 8 filters: all ReLUs of the trunk but that of the first stage, which is the largest to be made again.
    saved = 4 * 8 * (32**2 + 2 * 16**2 + 2 * 8**2 + 2 * 4**2)
    assert activation_bytes(network, 64, recompute=True) == activation_bytes(network, 64) - saved


def test_stages_that_do_not_learn_keep_nothing(tmp_path):
    network = build.build_network("fcn8s", num_classes=3, weights=tiny_training.write_weights(str(tmp_path)))
    everything = activation_bytes(network, 64)
    network.freeze(["conv1", "conv2"])
    # The photo before and after its mean is subtracted; relu1_1 and relu2_1. What pools give is the next stage's.
    assert everything - activation_bytes(network, 64) == 4 * (3 * 64**2 + 8 * 64**2 + 8 * 32**2)
    network.freeze(["conv3", "conv4", "conv5"])
    assert activation_bytes(network, 64, recompute=True) == activation_bytes(network, 64)
    assert "--freeze" not in memory.report(network, Plan(1, 32), 1)


def test_what_would_do_is_said(network):
    plan = Plan(8, 96)
    need = peak_bytes(network, plan)
    assert memory.report(network, plan, None) == f"memory: about {need / 1e9:.1f} GB at the peak of a step"
    assert memory.report(network, plan, need).endswith(" GB are available")
    for flags, smaller in (
        ("--accumulate=2", Plan(8, 96, accumulate=2)),
        ("--recompute", Plan(8, 96, recompute=True)),
        ("--batch_size=7", Plan(7, 96)),
        ("--image_size=64", Plan(8, 64)),
    ):
        there = peak_bytes(network, smaller)
        assert need > there and flags in memory.savings(network, plan, there)
    line = memory.report(network, plan, need - 1, replicas=2)
    assert (
        "exceeds the available memory; try --accumulate=2 or --recompute or --batch_size=14 or --image_size=64" in line
    )
    assert "\n" not in line


def test_what_cannot_be_changed_is_not_advised(network):
    plan, excluded = Plan(8, 96), ("batch_size", "image_size", "accumulate")
    need = peak_bytes(network, plan)
    assert memory.savings(network, plan, need - 1, excluded=excluded) == ["--recompute"]
    assert memory.savings(network, plan, 1) == []
    assert "--freeze=trunk" in memory.report(network, plan, 1)
    least = peak_bytes(network, Plan(8, 96, accumulate=8, recompute=True))
    assert memory.savings(network, plan, least, excluded=("batch_size", "image_size")) == ["--accumulate=8 --recompute"]


def test_rectangular_crops_count_their_pixels_and_shrink_in_their_aspect(small, network):
    assert activation_bytes(small, (4, 8)) * 2 == activation_bytes(small, 8)
    plan = Plan(4, (96, 128))
    assert "--image_size=64x96" in memory.savings(network, plan, peak_bytes(network, Plan(4, (64, 96))))
