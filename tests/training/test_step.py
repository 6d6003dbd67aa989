"""One training step: what is computed for it, and what it comes to."""

import collections
import functools
import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.models import build, mixed_precision
from fcn_tf.training import losses, optimizers
from fcn_tf.training.step import TrainingStep
from tests import matfiles, tiny_training


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_training.write_weights(str(tmp_path_factory.mktemp("weights")))


def batch():
    """uint8 (4, 32, 32, 3) and int32 (4, 32, 32), with 0, 5, 10 and 15 of 32 rows ignored."""
    images, labels = zip(*(tiny_training.scene(i, ignored=5 * i) for i in range(4)), strict=True)
    return tf.constant(np.stack(images)), tf.constant(np.stack(labels))


def new_step(
    weights,
    *,
    arch="fcn8s",
    trunk="",
    dropout=0.0,
    freeze=(),
    names=("cross_entropy",),
    dtype="float32",
    **options,
):
    """(step, model, optimiser) of equal weights, of which none is zero, so that gradients get everywhere."""
    keras.utils.set_random_seed(1)
    network = build.build_network(arch, num_classes=3, weights=weights, dropout_rate=dropout, dtype=dtype, trunk=trunk)
    for variable in network.model.trainable_variables:
        if not np.any(variable.numpy()):
            variable.assign(keras.random.normal(variable.shape, stddev=0.1, seed=2))
    network.freeze(freeze)
    optimizer = optimizers.build("adam", 0.01)
    optimizer.build(network.model.trainable_variables)
    loss = losses.PixelLoss(names, ignore_label=255)
    strategy = tf.distribute.get_strategy()
    step = TrainingStep(network, optimizer, strategy=strategy, loss=loss, spec=tiny_training.SPEC, seed=0, **options)
    return step, network.model, optimizer


def operations(step):
    """How many operations of each type a step needs: TensorFlow also makes others, and drops them before it runs."""
    graph = step.graph(*batch())
    needed, ahead = set(), [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while ahead:
        operation = ahead.pop()
        if operation not in needed:
            needed.add(operation)
            ahead += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return collections.Counter(operation.type for operation in needed)


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request, monkeypatch):
    """What steps compute in: bfloat16 as where the processor has no instructions for it."""
    monkeypatch.setattr(mixed_precision, "emulated", lambda dtype: dtype != "float32")
    return request.param


def test_nothing_is_computed_below_the_lowest_layer_that_learns(weights, dtype):
    # VGG11 has 1, 1, 2, 2 and 2 convolutions in its stages; the head has three (conv8 and those of the skips) and two
    # transposed ones, whose kernels take the same operation, and whose forward pass is a backward one. conv6, conv7 and
    # conv_t3 are matrix products.
    assert operations(new_step(weights, dtype=dtype)[0])["Conv2DBackpropFilter"] == 8 + 3 + 2
    step, _, optimizer = new_step(weights, freeze=("conv1", "conv2", "conv3"), dtype=dtype)
    counts = operations(step)
    assert counts["Conv2DBackpropFilter"] == 4 + 3 + 2
    # Through conv4_2, conv5_1 and conv5_2, but not through conv4_1; the gain before the skip of pool3 learns.
    assert counts["Conv2DBackpropInput"] == 3 + 3 + 2
    assert counts["MaxPoolGrad"] == 2  # pool4 and pool5
    names = {variable.path for variable in optimizer.variables}
    assert any("conv4_1" in name for name in names) and not any("conv3_1" in name for name in names)


def test_what_is_frozen_stays_and_the_rest_learns(weights):
    step, network, _ = new_step(weights, freeze=("conv1", "conv3"))
    before = {variable.path: variable.numpy() for variable in network.weights}
    norms = step(*batch(), number=0, log=True).gradient_norms
    assert list(norms) == ["gradient_norm/vgg", "gradient_norm/new"] and all(norm > 0 for norm in norms.values())
    changed = {path for path, values in before.items() if np.any(network_value(network, path) != values)}
    frozen = {path for path in before if path.startswith(("conv1_", "conv3_"))}
    assert changed == before.keys() - frozen and len(frozen) == 6


def test_the_curve_of_the_trunk_has_its_name(tmp_path):
    file = matfiles.write_alexnet(tmp_path / "alexnet.mat", matfiles.alexnet_convs())
    step, _, _ = new_step(file, arch="fcn32s_alexnet")
    assert step._norms.names == ["gradient_norm/alexnet", "gradient_norm/new"]


def network_value(network, path):
    return next(variable for variable in network.weights if variable.path == path).numpy()


def test_a_frozen_trunk_has_no_curve(weights):
    step, network, _ = new_step(weights, freeze=("conv1", "conv2", "conv3", "conv4", "conv5"))
    norms = step(*batch(), number=0, log=True).gradient_norms
    assert list(norms) == ["gradient_norm/new"]
    assert operations(step)["MaxPoolGrad"] == 0


