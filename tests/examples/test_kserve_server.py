"""`examples/kserve_server.py`: its model with what it needs of KServe, and whole, behind KServe's own server.

The programs of docs/export.md that speak the v2 protocol ask both, and Triton, which PyTriton brings along.
"""

import argparse
import asyncio
import concurrent.futures
import importlib.util
import io
import json
import os
import signal
import sys
import types
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from fcn_tf import registry
from tests import processes
from tests.conftest import ROOT
from tests.formats.test_serving_commands import programs
from tests.inference.test_exported import write

SCRIPT = ROOT / "examples/kserve_server.py"
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 37, 53, 3)).astype(np.uint8)
JSON = {"Content-Type": "application/json"}
FORMATS = pytest.mark.parametrize("name", ["savedmodel", "onnx"])


def direct(name, folder, images):
    """What an export says in its own runtime."""
    return registry.resolve(registry.EXPORTS[name]).load(str(folder))(images)


def tensor(images, **changes):
    """As the protocol has it, but for `changes`."""
    said = {"name": "images", "shape": images.shape, "datatype": "UINT8", "data": images.ravel().tolist()}
    return said | changes


def asked(base, monkeypatch, tmp_path):
    """The outputs that the programs of docs/export.md get for a photo, from a server at `base`."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PICTURE[0]).save("photo.jpg", format="PNG")
    texts = programs("/infer")
    assert len(texts) == 2 and all("http://localhost:8000/" in text for text in texts)
    for text in texts:
        names: dict = {}
        exec(text.replace("http://localhost:8000", base), names)
        yield names["outputs"]


def check(outputs, wanted):
    """Labels and confidence are those of the export, bit for bit."""
    assert set(outputs) == {"labels", "confidence"}
    np.testing.assert_array_equal(outputs["labels"], wanted.labels)
    np.testing.assert_array_equal(np.asarray(outputs["confidence"], np.float32), wanted.confidence)


# What the model needs of KServe, for where that is not installed.


class Model:
    def __init__(self, name):
        self.name, self.ready = name, False


class Input(types.SimpleNamespace):
    def as_numpy(self):
        return np.frombuffer(self.raw, np.uint8).reshape(self.shape)


class Request(types.SimpleNamespace):
    def get_input_by_name(self, name):
        return next((each for each in self.inputs if each.name == name), None)


class Output:
    def __init__(self, name, shape, datatype):
        self.name, self.shape, self.datatype = name, shape, datatype

    def set_data_from_numpy(self, array):
        assert list(array.shape) == self.shape
        self.array = array


class Response:
    def __init__(self, response_id, model_name, infer_outputs, *, use_binary_outputs, requested_outputs):
        assert isinstance(response_id, str) and requested_outputs is None
        self.outputs, self.binary = infer_outputs, use_binary_outputs


@pytest.fixture
def script(monkeypatch):
    """The script, imported."""
    kserve, errors = types.ModuleType("kserve"), types.ModuleType("kserve.errors")
    errors.InvalidInput = type("InvalidInput", (ValueError,), {})
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--model_name", default="model")
    kserve.model_server = types.SimpleNamespace(parser=parser)
    kserve.Model, kserve.InferRequest, kserve.InferOutput, kserve.InferResponse = Model, Request, Output, Response
    monkeypatch.setitem(sys.modules, "kserve", kserve)
    monkeypatch.setitem(sys.modules, "kserve.errors", errors)
    spec = importlib.util.spec_from_file_location("kserve_server", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def request_of(body, headers):
    """A request as KServe hands it over, of what a program sends."""
    length = int(headers.get("Inference-header-content-length", len(body)))
    said, at, inputs = json.loads(body[:length]), length, []
    for each in said["inputs"]:
        size = each.get("parameters", {}).get("binary_data_size", 0)
        inputs.append(Input(**{"data": None} | each, raw=body[at : at + size]))
        at += size
    assert at == len(body)
    binary = said.get("parameters", {}).get("binary_data_output", False)
    return Request(id=None, inputs=inputs, use_binary_outputs=binary, request_outputs=None)


def answer_of(response):
    """What KServe answers: (body, headers)."""
    outputs = [{"name": each.name, "shape": each.shape, "datatype": each.datatype} for each in response.outputs]
    if not response.binary:
        for said, each in zip(outputs, response.outputs, strict=True):
            said["data"] = each.array.ravel().tolist()
        return json.dumps({"outputs": outputs}).encode(), {}
    for said, each in zip(outputs, response.outputs, strict=True):
        said["parameters"] = {"binary_data_size": each.array.nbytes}
    head = json.dumps({"outputs": outputs}).encode()
    content = b"".join(each.array.tobytes() for each in response.outputs)
    return head + content, {"Inference-Header-Content-Length": str(len(head))}


@FORMATS
def test_programs_of_the_document_get_what_the_export_says(name, script, tmp_path, monkeypatch):
    folder = write(tmp_path / name, name)
    model = script.Segmenter("fcn", folder)
    assert model.ready and model.get_input_types()[0]["shape"] == [-1, -1, -1, 3]
    types_of = {each["name"]: each["datatype"] for each in model.get_output_types()}
    assert types_of == {"labels": "UINT8", "confidence": "FP32"}

    def urlopen(request):
        assert request.full_url == "http://localhost:8000/v2/models/fcn/infer"
        kind = request.headers["Content-type"]  # KServe parses no JSON without it
        assert (kind == JSON["Content-Type"]) != ("Inference-header-content-length" in request.headers)
        body, headers = answer_of(asyncio.run(model.predict(request_of(request.data, request.headers))))
        answer = io.BytesIO(body)
        answer.headers = headers
        return answer

    wanted = direct(name, folder, PICTURE)
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    for outputs in asked("http://localhost:8000", monkeypatch, tmp_path):
        check(outputs, wanted)


def test_two_pictures_in_a_request(script, tmp_path):
    folder = write(tmp_path / "export", "savedmodel")
    two = np.concatenate([PICTURE, 255 - PICTURE])
    body = json.dumps({"inputs": [tensor(two)]}).encode()
    response = asyncio.run(script.Segmenter("fcn", folder).predict(request_of(body, {})))
    check({each.name: each.array for each in response.outputs}, direct("savedmodel", folder, two))


SMALL = np.zeros((1, 2, 2, 3), np.uint8)
EXPECTED = r"expected images UINT8 \[batch, height, width, 3\], RGB"
BAD = [
    ([], f"inputs are none; {EXPECTED}"),
    ([tensor(SMALL, name="image")], f"inputs are image UINT8 .*; {EXPECTED}"),
    ([tensor(SMALL, datatype="FP32")], EXPECTED),
    ([tensor(SMALL, shape=[2, 2, 3])], EXPECTED),
    ([tensor(SMALL, shape=[1, 2, 2, 4], data=[0] * 16)], EXPECTED),
    ([tensor(SMALL, shape=[-1, 2, 2, 3])], EXPECTED),
    ([tensor(SMALL, shape=[1, 2**40, 2**40, 3])], r"images has 12 numbers; its shape .* needs 3\d+"),
    ([tensor(SMALL, data=[0] * 11)], "images has 11 numbers; its shape .* needs 12"),
    ([tensor(SMALL, data=[[0], [0, 1]])], "images: .*inhomogeneous"),
    ([tensor(SMALL, data=[0.9] * 12)], r"not integers in \[0, 255\]"),
    ([tensor(SMALL, data=[256] * 12)], r"not integers in \[0, 255\]"),
    ([tensor(SMALL, data=[-1] * 12)], r"not integers in \[0, 255\]"),
    ([tensor(SMALL, data=["a"] * 12)], r"not integers in \[0, 255\]"),
]


@pytest.mark.parametrize(("inputs", "reason"), BAD)
def test_another_input_than_the_models_is_refused(inputs, reason, script):
    with pytest.raises(sys.modules["kserve.errors"].InvalidInput, match=reason):
        script.pictures(request_of(json.dumps({"inputs": inputs}).encode(), {}))


def test_bytes_that_are_too_few_are_refused(script):
    cut = Input(name="images", shape=[1, 2, 2, 3], datatype="UINT8", data=[], raw=bytes(11))
    with pytest.raises(sys.modules["kserve.errors"].InvalidInput, match="images: cannot reshape"):
        script.pictures(Request(inputs=[cut]))


def test_a_folder_without_an_export_is_a_mistake_of_one_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kserve_server.py", f"--model_dir={tmp_path}"])
    assert script.main() == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} has neither model.onnx nor saved_model.pb;")


# KServe's own server, and Triton.


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def post(base, inputs):
    """(status, JSON of the answer)."""
    request = urllib.request.Request(f"{base}/v2/models/fcn/infer", json.dumps({"inputs": inputs}).encode(), JSON)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def wait_for(base, process):
    def ready():
        try:
            get(f"{base}/v2/models/fcn/ready")
        except OSError:
            return False
        return True

    processes.wait_for(ready, process)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("kserve") is None, reason="needs pip install kserve")
@FORMATS
def test_kserves_server(name, tmp_path, monkeypatch):
    folder = write(tmp_path / name, name)
    port = processes.free_port()
    base = f"http://localhost:{port}"
    flags = [f"--model_dir={folder}", "--model_name=fcn", f"--http_port={port}", "--enable_grpc=false"]
    process = processes.start(str(SCRIPT), *flags)
    try:
        wait_for(base, process)
        assert get(f"{base}/v2/health/ready") == {"ready": True}
        said = get(f"{base}/v2/models/fcn")
        assert said["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
        wanted = direct(name, folder, PICTURE)
        for outputs in asked(base, monkeypatch, tmp_path):
            check(outputs, wanted)

        def labels(images):
            status, answer = post(base, [tensor(images)])
            assert status == 200, answer
            return next(
                np.reshape(each["data"], each["shape"]) for each in answer["outputs"] if each["name"] == "labels"
            )

        others = [np.roll(PICTURE, number, axis=3) for number in range(3)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for found, images in zip(pool.map(labels, others), others, strict=True):
                np.testing.assert_array_equal(found, direct(name, folder, images).labels)
        for inputs, _ in BAD:
            status, answer = post(base, inputs)
            assert status == 400 and set(answer) == {"error"}, answer
        np.testing.assert_array_equal(labels(PICTURE), wanted.labels)  # it goes on
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert f"Uvicorn running on http://0.0.0.0:{port}" in output


TRITON = """
import sys

