"""The programs of docs/export.md that ask a model server, against exports behind the two protocols they speak."""

import importlib.util
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests import tiny_run
from tests.conftest import ROOT
from tests.inference.test_exported import write

SEEN = np.arange(5 * 7).reshape(5, 7) % 3
V2_TYPES = {"UINT8": "tensor(uint8)", "FP32": "tensor(float)"}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """{a part of its URL: the program's text}; the folder has the photo that they send."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(tiny_run.paint(SEEN)).save("photo.jpg", format="PNG")
    texts = re.findall(r"^python - <<'PYTHON'\n(.*?)^PYTHON$", (ROOT / "docs/export.md").read_text(), re.M | re.S)
    return {word: text for text in texts for word in (":predict", "/infer") if word in text}


def answered(program, answer, monkeypatch):
    """The names that a program leaves, with `answer(url, body)` in place of a server."""
    monkeypatch.setattr(
        "urllib.request.urlopen",
        lambda url, body: io.BytesIO(json.dumps(answer(url, json.loads(body))).encode()),
    )
    names: dict = {}
    exec(program, names)
    return names


def test_tensorflow_serving(programs, tmp_path, monkeypatch):
    """Row format of its REST API: one input, so a row is its value; several outputs, so a prediction is an object."""
    import tensorflow as tf

    serve = tf.saved_model.load(str(write(tmp_path / "savedmodel", "savedmodel"))).signatures["serving_default"]
    (spec,) = serve.structured_input_signature[1].values()
    assert (spec.name, spec.dtype) == ("images", tf.uint8)

    def answer(url, body):
        assert url == "http://localhost:8501/v1/models/fcn:predict" and set(body) == {"instances"}
        found = serve(images=tf.constant(body["instances"], spec.dtype))
        rows = {name: tensor.numpy().tolist() for name, tensor in found.items()}
        return {"predictions": [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]}

    found = answered(programs[":predict"], answer, monkeypatch)
    np.testing.assert_array_equal(found["labels"], SEEN)


def test_the_open_inference_protocol(programs, tmp_path, monkeypatch):
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs onnxruntime")
    import onnxruntime

    path = write(tmp_path / "onnx", "onnx") / "model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def answer(url, body):
        assert url == "http://localhost:8000/v2/models/fcn/infer"
        (tensor,), (wanted,) = body["inputs"], session.get_inputs()
        assert (tensor["name"], V2_TYPES[tensor["datatype"]]) == (wanted.name, wanted.type)
        outputs = session.run(None, {tensor["name"]: np.array(tensor["data"], np.uint8).reshape(tensor["shape"])})
        names = [each.name for each in session.get_outputs()]
        return {
            "outputs": [
                {"name": name, "shape": array.shape, "datatype": "UINT8", "data": array.ravel().tolist()}
                for name, array in zip(names, outputs, strict=True)
            ]
        }

    found = answered(programs["/infer"], answer, monkeypatch)["outputs"]
    np.testing.assert_array_equal(found["labels"][0], SEEN)
    np.testing.assert_allclose(found["confidence"], np.e / (np.e + 2), rtol=1e-5)
