"""One .keras file that takes bytes and gives labels; it loads where this package is installed."""

import numpy as np

from fcn_tf.formats.base import Format, Memory, Result, Runner, Source
from fcn_tf.io import files

_FILE = "model.keras"


def write(source: Source, folder: str, precision: str) -> None:
    """Writes model.keras; the class names are an attribute of its layer "segmentation"."""
    del precision  # it comes in one
    source.model.save(files.join(folder, _FILE))


def load(folder: str) -> Runner:
    """Runs it in Keras."""
    import keras
    import tensorflow as tf

    from fcn_tf.models import more_layers, segmentation  # noqa: F401  (register what the file is made of)

    model = keras.models.load_model(files.join(folder, _FILE), compile=False)
    label = tf.function(
        lambda images: model(images, training=False), input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)]
    )

    def run(images: np.ndarray) -> Result:
        found = label(tf.constant(images))
        return Result(found["labels"].numpy(), found["confidence"].numpy())

    return run


ENTRY = Format(write, load, file=_FILE, memory=Memory(1.25, 3.8))
