"""Sums over training steps: added up on the device, divided once."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.training.running_metrics import NonFiniteLoss, RunningMetrics, StepSums, Sums
from tests import tiny_training

# Truth 0: 3 right, 1 taken for 1; truth 1: 2 taken for 0, 4 right; 5 pixels ignored.
CELLS = np.array([3, 1, 0, 2, 4, 0, 0, 0, 0, 5, 0])


def test_metrics_divide_once():
    metrics = RunningMetrics(tiny_training.SPEC)
    assert math.isnan(metrics.loss) and metrics.images_per_second == 0
    assert all(map(math.isnan, metrics.scores().values()))
    metrics.add(Sums(2.0, 1, CELLS), seconds=0.5, images=4)
    metrics.add(Sums(7.0, 2, CELLS), seconds=1.5, images=4)
    assert metrics.images_per_second == 4
    scores = {
        "loss": 3, "pixel_accuracy": 0.7, "mean_accuracy": (3 / 4 + 4 / 6) / 2, "mean_iou": (3 / 6 + 4 / 7) / 2,
        "frequency_weighted_iou": (4 * 3 / 6 + 6 * 4 / 7) / 10,
    }  # fmt: skip
    assert metrics.scores() == pytest.approx(scores)


def test_metrics_go_on_where_others_were_saved():
    spec = tiny_training.SPEC
    empty = RunningMetrics(spec, RunningMetrics(spec).state())
    assert all(map(math.isnan, empty.scores().values())) and empty.images_per_second == 0
    saved, whole = RunningMetrics(spec), RunningMetrics(spec)
    for metrics in (saved, whole):
        metrics.add(Sums(0.1, 1, CELLS), seconds=0.5, images=4)
    resumed = RunningMetrics(spec, json.loads(json.dumps(saved.state())))
    for metrics in (resumed, whole):
        metrics.add(Sums(0.2, 1, CELLS), seconds=0.7, images=4)
    assert resumed.scores() == whole.scores() and resumed.images_per_second == whole.images_per_second


def test_steps_are_summed_and_taken_once():
    sums = StepSums(tiny_training.SPEC)
    for step, loss in ((1, 0.25), (2, 0.5)):
        sums.add(step, tf.constant(loss), tf.constant(CELLS, tf.int64))
    losses, steps, cells = sums.take()
    assert (losses, steps, cells.tolist()) == (0.75, 2, (2 * CELLS).tolist()) and sums.steps == 0
    sums.add(3, tf.constant(1.0), tf.constant(CELLS, tf.int64))
    assert sums.take()[:2] == (1.0, 1)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_the_first_step_that_is_not_finite_is_named_however_late_it_is_read(loss):
    sums = StepSums(tiny_training.SPEC)
    for step, value in ((7, 1.0), (8, loss), (9, 1.0), (10, math.nan)):
        sums.add(step, tf.constant(value), tf.constant(CELLS, tf.int64))
    with pytest.raises(NonFiniteLoss, match=f"the loss of step 8 is {loss}"):
        sums.take()
