"""Run by training/test_replicas.py: what one device and two replicas make of the same training, as JSON."""

import functools
import json
import os
import shutil
import sys

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.data import pipeline
from fcn_tf.data.base import DatasetSpec
from fcn_tf.inference.checkpoint import AVERAGE
from fcn_tf.io.run_dir import Run
from fcn_tf.models import build
from fcn_tf.training import loop as trainer
from fcn_tf.training import losses, optimizers
from fcn_tf.training.gradients import without_all_reduce
from fcn_tf.training.step import TrainingStep
from tests import tiny_training

STEPS = 6
FOUR_CLASSES = DatasetSpec("four", ("a", "b", "c", "d"), ((0, 0, 0),) * 4, ignore_label=255)


OPTIMIZERS = {
    "fused Adam": lambda: optimizers.build_adam(0.01),
    "scaled": lambda: optimizers.build_adam(0.01, scale_loss=True),
    "SGD": lambda: optimizers.build("sgd", 10.0, nesterov=True, clip_norm=0.01),
    "scaled SGD": lambda: optimizers.build("sgd", 10.0, clip_norm=0.01, scale_loss=True),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=1e-3),
}


def step_difference(strategy, name):
    """Largest difference of weights after a step on `strategy` and on one device, and the largest change of one.

    Sums over pixels are exact in float32, whatever their order: pixels are whole numbers, the probabilities of the four
    classes start as quarters, and 2048 pixels count. What is left is the rounding of single operations.
    """
    images, labels = map(np.stack, zip(*map(tiny_training.scene, range(4)), strict=True))
    for label, ignored in zip(labels, (4, 12, 20, 28), strict=True):
        label[:ignored] = 255
    weights = []
    for each in (tf.distribute.get_strategy(), strategy):
        with each.scope():
            pixels = keras.Input((None, None, 3))
            logits = keras.layers.Conv2D(4, 1, kernel_initializer="zeros", name="score")(pixels)
            network = build.Network(keras.Model(pixels, logits), stages={})
            optimizer = OPTIMIZERS[name]()
            optimizer.build(network.model.trainable_variables)
        loss = losses.PixelLoss(("cross_entropy",), ignore_label=255)
        step = TrainingStep(network, optimizer, strategy=each, loss=loss, spec=FOUR_CLASSES, seed=0)
        data = tf.data.Dataset.from_tensors((images, labels)).unbatch().batch(4, drop_remainder=True)
        step(*next(iter(each.experimental_distribute_dataset(data))), number=0, log=False)
        weights.append([variable.numpy() for variable in network.model.trainable_variables])
    return weights_difference(*weights), max(float(np.abs(array).max()) for array in weights[0])


def batch_norm_step(strategy, folder, *, dtype="float32", **options):
    """Weights and moving statistics after a step of a network with batch normalisation; equal on all replicas."""
    images, labels = zip(*(tiny_training.scene(i, ignored=5 * i) for i in range(4)), strict=True)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = build.build_network(
            "fcn16s_mindspore", num_classes=3, weights=f"{folder}/narrow.mat", dropout_rate=0.0, dtype=dtype
        )
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(network.model.trainable_variables)
    loss = losses.PixelLoss(("cross_entropy",), ignore_label=255)
    step = TrainingStep(network, optimizer, strategy=strategy, loss=loss, spec=tiny_training.SPEC, seed=0, **options)
    data = tf.data.Dataset.from_tensor_slices((np.stack(images), np.stack(labels))).batch(4, drop_remainder=True)
    step(*next(iter(strategy.experimental_distribute_dataset(data))), number=0, log=False)
    variables = [variable for variable in network.model.variables if variable.dtype == "float32"]
    for variable in variables:
        first, *others = strategy.experimental_local_results(variable.value)
        assert all(np.array_equal(first, other) for other in others), variable.path
    return {variable.path: variable.numpy() for variable in variables}


