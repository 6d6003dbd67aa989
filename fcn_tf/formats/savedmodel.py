"""TensorFlow's SavedModel, as TensorFlow Serving, TensorFlow.js and most converters read it."""

import json

import numpy as np

from fcn_tf.formats.base import Format, Memory, Result, Runner, Source
from fcn_tf.inference.exported import METADATA
from fcn_tf.io import files

_FILE = "saved_model.pb"


def write(source: Source, folder: str, precision: str) -> None:
    """Writes saved_model.pb, variables/, and the class names in assets.extra/, which TensorFlow leaves to others."""
    del precision  # it comes in one
    import tensorflow as tf

    from fcn_tf.formats import graph

    module = graph.Segmenter(source.model)
    tf.saved_model.save(module, folder, signatures={"serving_default": module.label})
    files.write_bytes(files.join(folder, "assets.extra", METADATA), json.dumps(source.metadata).encode())


def load(folder: str) -> Runner:
    """Runs the signature "serving_default" in TensorFlow."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    serve = loaded.signatures["serving_default"]

    def run(images: np.ndarray) -> Result:
        found = serve(images=tf.constant(images))
        return Result(found["labels"].numpy(), found["confidence"].numpy())

    run.loaded = loaded  # type: ignore[attr-defined]  # the signature alone does not keep the variables
    return run


ENTRY = Format(write, load, file=_FILE, memory=Memory(1.05, 2.4))
