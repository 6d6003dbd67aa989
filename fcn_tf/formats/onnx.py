"""ONNX, run by ONNX Runtime, and by OpenCV's DNN module, TensorRT and others."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcn_tf import registry
from fcn_tf.formats.base import Format, Memory, Result, Runner, Source
from fcn_tf.io import files

FILE = "model.onnx"
_OPSET = 17  # of 2022: runtimes of many ages read it
# With the ReLU after it a convolution needs no 8-bit values for what is below zero; pooling loses nothing in 8 bits.
_IN_8_BITS = ("Conv", "Relu", "MaxPool")
PACKAGES = {"tf2onnx": "tf2onnx", "onnx": "onnx", "onnxruntime": "onnxruntime"}
MEMORY = Memory(1.1, 5.5)


def write(source: Source, folder: str, precision: str) -> None:
    """Writes model.onnx; "class_names" in its metadata is a JSON list."""
    files.write_bytes(files.join(folder, FILE), content(source, precision))


def content(source: Source, precision: str) -> bytes:
    """The content of model.onnx."""
    import onnx

    model = _PRECISIONS[precision](_convert(source), source)
    onnx.helper.set_model_props(model, {"class_names": json.dumps(source.class_names)})
    return model.SerializeToString()


def load(folder: str) -> Runner:
    """Runs model.onnx in ONNX Runtime."""
    return runner(files.read_bytes(files.join(folder, FILE)))


def runner(data: bytes) -> Runner:
    """Runs the content of a model.onnx in ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> Result:
        return Result(*session.run(["labels", "confidence"], {"images": images}))

    return run


def _convert(source: Source) -> Any:
    """The model as ONNX, in float32."""
    import tf2onnx

    from fcn_tf.formats import graph

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    # With the weights in the graph, the conversion of a VGG of full width takes more than 21 GB.
    function, weights = graph.Segmenter(source.model).without_kernels()
    model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=_OPSET)
    _fill_in(model, weights)
    return model


def _fill_in(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Makes weights of what are inputs, transposed where a node does no more than that."""
    import onnx

    graph, filled = model.graph, dict(weights)
    transposed = [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]
    for node in transposed:
        (order,) = (attribute.ints for attribute in node.attribute if attribute.name == "perm")
        filled[node.output[0]] = weights[node.input[0]].transpose(order)
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name in [name for name in filled if name in used]:
        graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(filled[name]), name))
    for each in [each for each in graph.input if each.name in weights]:
        graph.input.remove(each)


def _float32(model: Any, source: Source) -> Any:
    del source  # it has the weights only
    return model


def _float16(model: Any, source: Source) -> Any:
    """Weights and activations of 16 bits; pictures, labels and confidence as they are."""
    from onnxruntime.transformers import float16

    del source
    return float16.convert_float_to_float16(model, keep_io_types=True)


def _int8(model: Any, source: Source) -> Any:
    """Weights and activations of convolutions in 8 bits, but of those that see the picture or score classes."""
    import onnx
    from onnxruntime import quantization

    kernels = {each.name: tuple(each.dims) for each in model.graph.initializer}  # (filters, channels, h, w)
    convolutions = {
        node.name: kernels[node.input[1]]
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] in kernels
    }
    classes = len(source.class_names)
    kept = [name for name, (filters, channels, *_) in convolutions.items() if channels == 3 or filters <= classes]
    logging.getLogger().addFilter(_quiet)
    try:
        with files.temporary_folder() as folder:
            before, after = (files.join(folder, name) for name in ("float.onnx", "int8.onnx"))
            files.write_bytes(before, model.SerializeToString())
            quantization.quantize_static(
                before,
                after,
                _Pictures(source.calibration),
                op_types_to_quantize=list(_IN_8_BITS),
                nodes_to_exclude=kept,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
            return onnx.load_model_from_string(files.read_bytes(after))
    finally:
        logging.getLogger().removeFilter(_quiet)


def _quiet(record: logging.LogRecord) -> bool:
    """Leaves out the advice to fold constants first, which the graph's optimiser has done."""
    return "pre-processing before quantization" not in record.getMessage()


class _Pictures:
    """Hands pictures to ONNX Runtime's calibration, one at a time."""

    def __init__(self, pictures: Sequence[np.ndarray]):
        self._feeds = iter([{"images": picture[None]} for picture in pictures])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The inputs of the next run; None after the last."""
        return next(self._feeds, None)


_PRECISIONS = dict(zip(registry.EXPORT_PRECISIONS, (_float32, _float16, _int8), strict=True))
ENTRY = Format(write, load, file=FILE, precisions=registry.EXPORT_PRECISIONS, packages=PACKAGES, memory=MEMORY)