def gradients_of(step, images, labels):
    """(loss, what `step` would apply, cells of the confusion matrix)."""
    loss, gradients, cells, _ = tf.function(step.gradients)(images, labels, tf.constant(3))
    return float(loss), [gradient.numpy() for gradient in gradients], cells.numpy()


@pytest.fixture(scope="module")
def whole(weights):
    """Returns `gradients_of` the batch in float32, without dropout, computed once for each loss."""
    return functools.cache(lambda *names: gradients_of(new_step(weights, names=names)[0], *batch()))


def same_gradients(one, other):
    """Whether (loss, gradients) agree within float32's rounding."""
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1e-3, np.abs(b).max()), rtol=1e-3)
    return any(np.any(a) for a in one[1])


@pytest.mark.parametrize(
    "file, arch, freeze",
    [("", "fcn8s", ()), ("tiny", "original", ()), ("", "fcn8s", ("conv1", "conv3")), ("", "light", ("conv1",))],
)
def test_what_is_computed_again_is_the_same_with_dropout_too(weights, file, arch, freeze, dtype):
    options = {"arch": arch, "freeze": freeze, "dropout": 0.5, "dtype": dtype}
    kept, again = (
        gradients_of(new_step(file or weights, **options, recompute=on)[0], *batch()) for on in (False, True)
    )
    assert same_gradients(again, kept)


@pytest.mark.parametrize("accumulate, names", [(2, ("cross_entropy",)), (4, ("cross_entropy", "focal"))])
def test_parts_add_up_to_the_whole(weights, whole, accumulate, names):
    """Though they hold 59 and 39, or 32, 27, 22 and 17 of 32 valid rows each; and with what is computed again."""
    want = whole(*names)
    for recompute in (False, True):
        step, _, _ = new_step(weights, names=names, accumulate=accumulate, recompute=recompute)
        got = gradients_of(step, *batch())
        assert same_gradients(got, want)
        np.testing.assert_array_equal(got[2], want[2])


@pytest.mark.parametrize("dtype", ["bfloat16"], indirect=True)
def test_narrow_steps_come_to_the_same_but_for_rounding(weights, whole, dtype):
    """Whole and in parts, whose convolutions round other sums; no gradient is noise, those of biases included."""
    loss, gradients, _ = whole("cross_entropy")
    for options in ({}, {"accumulate": 2, "recompute": True}):
        narrow_loss, narrow_gradients, _ = gradients_of(new_step(weights, dtype=dtype, **options)[0], *batch())
        assert narrow_loss == pytest.approx(loss, rel=0.01)
        for ours, theirs in zip(narrow_gradients, gradients, strict=True):
            assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)


def test_parts_drop_different_activations(weights):
    """Both parts hold the same picture: with equal masks they would come to the same as one of them alone."""
    images, labels = batch()
    twice = tf.repeat(images[:1], 2, axis=0), tf.repeat(labels[:1], 2, axis=0)
    step = new_step(weights, dropout=0.5, accumulate=2)[0]
    alone = tf.function(step._part)(images[:1], labels[:1], part_seed(0), lambda _: tf.constant(32.0 * 32.0), 1, [])
    assert gradients_of(step, *twice)[0] != pytest.approx(float(alone[0]), rel=1e-4)


def part_seed(part):
    """Of a part of the step that `gradients_of` takes, on the only replica."""
    seed = tf.random.experimental.stateless_fold_in(tf.constant([0, 3]), 0)
    return tf.random.experimental.stateless_fold_in(seed, part)


def test_activations_of_the_trunk_are_not_kept(weights):
    """No operation of the backward pass takes what a convolution or pooling of the first pass made."""
    graphs = [new_step(weights, recompute=on)[0].graph(*batch()) for on in (False, True)]
    plain, lean = (gradients_from_relus(graph) for graph in graphs)
    # Eight ReLUs in the trunk and two in the head: the first pass's alone, or the trunk's made again after it.
    assert plain == [False] * 10 and sorted(lean) == [False] * 2 + [True] * 8


def gradients_from_relus(graph):
    """For each gradient of a ReLU: whether that ReLU was computed only after some gradient was."""

    def waits(operation, seen):
        for before in [*operation.control_inputs, *(tensor.op for tensor in operation.inputs)]:
            if before not in seen:
                seen.add(before)
                if before.type == "ReluGrad" or waits(before, seen):
                    return True
        return False

    return [waits(op.inputs[1].op, set()) for op in graph.get_operations() if op.type == "ReluGrad"]


BN = {"arch": "fcn16s_mindspore"}  # batch normalisation in its trunk and in its head


