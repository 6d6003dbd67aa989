"""Networks of other Keras packages as contenders, untrained, by their own constructors and Keras' own training step."""

import importlib
import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

from benchmarks.stepper import Stepper


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
        import numpy as np

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
