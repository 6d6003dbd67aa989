"""Serves an export by KServe's v2 protocol (the Open Inference Protocol), behind KServe's own model server.

    pip install kserve onnxruntime  # tested with KServe 0.21; tensorflow in place of onnxruntime for a SavedModel
    python examples/kserve_server.py --model_dir=logs/export/onnx --model_name=fcn --http_port=8000

takes the folder of `--format=onnx` or `--format=savedmodel`, and needs nothing of fcn_tf. `POST /v2/models/fcn/infer`
takes `images` and gives `labels` and `confidence`, as JSON or as binary tensors, and gRPC the same. One request is
labelled at a time, since each uses every core; the others wait. The server listens on all addresses and asks for no
token.
"""

import argparse
import asyncio
import json
import math
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import kserve
import numpy as np
from kserve.errors import InvalidInput

_OUTPUTS = ["labels", "confidence"]
_TYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}  # NumPy's names: the protocol's


class Segmenter(kserve.Model):
    """An export as a model of KServe's.

    Args:
      name: in the addresses.
      folder: that `--mode=export` wrote.
    """

    def __init__(self, name: str, folder: Path):
        super().__init__(name)
        self._described = json.loads((folder / "classes.json").read_bytes())
        self._label = load(folder)
        self._turn = asyncio.Lock()
        self.ready = True

    def get_input_types(self) -> list[dict]:
        """What `GET /v2/models/NAME` says of the input."""
        return [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]

    def get_output_types(self) -> list[dict]:
        """What it says of the outputs."""
        types = {name: _TYPES[said.split()[0]] for name, said in self._described["outputs"].items()}
        return [{"name": name, "datatype": types[name], "shape": [-1, -1, -1]} for name in _OUTPUTS]

    async def predict(self, payload, headers=None, response_headers=None) -> kserve.InferResponse:
        """Labels one request, in a thread: the server answers others meanwhile."""
        images = pictures(payload)
        async with self._turn:
            found = await asyncio.to_thread(self._label, images)
        outputs = []
        for name, array in found.items():
            outputs.append(kserve.InferOutput(name, list(array.shape), _TYPES[array.dtype.name]))
            outputs[-1].set_data_from_numpy(array)
        return kserve.InferResponse(
            payload.id or str(uuid.uuid4()),  # the protocol leaves it to the client, KServe wants one
            self.name,
            outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def load(folder: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function of uint8 (B, H, W, 3) RGB that gives "labels" and "confidence", (B, H, W) each."""
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=onnxruntime.get_available_providers())
        return lambda images: dict(zip(_OUTPUTS, session.run(_OUTPUTS, {"images": images}), strict=True))
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))

    def label(images: np.ndarray) -> dict[str, np.ndarray]:
        found = loaded.signatures["serving_default"](images=tf.constant(images))
        return {name: found[name].numpy() for name in _OUTPUTS}

    return label


def pictures(request: kserve.InferRequest) -> np.ndarray:
    """The tensor "images" of a request, uint8 (B, H, W, 3).

    Raises:
      InvalidInput: if it is not there or another one; the server answers 400.
    """
    given = request.get_input_by_name("images")
    told = ", ".join(f"{each.name} {each.datatype} {each.shape}" for each in request.inputs) or "none"
    shape = [] if given is None else list(given.shape)
    if given is None or given.datatype != "UINT8" or len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        raise InvalidInput(f"inputs are {told}; expected images UINT8 [batch, height, width, 3], RGB")
    try:  # not as_numpy() of a list: it makes 0 of 0.9
        values = np.array(given.data) if isinstance(given.data, list) and given.data else given.as_numpy()
    except ValueError as error:
        raise InvalidInput(f"images: {error}") from error
    if values.size != math.prod(shape):
        raise InvalidInput(f"images has {values.size} numbers; its shape {shape} needs {math.prod(shape)}")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise InvalidInput("images has numbers that are not integers in [0, 255]")
    return values.astype(np.uint8).reshape(shape)


def main() -> int:
    """Serves until a signal comes; returns the exit status."""
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser], allow_abbrev=False)
    parser.add_argument("--model_dir", type=Path, required=True, help="folder of an export, ONNX or SavedModel")
    flags = parser.parse_args()
    if not any((flags.model_dir / name).exists() for name in ("model.onnx", "saved_model.pb")):
        print(
            f"error: {flags.model_dir} has neither model.onnx nor saved_model.pb; give a folder that --mode=export "
            "--format=onnx or --format=savedmodel wrote.",
            file=sys.stderr,
        )
        return 2
    kserve.ModelServer().start([Segmenter(flags.model_name, flags.model_dir)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