def statistics(model):
    """{path: value} of the moving means and variances."""
    return {variable.path: variable.numpy() for variable in model.variables if "/moving_" in variable.path}


def of_batch(model, images):
    """Mean and variance, by hand, of what bn1_1 sees."""
    x = keras.Model(model.input, model.get_layer("conv1_1").output)(tf.cast(images, tf.float32))
    x = np.asarray(tf.cast(x, tf.float32), np.float64)
    return x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))


def moved(start, value):
    return 0.9 * start + 0.1 * value


def test_statistics_move_by_a_tenth_to_those_of_the_batch_in_float32(weights, dtype):
    step, model, _ = new_step(weights, **BN, dtype=dtype)
    mean, variance = of_batch(model, batch()[0])
    step(*batch(), number=0, log=False)
    layer = model.get_layer("bn1_1")
    assert layer.moving_mean.dtype == layer.moving_variance.dtype == "float32" and not layer.synchronized
    tolerance = 1e-4 if dtype == "float32" else 0.02
    np.testing.assert_allclose(layer.moving_mean, moved(0, mean), rtol=tolerance, atol=tolerance * mean.std())
    np.testing.assert_allclose(layer.moving_variance, moved(1, variance), rtol=tolerance)
    assert all(np.any(value != ("variance" in path)) for path, value in statistics(model).items())


def test_statistics_move_once_where_the_trunk_is_computed_again(weights):
    results = []
    for recompute in (False, True):
        step, model, _ = new_step(weights, **BN, recompute=recompute)
        gradients = gradients_of(step, *batch())
        step(*batch(), number=3, log=False)
        results.append((gradients, statistics(model)))
    (kept, want), (again, got) = results
    assert same_gradients(again, kept) and len(want) == 2 * (8 + 2)
    for path in want:
        np.testing.assert_allclose(got[path], want[path], rtol=1e-4, atol=1e-4)


def test_each_part_of_a_batch_has_statistics_of_its_own(weights):
    step, model, _ = new_step(weights, **BN, accumulate=2)
    images, labels = batch()
    parts = [of_batch(model, part) for part in (images[:2], images[2:])]
    step(images, labels, number=0, log=False)
    layer = model.get_layer("bn1_1")
    for i, (variable, start) in enumerate(((layer.moving_mean, 0), (layer.moving_variance, 1))):
        want = moved(moved(start, parts[0][i]), parts[1][i])
        np.testing.assert_allclose(variable, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("recompute", [False, True])
def test_frozen_stages_normalise_by_what_they_know_and_learn_nothing(weights, recompute):
    step, model, _ = new_step(weights, **BN, freeze=("conv1", "conv2"), recompute=recompute)
    images, labels = batch()
    pool2 = keras.Model(model.input, model.get_layer("pool2").output)
    before, features = statistics(model), pool2(tf.cast(images, tf.float32), training=False)
    step(images, labels, number=0, log=False)
    after = statistics(model)
    frozen = {path for path in before if np.array_equal(after[path], before[path])}
    assert {path.split("/")[0] for path in frozen} == {"bn1_1", "bn2_1"}
    np.testing.assert_array_equal(pool2(tf.cast(images, tf.float32), training=True), features)


def test_any_trunk_may_be_normalised(weights):
    step, model, _ = new_step(weights, trunk="vgg_bn")
    step(*batch(), number=0, log=False)
    assert {path.split("/")[0] for path in statistics(model)} == {
        f"bn{name}" for name in ("1_1", "2_1", "3_1", "3_2", "4_1", "4_2", "5_1", "5_2")
    }


def test_a_model_taken_apart_still_saves(weights, tmp_path):
    step, network, _ = new_step(weights, recompute=True)
    step(*batch(), number=0, log=False)
    network.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    images = tf.cast(batch()[0], tf.float32)
    np.testing.assert_array_equal(copy(images), network(images))


def test_stop_requests_come_back_beside_the_cells(weights):
    step, _, _ = new_step(weights)
    _, _, cells, stop_requests = step(*batch(), number=0, log=False, stop_requests=[0, 1])
    assert (
        stop_requests.numpy().tolist() == [0, 1]
        and cells.shape == (3 * 3 + 2,)
        and int(tf.reduce_sum(cells)) == 4 * 32 * 32
    )
    assert step(*batch(), number=1, log=False).stop_requests.shape == (0,)


@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"accumulate": 2}, {"dtype": "bfloat16"}])
def test_nothing_of_a_step_outlives_it(options, weights):
    """Each training of one process, as in a search or a notebook, would take its memory anew."""
    step, model, optimizer = new_step(weights, arch="light", **options)
    graph = weakref.ref(step.graph(*batch()))
    step(*batch(), number=0, log=True)
    del step, model, optimizer
    gc.collect()
    assert graph() is None
