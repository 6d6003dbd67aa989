"""The fused Adam against Keras' own, and the scaling of losses that float16 needs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.training.optimizers import FusedAdam, FusedSGD, build, clip_scale


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


@pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"momentum": 0.0}], ids=str)
def test_fused_sgd_is_sgd(options):
    options = {"momentum": 0.9} | options
    got = after([FusedSGD(0.1, factors={"of another model": 7.0}, **options)])
    want = after([keras.optimizers.SGD(0.1, **options)])
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)
        assert np.abs(theirs - 0.5).max() > 1e-6


@pytest.mark.parametrize("nesterov", [False, True])
def test_weight_decay_of_sgd_is_part_of_the_gradient(nesterov):
    """PyTorch's rule, written out: the decay goes through the momentum, at the rate of the variable."""
    optimizer = FusedSGD(0.001, momentum=0.9, nesterov=nesterov, weight_decay=0.5, factors={"a": 3.0})
    got = after([optimizer], steps=5)
    for index, rate in enumerate((0.003, 0.001)):
        value, velocity = variables()[index].numpy(), 0.0
        for step in range(5):
            gradient = gradients(step)[index].numpy() + 0.5 * value
            velocity = 0.9 * velocity + gradient
            value = value - rate * (gradient + 0.9 * velocity if nesterov else velocity)
        np.testing.assert_allclose(got[index], value, rtol=1e-5)
    assert np.abs(got[0] - 0.5).max() > 1e-3  # its gradients are next to nothing: it is the decay that moved it


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_kernels_decay(name):
    layers = [keras.layers.Conv2D(2, 1, name="conv"), keras.layers.BatchNormalization(name="bn")]
    for layer in layers:
        layer.build((None, 4, 4, 2))
    found = [variable for layer in layers for variable in layer.trainable_variables]
    for variable in found:
        variable.assign(keras.ops.ones(variable.shape))
    build(name, 0.1, weight_decay=0.5).apply([tf.zeros(variable.shape) for variable in found], found)
    moved = {variable.path: float(np.ptp(variable.numpy()) + abs(variable.numpy().max() - 1)) for variable in found}
    assert moved.pop("conv/kernel") == pytest.approx(0.05)
    assert moved == {"conv/bias": 0.0, "bn/gamma": 0.0, "bn/beta": 0.0}


def test_factors_of_sgd_are_learning_rates_of_their_own():
    got = after([FusedSGD(0.001, momentum=0.9, factors={"a": 3.0})])
    want = after([keras.optimizers.SGD(rate, momentum=0.9) for rate in (0.003, 0.001)])
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_the_scale_of_clipping_by_hand():
    assert float(clip_scale([tf.constant([3.0, 0.0]), tf.constant([[4.0]])], 1.0)) == pytest.approx(1 / 5)
    assert float(clip_scale([tf.constant([3.0]), tf.constant([4.0])], 6.0)) == 1.0
    assert float(clip_scale([tf.zeros(3)], 1.0)) == 1.0
    for wrong in (np.inf, np.nan, 1e38):  # the square of the last one is infinite
        assert np.isnan(clip_scale([tf.constant([1.0, wrong])], 1.0))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("scale_loss", [False, True])
def test_gradients_are_clipped_by_their_global_norm(name, scale_loss):
    """As by hand, also where losses are scaled; of the ten steps some are clipped, some are not."""
    options = {"weight_decay": 0.0 if name == "adam" else 0.1}
    clipped, plain = build(name, 0.01, clip_norm=150.0, scale_loss=scale_loss, **options), build(name, 0.01, **options)
    ours, theirs, norms = variables(), variables(), []
    clipped.build(ours)
    for step in range(10):
        scale = clipped.scale_loss(1.0) if scale_loss else 1.0
        clipped.apply([gradient * scale for gradient in gradients(step)], ours)
        by_hand, norm = tf.clip_by_global_norm(gradients(step), 150.0)
        plain.apply(by_hand, theirs)
        norms.append(float(norm))
    assert min(norms) < 150 < max(norms)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_biases_learn_at_a_rate_of_their_own(name):
    layer = keras.layers.Dense(2, kernel_initializer="zeros", name="layer")
    layer.build((None, 2))
    factors = {"layer/kernel": 3.0, "layer/bias": 3.0}
    build(name, 0.01, factors=factors, bias_rate=2.0).apply([tf.ones((2, 2)), tf.ones(2)], layer.trainable_variables)
    np.testing.assert_allclose(layer.kernel.numpy(), np.full((2, 2), -0.03), rtol=1e-4)
    np.testing.assert_allclose(layer.bias.numpy(), [-0.06, -0.06], rtol=1e-4)


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


def test_adam_is_upstreams_adam():
    optimizer = build("adam", 1e-4, factors={"a": 10.0})
    assert (optimizer.epsilon, optimizer.beta_1, optimizer.beta_2) == (1e-8, 0.9, 0.999)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)
    assert float(build("adam", 1e-4, scale_loss=True).learning_rate) == pytest.approx(1e-4)


def test_losses_are_scaled_and_steps_with_infinite_gradients_left_out():
    optimizer = build("adam", 0.01, scale_loss=True)
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


def test_a_float16_network_learns():
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, dtype="mixed_float16")])
    images, target = np.ones((1, 4, 4, 3), np.float32), 1e-6  # gradients that float16 alone would lose
    optimizer = build("adam", 0.01, scale_loss=True)
    before = model.get_weights()
    with tf.GradientTape() as tape:
        loss = optimizer.scale_loss(tf.reduce_sum(tf.cast(model(images), tf.float32)) * target)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    for now, then in zip(model.get_weights(), before, strict=True):
        assert now.dtype == np.float32
        assert (now < then - 0.005).all()