def batch_norm_results(one, two, folder):
    """{path: largest difference between one device and two replicas, as a share of the largest value}, and the largest
    value by path of two replicas that compute their shares in parts.
    """
    options = {"dtype": "bfloat16", "recompute": True}
    ours, theirs = (batch_norm_step(each, folder, **options) for each in (two, one))
    in_parts = batch_norm_step(two, folder, accumulate=2)
    return {
        "differences": {
            path: float(np.abs(ours[path] - values).max() / np.abs(values).max()) for path, values in theirs.items()
        },
        "in_parts": {path: float(np.abs(values).max()) for path, values in in_parts.items()},
    }


def overflow_difference(strategy):
    """Of an optimiser with scaled losses: its step with finite gradients and one that overflowed on one replica."""
    gradient = tf.constant([1.0, -2.0, 3.0])
    with strategy.scope():
        shared, together = keras.Variable(np.zeros(3, np.float32)), optimizers.build_adam(0.01, scale_loss=True)
        together.build([shared])
    single, alone = keras.Variable(np.zeros(3, np.float32)), optimizers.build_adam(0.01)
    alone.apply([3 * gradient], [single])

    @tf.function
    def step(overflow):
        def replica():
            number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
            scaled = together.scale_loss((number + 1) * gradient)
            together.apply_gradients(
                zip(summed([tf.where(overflow & (number > 0), np.inf, scaled)]), [shared], strict=True)
            )

        with without_all_reduce(together):
            strategy.run(replica)

    step(tf.constant(False))
    step(tf.constant(True))
    return float(np.abs(single.numpy() - shared.numpy()).max())


def summed(gradients):
    """Over the replicas, as the training step does."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)


def new_network(strategy, folder, *, dropout=0.0, dtype="float32"):
    """A network and its optimiser, of equal weights whatever the strategy."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = build.build_network(
            "fcn8s", num_classes=3, weights=f"{folder}/narrow.mat", dropout_rate=dropout, dtype=dtype
        )
        return network, optimizers.build_adam(0.01)


def training_batches(train):
    return functools.partial(pipeline.training_batches, train, image_size=tiny_training.SIDE, seed=0)


def steps(strategy, folder, *, dtype="float32", **options):
    """(losses by step, final weights) of the steps that `training` takes, without its loop."""
    network, optimizer = new_network(strategy, folder, dtype=dtype)
    with strategy.scope():
        optimizer.build(network.model.trainable_variables)
    loss = losses.PixelLoss(("cross_entropy",), ignore_label=255)
    step = TrainingStep(network, optimizer, strategy=strategy, loss=loss, spec=tiny_training.SPEC, seed=0, **options)
    data = training_batches(tiny_training.dataset(8))(batch_size=4, num_steps=STEPS)
    batches = strategy.experimental_distribute_dataset(data)
    curve = [float(step(*batch, number=number, log=False).loss) for number, batch in enumerate(batches)]
    return curve, [variable.numpy() for variable in network.model.weights]


def new_trainer(strategy, folder, name, *, dropout=0.0, **options):
    """A trainer of equal weights, whatever the strategy."""
    network, optimizer = new_network(strategy, folder, dropout=dropout)
    train = tiny_training.dataset(8)
    loop = trainer.Trainer(
        network,
        optimizer,
        strategy=strategy,
        train=train,
        validation=tiny_training.dataset(3, "validation", first_seed=100),
        run=Run(os.path.join(folder, name)),
        batch_size=4,
        batches=training_batches(train),
        seed=0,
        **options,
    )
    return loop, network.model


def training(strategy, folder, name, **options):
    """(losses by step, rows of the history, final weights)."""
    loop, network = new_trainer(strategy, folder, name, **options)
    start = loop.restore()
    assert loop.fit(trainer.TrainingIntervals(STEPS, 3, 3, 1), start=start) == 0
    run = Run(os.path.join(folder, name))
    curve = tiny_training.events(run.train_events)["loss"]
    return [curve[step] for step in sorted(curve)], run.read_history(), [w.numpy() for w in network.weights]


