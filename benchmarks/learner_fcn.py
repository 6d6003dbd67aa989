"""fcn_tf as a contender that learns (see learner.py), and the batches that all of them learn from."""

import functools
import os

from fcn_tf.io import system

system.load_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks.learner import Learner  # noqa: E402
from fcn_tf.data import datasets, pipeline  # noqa: E402
from fcn_tf.data.base import DatasetSpec  # noqa: E402
from fcn_tf.data.palette import distinct_colors  # noqa: E402
from fcn_tf.models import build, cpu  # noqa: E402
from fcn_tf.training import distribution, losses, optimizers, step  # noqa: E402

IGNORED = 255


class Batches:
    """Writes what contenders learn from.

    Args:
      dataset, data_dir: as the flags of main.py; all photos of the validation split must have one size.
    """

    def __init__(self, *, dataset: str, data_dir: str):
        self._load = functools.partial(datasets.load, dataset, data_dir)

    def write(self, folder: str, *, steps: int, batch_size: int, image_size: int, photos: int, seed: int) -> int:
        """Writes the files of learner.py; returns the number of classes.

        Args:
          folder: is made.
          steps: of the training.
          batch_size: examples a step.
          image_size: side of the crops.
          photos: how many of the validation split to score, evenly spread.
          seed: of the order and the crops.
        """
        train, validation = self._load("train"), self._load("validation")
        os.makedirs(folder, exist_ok=True)
        shape = (steps * batch_size, image_size, image_size)
        images = np.lib.format.open_memmap(os.path.join(folder, "images.npy"), "w+", np.uint8, (*shape, 3))
        labels = np.lib.format.open_memmap(os.path.join(folder, "labels.npy"), "w+", np.uint8, shape)
        batches = pipeline.training_batches(
            train, batch_size=batch_size, image_size=image_size, seed=seed, num_steps=steps
        )
        for i, (some_images, some_labels) in enumerate(batches.as_numpy_iterator()):
            rows = slice(i * batch_size, (i + 1) * batch_size)
            images[rows], labels[rows] = some_images, self._ids(some_labels, train.spec)
        chosen = np.linspace(0, len(validation) - 1, min(photos, len(validation))).round().astype(int)
        examples = [validation.read(validation.examples[i]) for i in chosen]
        np.save(os.path.join(folder, "photos.npy"), np.stack([photo for photo, _ in examples]))
        truth = [self._ids(label, train.spec) for _, label in examples]
        np.save(os.path.join(folder, "truth.npy"), np.stack(truth))
        return train.spec.num_classes

    @staticmethod
    def _ids(labels: np.ndarray, spec: DatasetSpec) -> np.ndarray:
        return np.where(labels == spec.ignore_label, IGNORED, labels).astype(np.uint8)


class Fcn(Learner):
    """The network of an arch, by the training step of main.py with its defaults: Adam, cross-entropy, the arch's rates.

    Args:
      folder, num_classes, batch_size: see `Learner`.
      arch, weights: as the flags of main.py.
      learning_rate: the base rate.
    """

    def __init__(
        self, *, folder: str, num_classes: int, batch_size: int, arch: str, weights: str, learning_rate: float = 1e-4
    ):
        super().__init__(folder=folder, num_classes=num_classes, batch_size=batch_size)
        keras.utils.set_random_seed(0)
        names = tuple(map(str, range(num_classes)))
        spec = DatasetSpec("batches", names, tuple(distinct_colors(num_classes)), ignore_label=IGNORED)
        strategy = distribution.choose_strategy()
        with strategy.scope():
            network = build.build_network(arch, num_classes=num_classes, weights=weights)
            self._optimizer = optimizers.build("adam", learning_rate, factors=network.learning_rate_factors())
            self._optimizer.build(network.model.trainable_variables)
        self._model = network.model
        loss = losses.PixelLoss(("cross_entropy",), ignore_label=IGNORED)
        self._take = step.TrainingStep(network, self._optimizer, strategy=strategy, loss=loss, spec=spec, seed=0)
        self._scores = tf.function(functools.partial(cpu.accelerated(self._model), training=False))

    def _step(self, images, labels, number):
        result = self._take(tf.constant(images), tf.constant(labels, tf.int32), number=number, log=False)
        return float(result.loss)

    def _predict(self, images):
        return np.argmax(self._scores(tf.constant(images, tf.float32)), axis=-1)

    def _state(self):
        return [variable.numpy() for variable in self._variables()]

    def _restore(self, state):
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self):
        return [*self._model.weights, *self._optimizer.variables]
