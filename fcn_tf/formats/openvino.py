"""OpenVINO's intermediate representation, for Intel's processors and graphics."""

import json
import logging
from typing import Any

import numpy as np

from fcn_tf import registry
from fcn_tf.formats.base import Format, Memory, Result, Runner, Source
from fcn_tf.io import files

FILE = "model.xml"


def write(source: Source, folder: str, precision: str) -> None:
    """Writes model.xml and model.bin; "class_names" in the first is a JSON list."""
    import openvino

    from fcn_tf.formats import graph

    model = openvino.convert_model(graph.Segmenter(source.model).label)
    if precision == "int8":
        model = _int8(model, source)
    model.set_rt_info(json.dumps(source.class_names), ["model_info", "class_names"])
    openvino.save_model(model, files.join(folder, FILE), compress_to_fp16=precision == "float16")


def load(folder: str) -> Runner:
    """Runs it in OpenVINO, on the CPU, in float32 wherever it is not quantized."""
    import openvino

    # What else it would choose, bfloat16, is another result on another processor.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(files.join(folder, FILE), "CPU", settings)

    def run(images: np.ndarray) -> Result:
        found = compiled({"images": images})
        return Result(found["labels"], found["confidence"])

    return run


def _int8(model: Any, source: Source) -> Any:
    """Convolutions in 8 bits, but of those that see the picture or score classes."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    classes = len(source.class_names)
    convolutions = {
        operation.get_friendly_name(): operation.input_value(1).get_partial_shape()  # (filters, channels, h, w)
        for operation in model.get_ordered_ops()
        if operation.get_type_name() == "Convolution"
    }
    kept = [
        name for name, shape in convolutions.items() if shape[1].get_length() == 3 or shape[0].get_length() <= classes
    ]
    others = sorted({operation.get_type_name() for operation in model.get_ordered_ops()} - {"Convolution"})
    return nncf.quantize(
        model,
        nncf.Dataset(source.calibration, lambda picture: picture[None]),
        subset_size=len(source.calibration),
        ignored_scope=nncf.IgnoredScope(names=kept, types=others),
        # It takes a layer's mean error for the same at every pixel, which it is not at borders: measured, labels that
        # agree fall from 99 to 96 %.
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
    )


ENTRY = Format(
    write,
    load,
    file=FILE,
    precisions=registry.EXPORT_PRECISIONS,
    packages={"openvino": "openvino"},
    packages_for={"int8": {"nncf": "nncf"}},
    memory=Memory(1.25, 3.9),
)
