"""Networks of other Keras packages as contenders, untrained, by their own constructors and Keras' own training step."""

import importlib
import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.learner import Learner
from benchmarks.stepper import Stepper
from fcn_tf.models import pretrained


def _keras_segmentation(num_classes: int, image_size: int) -> Any:
    """FCN-8 over VGG16 by the package keras-segmentation; without its weights, which it would download."""
    fcn = importlib.import_module("keras_segmentation.models.fcn")
    vgg16 = importlib.import_module("keras_segmentation.models.vgg16")

    def encoder(**sides):
        return vgg16.get_vgg_encoder(pretrained=None, **sides)

    return fcn.fcn_8(num_classes, encoder=encoder, input_height=image_size, input_width=image_size)


def _segmentation_models(num_classes: int, image_size: int) -> Any:
    """U-Net over VGG19 by the package segmentation-models, which has no FCN; untrained."""
    os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
    package = importlib.import_module("segmentation_models")
    shape = (image_size, image_size, 3)
    return package.Unet("vgg19", input_shape=shape, classes=num_classes, encoder_weights=None, activation="linear")


NETWORKS: dict[str, Callable[[int, int], Any]] = {
    "keras-segmentation": _keras_segmentation,
    "segmentation-models": _segmentation_models,
}


class Keras(Stepper):
    """Training steps on one batch of noise, in float32.

    Args:
      package: a key of `NETWORKS`.
      num_classes, image_size, batch_size: as in train_step.py.
    """

    def __init__(self, *, package: str, num_classes: int, image_size: int, batch_size: int):
        importlib.metadata.version(package)  # says in one line that it is not installed
        import keras

        self._package = package
        network = NETWORKS[package](num_classes, image_size)
        logits = (
            isinstance(network.layers[-1], keras.layers.Activation)
            and network.layers[-1].activation.__name__ == "linear"
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
        network.compile(keras.optimizers.Adam(1e-4), loss)
        rng = np.random.default_rng(0)
        self._images = rng.integers(0, 256, (batch_size, image_size, image_size, 3)).astype(np.float32)
        # Some give a row of pixels instead of a picture.
        self._labels = rng.integers(0, num_classes, (batch_size, *network.output_shape[1:-1], 1))
        self._network = network

    def losses(self, count: int) -> list[float]:
        """Takes `count` steps; the loss before each."""
        return [float(self._network.train_on_batch(self._images, self._labels)) for _ in range(count)]

    def version(self) -> str:
        """Of the package."""
        return importlib.metadata.version(self._package)


class UNetLearner(Learner):
    """U-Net over VGG16 of segmentation-models, from a file of VGG16's weights, by Adam.

    Args:
      folder, num_classes, batch_size: see `Learner`.
      weights: MatConvNet file.
      learning_rate: of all layers.
    """

    def __init__(self, *, folder: str, num_classes: int, batch_size: int, weights: str, learning_rate: float = 1e-4):
        super().__init__(folder=folder, num_classes=num_classes, batch_size=batch_size)
        os.environ.setdefault("SM_FRAMEWORK", "tf.keras")
        package = importlib.import_module("segmentation_models")
        keras = importlib.import_module("tensorflow").keras
        keras.utils.set_random_seed(0)
        net, _ = pretrained.read(weights, "")
        self._mean = np.asarray(net.mean_rgb, np.float32)
        self._network = package.Unet("vgg16", classes=num_classes, encoder_weights=None, activation="linear")
        for name, conv in net.convs.items():
            if name.startswith("conv"):  # conv1_2 is its block1_conv2
                layer = self._network.get_layer("block{}_conv{}".format(*name.removeprefix("conv").split("_")))
                layer.set_weights([conv.kernel, conv.bias])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        self._network.compile(keras.optimizers.Adam(learning_rate), loss)

    def _step(self, images, labels, number):
        known = labels < self._num_classes
        weights = known[..., None] / max(known.sum(), 1)
        truth = np.where(known, labels, 0)[..., None]
        return float(self._network.train_on_batch(images - self._mean, truth, sample_weight=weights))

    def _predict(self, images):
        return np.argmax(self._network.predict_on_batch(images - self._mean), axis=-1)

    def _state(self):
        return [variable.numpy() for variable in self._variables()]

    def _restore(self, state):
        self._network.optimizer.build(self._network.trainable_variables)
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self):
        return [*self._network.weights, *self._network.optimizer.variables]
