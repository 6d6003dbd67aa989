"""Two replicas train as one device does; what tests/two_devices.py measured, once for all tests here."""

import json

import pytest

from tests import processes


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_devices")
    output, _ = (process := processes.start("-m", "tests.two_devices", str(folder))).communicate(timeout=1800)
    assert process.returncode == 0, output
    return json.loads((folder / "results.json").read_text())


def test_two_replicas_learn_as_one_device_does(results):
    """With ignored pixels spread unevenly over them, and no dropout."""
    assert results["replicas"] == 2 and len(results["losses"]) == 6
    assert max(results["losses"]) - min(results["losses"]) > 0.01, "something was learned"
    assert results["losses"] == pytest.approx(results["single_losses"], abs=1e-5)
    assert results["weights_difference"] < 1e-4
    for row, single in zip(results["rows"], results["single_rows"], strict=True):
        for name in ("step", "epoch", "train_loss", "val_loss", "val_pixel_accuracy", "val_mean_iou"):
            assert row[name] == pytest.approx(single[name], abs=1e-3)


def test_the_norms_of_gradients_are_those_of_the_whole_batch(results):
    single, both = results["norms"]
    assert len(both) == 12 and min(both[1:]) > 0  # score layers start at zero, so nothing reaches VGG at first
    assert both == pytest.approx(single, rel=1e-3)


def test_a_run_of_one_device_continues_on_two(results):
    assert results["resumed_losses"] == pytest.approx(results["losses"][3:], abs=1e-5)
    assert results["resumed_difference"] < 1e-4


def test_replicas_in_parts_that_are_computed_twice_learn_as_one_device_does(results):
    assert results["lean_losses"] == pytest.approx(results["single_losses"], abs=1e-5)
    assert results["lean_difference"] < 1e-4


def test_two_replicas_learn_as_one_device_in_bfloat16(results):
    one, two = results["bfloat16_losses"]
    assert two == pytest.approx(one, rel=0.02) and one[-1] < 0.95 * one[0]


def test_replicas_drop_different_activations(results):
    assert results["masks_differ"]


def test_histograms_work_on_two_replicas(results):
    assert {"gradients/conv6/kernel", "sparsity/relu6"} <= set(results["tags"])


def test_two_replicas_average_as_one_device_and_go_on_from_it(results):
    average = results["average"]
    assert average["change"] > 1e-3, "the average is not the weights"
    assert average["difference"] < 1e-4 and average["resumed_difference"] < 1e-4


@pytest.mark.parametrize("name", ["fused Adam", "scaled", "SGD", "scaled SGD", "AdamW"])
def test_two_replicas_step_as_one_device_with_any_optimiser(results, name):
    difference, change = results["optimizers"][name]
    assert change > 1e-3 and difference <= 1e-6 * change


def test_two_replicas_scale_losses_and_leave_out_a_step_that_overflowed_on_one(results):
    assert results["overflow_difference"] < 1e-6


def test_replicas_normalise_by_the_whole_batch(results):
    """Whose halves have other means and variances; in parts each replica has its own, and both end with their mean."""
    normed = results["batch_norm"]
    differences = {p: share for p, share in normed["differences"].items() if "/kernel" in p or "/moving_" in p}
    assert len(differences) == 8 + 6 + 2 * (8 + 2) and max(differences.values()) < 1e-3
    assert normed["in_parts"]["bn1_1/moving_mean"] > 1
