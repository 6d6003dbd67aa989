"""Run by training/test_replicas.py: what one device and several replicas make of the same training, as JSON."""

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
from fcn_tf.models import batch_norm, build
from fcn_tf.models.dropout import StepDropout
from fcn_tf.training import loop as trainer
from fcn_tf.training import losses, optimizers
from fcn_tf.training.gradients import without_all_reduce
from fcn_tf.training.step import TrainingStep
from tests import tiny_training

STEPS = 6
CLIP = 0.1
FOUR_CLASSES = DatasetSpec("four", ("a", "b", "c", "d"), ((0, 0, 0),) * 4, ignore_label=255)


OPTIMIZERS = {
    "fused Adam": lambda: optimizers.build("adam", 0.01),
    "scaled": lambda: optimizers.build("adam", 0.01, scale_loss=True),
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


def overflow_difference(strategy):
    """Of an optimiser with scaled losses: its step with finite gradients and one that overflowed on one replica."""
    gradient = tf.constant([1.0, -2.0, 3.0])
    with strategy.scope():
        shared, together = keras.Variable(np.zeros(3, np.float32)), optimizers.build("adam", 0.01, scale_loss=True)
        together.build([shared])
    single, alone = keras.Variable(np.zeros(3, np.float32)), optimizers.build("adam", 0.01)
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


def small_network(*, dtype="float32", dropout=0.0, normalized=True):
    """Two convolutions as trunk, and scores."""
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255, name="scaled")(pixels)
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1_1", dtype=policy)(x)
    x = batch_norm.batch_norm("bn1_1", policy)(x) if normalized else x
    x = keras.layers.ReLU(name="relu1_1", dtype=policy)(x)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv1_2", dtype=policy)(x)
    x = keras.layers.ReLU(name="relu1_2", dtype=policy)(x)
    x = StepDropout(dropout, name="dropout")(x)
    x = keras.layers.UpSampling2D(2, name="up")(x)
    logits = keras.layers.Conv2D(3, 1, name="score", dtype="float32")(x)
    trunk = ["conv1_1", *(["bn1_1"] if normalized else []), "relu1_1", "conv1_2", "relu1_2"]
    return build.Network(keras.Model(pixels, logits), stages={"conv1": trunk})


def new(strategy, make_network, make_optimizer):
    """A network and its optimiser, of equal weights whatever the strategy."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network, optimizer = make_network(), make_optimizer()
        optimizer.build(network.model.trainable_variables)
    return network, optimizer


def training_batches(train):
    return functools.partial(pipeline.training_batches, train, image_size=tiny_training.SIDE, seed=0)


def steps(strategy, network, optimizer, batch_size, *, count=STEPS, **options):
    """(losses by step, final weights) of some steps without the loop; all replicas end with the same weights."""
    loss = losses.PixelLoss(("cross_entropy",), ignore_label=255)
    step = TrainingStep(network, optimizer, strategy=strategy, loss=loss, spec=tiny_training.SPEC, seed=0, **options)
    data = training_batches(tiny_training.dataset(8))(batch_size=batch_size, num_steps=count)
    batches = strategy.experimental_distribute_dataset(data)
    curve = [float(step(*batch, number=number, log=False).loss) for number, batch in enumerate(batches)]
    for variable in network.model.weights:
        first, *others = strategy.experimental_local_results(variable.value)
        assert all(np.array_equal(first, other) for other in others), variable.path
    return curve, [variable.numpy() for variable in network.model.weights]


def new_trainer(strategy, folder, name, batch_size, *, dropout=0.0, **options):
    """A trainer of equal weights, whatever the strategy, with batch normalisation and clipping."""
    network, optimizer = new(
        strategy,
        lambda: small_network(dropout=dropout),
        lambda: optimizers.build("sgd", 0.1, clip_norm=CLIP),
    )
    train = tiny_training.dataset(8)
    loop = trainer.Trainer(
        network,
        optimizer,
        strategy=strategy,
        train=train,
        validation=tiny_training.dataset(5, "validation", first_seed=100),
        run=Run(os.path.join(folder, name)),
        batch_size=batch_size,
        batches=training_batches(train),
        seed=0,
        **options,
    )
    return loop, network.model


def training(strategy, folder, name, batch_size, **options):
    """(losses by step, rows of the history, final weights)."""
    loop, network = new_trainer(strategy, folder, name, batch_size, **options)
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


def _norms(folder, name):
    """Of the gradients, step by step: the trunk's, then those of new layers."""
    curves = tiny_training.events(Run(os.path.join(folder, name)).train_events)
    return [curves[f"gradient_norm/{part}"][step] for part in ("vgg", "new") for step in range(1, STEPS + 1)]