def average_of(folder, name):
    """{path: array} of the moving averages, and of the weights they are of, in a run's last checkpoint."""
    reader = tf.train.load_checkpoint(Run(os.path.join(folder, name)).newest_checkpoint())
    layout = json.loads(reader.get_tensor("layout/.ATTRIBUTES/VARIABLE_VALUE").decode())
    saved = {path: reader.get_tensor(f"v{i:04d}/.ATTRIBUTES/VARIABLE_VALUE") for i, (path, _) in enumerate(layout)}
    averages = {path.removeprefix(AVERAGE): array for path, array in saved.items() if path.startswith(AVERAGE)}
    return list(averages.values()), [saved[path] for path in averages]


def average_results(folder):
    """How the moving averages of the runs "one", "two" and "resumed" differ, and those of "one" from its weights."""
    (alone, weights), (both, _), (resumed, _) = (average_of(folder, name) for name in ("one", "two", "resumed"))
    return {
        "change": weights_difference(alone, weights),
        "difference": weights_difference(alone, both),
        "resumed_difference": weights_difference(both, resumed),
    }


def _norms(folder, name):
    """Of the gradients, step by step: VGG's, then those of new layers."""
    curves = tiny_training.events(Run(os.path.join(folder, name)).train_events)
    return [curves[f"gradient_norm/{part}"][step] for part in ("vgg", "new") for step in range(1, STEPS + 1)]


def weights_difference(one, two):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True) if a.dtype == np.float32)


def dropout_masks_differ(strategy, folder):
    """Whether two replicas given the same pictures drop different activations."""
    loop, network = new_trainer(strategy, folder, "masks", dropout=0.5)
    conv8 = network.get_layer("conv8").kernel
    conv8.assign(np.random.default_rng(0).normal(size=conv8.shape))  # it starts at zero, whatever it is given
    images, labels = (array[None] for array in tiny_training.scene(0))
    gradients = tf.function(loop._step.gradients)
    results = strategy.run(gradients, args=(tf.constant(images), tf.constant(labels), tf.constant(3)))
    first, second = strategy.experimental_local_results(results[0])
    return bool(abs(float(first) - float(second)) > 1e-6)


def main(folder):
    """Writes results.json into `folder`."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one = tf.distribute.get_strategy()
    tiny_training.write_weights(folder)

    single_losses, single_rows, single_weights = training(one, folder, "one", ema=0.9)
    two_losses, rows, weights = training(two, folder, "two", ema=0.9)
    shutil.copytree(f"{folder}/one", f"{folder}/resumed", ignore=lambda *_: {"train", "ckpt-6.index"})
    resumed_losses, _, resumed_weights = training(two, folder, "resumed", ema=0.9, debug=True)
    lean_losses, lean_weights = steps(two, folder, accumulate=2, recompute=True)
    rounded = [steps(each, folder, dtype="bfloat16")[0] for each in (one, two)]
    results = {
        "replicas": two.num_replicas_in_sync,
        "optimizers": {name: step_difference(two, name) for name in OPTIMIZERS},
        "single_losses": single_losses,
        "losses": two_losses,
        "single_rows": single_rows,
        "rows": rows,
        "weights_difference": weights_difference(single_weights, weights),
        "resumed_losses": resumed_losses,
        "resumed_difference": weights_difference(resumed_weights, weights),
        "lean_losses": lean_losses,
        "lean_difference": weights_difference(lean_weights, single_weights),
        "bfloat16_losses": rounded,
        "average": average_results(folder),
        "masks_differ": dropout_masks_differ(two, folder),
        "batch_norm": batch_norm_results(one, two, folder),
        "overflow_difference": overflow_difference(two),
        "norms": [_norms(folder, name) for name in ("one", "two")],
        "tags": sorted(tiny_training.events(os.path.join(folder, "resumed", "train"))),
    }
    with open(os.path.join(folder, "results.json"), "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main(sys.argv[1])
