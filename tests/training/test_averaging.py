"""The moving average of the weights: its numbers, what it shares, and how it is saved."""

import types

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.inference import checkpoint
from fcn_tf.io.run_dir import Run
from fcn_tf.models import build
from fcn_tf.training.averaging import AverageWeights
from fcn_tf.training.checkpoints import Checkpoints
from fcn_tf.training.hooks import Stopwatch
from tests import tiny_training


def model():
    """A frozen convolution, batch normalisation, and a score layer."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 1, name="frozen", trainable=False)(images)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(images, keras.layers.Conv2D(2, 1, name="score")(x))


def after(hook, step):
    """Calls the hook as the loop does after `step`."""
    hook.after_step(types.SimpleNamespace(step=step, clock=Stopwatch()))


def test_the_average_by_hand():
    network = model()
    bias = network.get_layer("score").bias
    bias.assign([1.0, 2.0])
    average = AverageWeights(network, 0.2, strategy=tf.distribute.get_strategy())
    mine = average.model.get_layer("score").bias
    np.testing.assert_array_equal(mine.numpy(), [1.0, 2.0])
    expected = np.array([1.0, 2.0])
    # min(0.2, (1 + n) / (10 + n)): the decay grows until it is what was asked for.
    for step, decay in ((1, 1 / 10), (2, 2 / 11), (3, 0.2), (4, 0.2)):
        bias.assign([3.0 * step, -1.0 * step])
        after(average, step)
        expected = decay * expected + (1 - decay) * np.array([3.0 * step, -1.0 * step])
        np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(bias.numpy(), [12.0, -4.0])


def test_moving_statistics_are_averaged_and_what_is_frozen_is_shared():
    network = model()
    average = AverageWeights(network, 0.999, strategy=tf.distribute.get_strategy())
    norm, score = (average.model.get_layer(name) for name in ("norm", "score"))
    assert {id(each) for each in average.variables} == {id(each) for each in (*norm.weights, *score.weights)}
    assert average.model.get_layer("frozen") is network.get_layer("frozen")
    network.get_layer("norm").moving_variance.assign([3.0, 5.0])
    after(average, 1)
    np.testing.assert_allclose(norm.moving_variance.numpy(), [0.1 + 0.9 * 3.0, 0.1 + 0.9 * 5.0], rtol=1e-6)


def test_before_the_first_validation_the_average_is_the_model(tmp_path):
    weights = tiny_training.write_weights(tmp_path)
    run = Run(str(tmp_path / "run"))
    flags = {"arch": "fcn8s", "weights": weights, "model_dir": "", "dropout": 0.0, "precision": "float32"}
    run.write_config({"flags": flags, "num_classes": 3})
    network = build.build_network("fcn8s", num_classes=3, weights=weights)
    network.freeze(["conv1"])
    average = AverageWeights(network.model, 0.9, strategy=tf.distribute.get_strategy())
    for variable in network.model.trainable_variables:
        variable.assign(variable + 1.0)
    after(average, 1)
    Checkpoints(run.checkpoints, network.model.variables, averages=average.variables).save(1)
    loaded = checkpoint.load_newest(run)
    for ours, theirs in zip(loaded.weights, average.model.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert np.any(loaded.get_layer("conv2_1").get_weights()[0] != network.model.get_layer("conv2_1").get_weights()[0])
