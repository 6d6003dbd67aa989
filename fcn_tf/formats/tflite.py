"""LiteRT's (TensorFlow Lite's) flat buffer, for phones and small computers."""

import io
import json
import os
import warnings
import zipfile
from typing import Any

import numpy as np

from fcn_tf import registry
from fcn_tf.formats import savedmodel
from fcn_tf.formats.base import Format, Memory, Result, Runner, Source
from fcn_tf.inference.exported import METADATA
from fcn_tf.io import files

FILE = "model.tflite"
# Pooling takes the largest of what convolutions gave, and loses nothing in 8 bits.
_IN_8_BITS = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")


def write(source: Source, folder: str, precision: str) -> None:
    """Writes model.tflite, with classes.json packed into its end, where `unzip` finds it and runtimes look past it."""
    import tensorflow as tf

    with files.temporary_folder() as scratch:
        # Through a SavedModel: then the weights become constants, and the outputs keep their names.
        savedmodel.write(source, scratch, "float32")
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch)
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.representative_dataset = lambda: ({"images": picture[None]} for picture in source.calibration)
        with warnings.catch_warnings():
            # TensorFlow's own calibration comes with TensorFlow's own interpreter, which says that it is to go.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
            data = io.BytesIO(_int8(converter) if precision == "int8" else converter.convert())
    with zipfile.ZipFile(data, "a") as packed:
        packed.writestr(METADATA, json.dumps(source.metadata))
    files.write_bytes(files.join(folder, FILE), data.getvalue())


def _int8(converter: Any) -> bytes:
    """Convolutions in 8 bits, everything else in float32.

    The mean squares that skips are normalised by reach over several powers of ten: in 8 bits they cost more labels than
    all convolutions together.
    """
    import tensorflow as tf
    from ai_edge_litert import schema_py_generated

    operations = {name for name in vars(schema_py_generated.BuiltinOperator) if not name.startswith("_")}
    kept = sorted(operations - set(_IN_8_BITS))
    # It debugs nothing here: TensorFlow leaves operations out by no other public name.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=kept),
    )
    return debugger.get_nondebug_quantized_model()


def load(folder: str) -> Runner:
    """Runs its signature "serving_default" in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    data = files.read_bytes(files.join(folder, FILE))
    interpreter: Any = Interpreter(model_content=data, num_threads=os.cpu_count())
    label = interpreter.get_signature_runner("serving_default")

    def run(images: np.ndarray) -> Result:
        return Result(**label(images=images))

    return run


ENTRY = Format(
    write,
    load,
    file=FILE,
    precisions=registry.EXPORT_PRECISIONS,
    packages={"ai_edge_litert": "ai-edge-litert"},
    memory=Memory(1.9, 7.2),
)