import numpy as np
import onnxruntime
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

session = onnxruntime.InferenceSession(sys.argv[1])
types = {"labels": np.uint8, "confidence": np.float32}
outputs = [Tensor(name=name, dtype=dtype, shape=(-1, -1, -1)) for name, dtype in types.items()]


def label(requests):
    return [dict(zip(types, session.run(list(types), {"images": request["images"]}))) for request in requests]


config = TritonConfig(http_port=int(sys.argv[2]), http_address="127.0.0.1", allow_grpc=False, allow_metrics=False)
with Triton(config=config) as triton:
    inputs = [Tensor(name="images", dtype=np.uint8, shape=(-1, -1, -1, 3))]
    triton.bind("fcn", label, inputs, outputs, config=ModelConfig(batching=False))
    triton.serve()
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="needs pip install nvidia-pytriton")
def test_tritons_server(tmp_path, monkeypatch):
    """Not its ONNX backend, which PyTriton leaves out, but its HTTP: a function runs the file."""
    folder = write(tmp_path / "onnx", "onnx")
    (tmp_path / "server.py").write_text(TRITON)
    base = f"http://127.0.0.1:{(port := processes.free_port())}"
    libraries = os.path.join(sys.base_prefix, "lib")  # that of Python, which Triton's backend loads
    process = processes.start(
        str(tmp_path / "server.py"), str(folder / "model.onnx"), str(port), LD_LIBRARY_PATH=libraries
    )
    try:
        wait_for(base, process)
        for outputs in asked(base, monkeypatch, tmp_path):
            check(outputs, direct("onnx", folder, PICTURE))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
