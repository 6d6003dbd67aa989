"""The fused Adam against Keras' own, and the scaling of losses that float16 needs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.training.optimizers import FusedAdam, build_adam
from tests import processes


def variables():
    return [keras.Variable(np.full(shape, 0.5, np.float32), name=name) for name, shape in (("a", (3, 2)), ("b", (4,)))]


def gradients(step):
    """Of very different sizes, as those of a trunk and of biases are."""
    rng = np.random.default_rng(step)
    return [tf.constant(rng.normal(0, 1e-4, (3, 2)), tf.float32), tf.constant(rng.normal(0, 100, 4), tf.float32)]


def after(optimizers, steps=10):
    """Values after `steps` steps; one optimiser for each variable, or one for both."""
    both = variables()
    groups = [both] if len(optimizers) == 1 else [[variable] for variable in both]
    for step in range(steps):
        all_gradients = gradients(step)
        parts = [all_gradients] if len(optimizers) == 1 else [[gradient] for gradient in all_gradients]
        for optimizer, gradient, group in zip(optimizers, parts, groups, strict=True):
            optimizer.apply(gradient, group)
    return [variable.numpy() for variable in both]


@pytest.mark.parametrize("epsilon", [1e-8, 1e-3])
def test_fused_adam_is_adam(epsilon):
    got, want = after([FusedAdam(0.01, epsilon=epsilon)]), after([keras.optimizers.Adam(0.01, epsilon=epsilon)])
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
        assert np.abs(theirs - 0.5).max() > 1e-4


def test_the_first_step_by_hand():
    """m / sqrt(v) is the sign of the gradient at first, so each variable moves by the rate."""
    moved = after([FusedAdam(0.01)], steps=1)[1] - 0.5
    np.testing.assert_allclose(moved, -0.01 * np.sign(gradients(0)[1]), rtol=1e-3)


def test_factors_are_learning_rates_of_their_own():
    got = after([FusedAdam(0.01, factors={"a": 3.0, "of another model": 7.0})])
    want = after([keras.optimizers.Adam(0.03, epsilon=1e-8), keras.optimizers.Adam(0.01, epsilon=1e-8)])
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_it_goes_through_a_graph_and_through_its_config():
    optimizer = keras.optimizers.deserialize(
        keras.optimizers.serialize(FusedAdam(0.01, epsilon=1e-4, factors={"a": 2.0}))
    )
    both = variables()
    optimizer.build(both)

    @tf.function
    def step(*parts):
        optimizer.apply(list(parts), both)

    for number in range(10):
        step(*gradients(number))
    for mine, theirs in zip(both, after([FusedAdam(0.01, epsilon=1e-4, factors={"a": 2.0})]), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-6)


def test_build_adam_is_upstreams_adam():
    optimizer = build_adam(1e-4, factors={"a": 10.0})
    assert (optimizer.epsilon, optimizer.beta_1, optimizer.beta_2) == (1e-8, 0.9, 0.999)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)
    assert float(build_adam(1e-4, scale_loss=True).learning_rate) == pytest.approx(1e-4)


def test_losses_are_scaled_and_steps_with_infinite_gradients_left_out():
    optimizer = build_adam(0.01, scale_loss=True)
    both = variables()
    optimizer.build(both)
    scale = float(optimizer.scale_loss(1.0))
    assert scale > 1000
    optimizer.apply([gradient * scale for gradient in gradients(0)], both)
    for mine, theirs in zip(both, after([FusedAdam(0.01)], steps=1), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-6)
    before = [variable.numpy() for variable in both]
    optimizer.apply([gradients(1)[0] * np.inf, gradients(1)[1]], both)
    for variable, kept in zip(both, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), kept)
    assert float(optimizer.scale_loss(1.0)) == scale / 2


@pytest.mark.parametrize("name", ["fused Adam", "scaled", "SGD", "AdamW"])
def test_two_replicas_step_as_one_device_with_any_optimiser(name):
    difference, change = processes.two_devices()["optimizers"][name]
    assert change > 1e-3 and difference < 1e-3 * change


def test_two_replicas_scale_losses_and_leave_out_a_step_that_overflowed_on_one():
    assert processes.two_devices()["overflow_difference"] < 1e-6


def test_a_float16_network_learns():
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, dtype="mixed_float16")])
    images, target = np.ones((1, 4, 4, 3), np.float32), 1e-6  # gradients that float16 alone would lose
    optimizer = build_adam(0.01, scale_loss=True)
    before = model.get_weights()
    with tf.GradientTape() as tape:
        loss = optimizer.scale_loss(tf.reduce_sum(tf.cast(model(images), tf.float32)) * target)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    for now, then in zip(model.get_weights(), before, strict=True):
        assert now.dtype == np.float32
        assert (now < then - 0.005).all()
