"""Replicas train as one device does; what tests/several_devices.py measured, once a number of devices."""

import json
import math

import pytest

from tests import processes


def measured(folder, count):
    started = processes.start("-m", "tests.several_devices", str(folder), str(count))
    output, _ = started.communicate(timeout=1800)
    assert started.returncode == 0, output
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module", params=[2, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 4))])
def results(request, tmp_path_factory):
    """Of 2, 3 and 4 devices."""
    if request.param == 2:
        return request.getfixturevalue("of_two")
    found = measured(tmp_path_factory.mktemp("several"), request.param)
    assert found["replicas"] == request.param
    return found


def test_they_learn_as_one_device_does(results):
    """With batch normalisation, clipped gradients, ignored pixels spread unevenly over them, and no dropout."""
    assert results["replicas"] > 1 and len(results["losses"]) == 6
    assert max(results["losses"]) - min(results["losses"]) > 0.01, "something was learned"
    assert results["losses"] == pytest.approx(results["single_losses"], abs=1e-5)
    assert results["weights_difference"] < 1e-5


def test_they_validate_as_one_device_does(results):
    """On 5 pictures, which no number of them divides."""
    for row, single in zip(results["rows"], results["single_rows"], strict=True):
        for name in ("step", "epoch", "train_loss", "val_loss", "val_pixel_accuracy", "val_mean_iou"):
            assert row[name] == pytest.approx(single[name], abs=1e-5)


def test_the_norms_of_gradients_are_those_of_the_whole_batch(results):
    single, shared = results["norms"]
    assert len(shared) == 12 and min(shared) > 0
    assert shared == pytest.approx(single, rel=1e-4)
    assert all(math.hypot(*pair) > results["clip"] for pair in zip(shared[:6], shared[6:], strict=True)), (
        "clipping was at work"
    )


def test_they_average_as_one_device_does(results):
    assert results["average"]["change"] > 1e-3, "the average is not the weights"
    assert results["average"]["difference"] < 1e-5


def test_in_parts_that_are_computed_twice_they_learn_as_one_device_does(results):
    """Which computes the batch in one piece, and keeps what it computed; Adam."""
    assert max(results["plain_losses"]) - min(results["plain_losses"]) > 0.01
    assert results["lean_losses"] == pytest.approx(results["plain_losses"], abs=1e-5)
    assert results["lean_difference"] < 1e-4  # Adam divides by gradients however small


def test_they_learn_as_one_device_in_bfloat16(results):
    """Whose numbers have 8 bits: sums over halves are rounded otherwise than those over the whole."""
    one, several = results["bfloat16_losses"]
    assert several == pytest.approx(one, rel=0.005) and one[-1] < 0.95 * one[0]


def test_a_run_of_one_device_continues_on_two(of_two):
    assert of_two["resumed_losses"] == pytest.approx(of_two["losses"][3:], abs=1e-5)
    assert max(of_two["resumed_differences"]) < 1e-5, "moving averages, and weights"


def test_a_whole_network_normalises_by_the_whole_batch(of_two):
    """A VGG with batch normalisation, gradient checkpointing on two devices; every weight and moving statistic."""
    one, two = of_two["whole_losses"]
    assert two == pytest.approx(one, abs=1e-5) and of_two["whole_difference"] < 1e-5


def test_in_parts_each_replica_normalises_by_its_own_and_both_end_with_their_mean(of_two):
    assert of_two["in_parts"]["bn1_1/moving_variance"] != 1 and of_two["in_parts"]["bn1_1/moving_mean"] > 0


def test_replicas_drop_different_activations(of_two):
    assert of_two["masks_differ"]


def test_histograms_work_on_two_replicas(of_two):
    assert {"gradients/conv1_2/kernel", "sparsity/relu1_1"} <= set(of_two["tags"])


@pytest.mark.parametrize("name", ["fused Adam", "scaled", "SGD", "scaled SGD", "AdamW"])
def test_two_replicas_step_as_one_device_with_any_optimiser(of_two, name):
    difference, change = of_two["optimizers"][name]
    assert change > 1e-3 and difference <= 1e-6 * change


def test_two_replicas_scale_losses_and_leave_out_a_step_that_overflowed_on_one(of_two):
    assert of_two["overflow_difference"] < 1e-6
