"""Batch normalisation (Ioffe & Szegedy 2015): Keras' layer, and what a training has to know of it. Pure Keras."""

import contextlib
from collections.abc import Iterable, Iterator

import keras


def batch_norm(name: str, dtype: str) -> keras.layers.BatchNormalization:
    """The layer, with the momentum and epsilon of PyTorch and MindSpore; statistics are float32 whatever the policy."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, dtype=dtype)


def moving_statistics(layers: Iterable[keras.layers.Layer]) -> list[keras.Variable]:
    """The moving mean and variance of each batch normalisation that is not frozen; training moves them."""
    return [
        variable
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


@contextlib.contextmanager
def synchronized(layers: Iterable[keras.layers.Layer], wanted: bool) -> Iterator[None]:
    """While a step is traced, whether statistics are those of the batch on all replicas, or on each its own.

    Keras has a flag for it, but only on TensorFlow: a model saved with it would load on no other backend.

    Args:
      layers: of the model.
      wanted: whether they are of all replicas.
    """
    found = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in found:
        layer.synchronized = wanted
    try:
        yield
    finally:
        for layer in found:
            layer.synchronized = False