def weights_difference(one, two):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True) if a.dtype == np.float32)


def dropout_masks_differ(strategy, folder):
    """Whether two replicas given the same pictures drop different activations."""
    loop, _ = new_trainer(strategy, folder, "masks", 4, dropout=0.5)
    images, labels = (array[None] for array in tiny_training.scene(0))
    gradients = tf.function(loop._step.gradients)
    results = strategy.run(gradients, args=(tf.constant(images), tf.constant(labels), tf.constant(3)))
    first, second = strategy.experimental_local_results(results[0])
    return bool(abs(float(first) - float(second)) > 1e-6)


def comparison(one, several, folder, batch_size):
    """Trainings of one device, and of several that are given the same."""
    single_losses, single_rows, single_weights = training(one, folder, "one", batch_size, ema=0.9)
    shared_losses, rows, weights = training(several, folder, "several", batch_size, ema=0.9)

    def in_parts(strategy, **options):
        plain = functools.partial(small_network, normalized=False)
        return steps(strategy, *new(strategy, plain, lambda: optimizers.build("adam", 0.01)), batch_size, **options)

    (plain_losses, plain_weights), (lean_losses, lean_weights) = (
        in_parts(one),
        in_parts(several, accumulate=2, recompute=True),
    )

    def rounded(strategy):
        network = functools.partial(small_network, dtype="bfloat16")
        return steps(strategy, *new(strategy, network, lambda: optimizers.build("sgd", 0.3)), batch_size)[0]

    return {
        "replicas": several.num_replicas_in_sync,
        "single_losses": single_losses,
        "losses": shared_losses,
        "single_rows": single_rows,
        "rows": rows,
        "weights_difference": weights_difference(single_weights, weights),
        "clip": CLIP,
        "norms": [_norms(folder, name) for name in ("one", "several")],
        "plain_losses": plain_losses,
        "lean_losses": lean_losses,
        "lean_difference": weights_difference(plain_weights, lean_weights),
        "bfloat16_losses": [rounded(each) for each in (one, several)],
        "average": {
            "change": weights_difference(*average_of(folder, "one")),
            "difference": weights_difference(average_of(folder, "one")[0], average_of(folder, "several")[0]),
        },
    }


def of_two(one, two, folder):
    """What is looked at with two replicas alone."""
    shutil.copytree(f"{folder}/one", f"{folder}/resumed", ignore=lambda *_: {"train", "ckpt-6.index"})
    resumed_losses, *_ = training(two, folder, "resumed", 4, ema=0.9, debug=True)
    network, optimizer = new(two, small_network, lambda: optimizers.build("sgd", 0.3))
    _, parts = steps(two, network, optimizer, 4, count=1, accumulate=2)
    paths = [variable.path for variable in network.model.weights]
    vgg = functools.partial(
        build.build_network, "fcn16s_mindspore", num_classes=3, weights=f"{folder}/narrow.mat", dropout_rate=0.0
    )
    whole = [
        steps(each, *new(each, vgg, lambda: optimizers.build("sgd", 0.1)), 4, count=2, **options)
        for each, options in ((one, {}), (two, {"recompute": True}))
    ]
    return {
        "resumed_losses": resumed_losses,
        "resumed_differences": [
            weights_difference(*pair)
            for pair in zip(average_of(folder, "several"), average_of(folder, "resumed"), strict=True)
        ],
        "tags": sorted(tiny_training.events(os.path.join(folder, "resumed", "train"))),
        "masks_differ": dropout_masks_differ(two, folder),
        "optimizers": {name: step_difference(two, name) for name in OPTIMIZERS},
        "overflow_difference": overflow_difference(two),
        "in_parts": {path: float(np.abs(values).max()) for path, values in zip(paths, parts, strict=True)},
        "whole_losses": [curve for curve, _ in whole],
        "whole_difference": max(
            float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))
            for a, b in zip(*(variables for _, variables in whole), strict=True)
        ),
    }


def main(folder, count):
    """Writes results.json into `folder`."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    several = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    one = tf.distribute.get_strategy()
    tiny_training.write_weights(folder)
    results = comparison(one, several, folder, 2 * count)
    if count == 2:
        results |= of_two(one, several, folder)
    with open(os.path.join(folder, "results.json"), "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
