"""The program of docs/export.md that asks TensorFlow Serving, against an export behind its REST API.

Those that speak KServe's v2 protocol are run by tests/examples/test_kserve_server.py.
"""

import io
import json
import re

import numpy as np
from PIL import Image

from tests import tiny_run
from tests.conftest import ROOT
from tests.inference.test_exported import write

SEEN = np.arange(5 * 7).reshape(5, 7) % 3


def programs(word):
    """Those in docs/export.md in which a word stands."""
    texts = re.findall(r"^python - <<'PYTHON'\n(.*?)^PYTHON$", (ROOT / "docs/export.md").read_text(), re.M | re.S)
    return [text for text in texts if word in text]


def test_tensorflow_serving(tmp_path, monkeypatch):
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

    monkeypatch.setattr(
        "urllib.request.urlopen",
        lambda url, body: io.BytesIO(json.dumps(answer(url, json.loads(body))).encode()),
    )
    monkeypatch.chdir(tmp_path)
    Image.fromarray(tiny_run.paint(SEEN)).save("photo.jpg", format="PNG")
    (program,) = programs(":predict")
    found: dict = {}
    exec(program, found)
    np.testing.assert_array_equal(found["labels"], SEEN)
