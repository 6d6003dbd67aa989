"""--mode=serve in a real process: it starts, answers, and ends at once on SIGTERM; and what keeps it from starting."""

import importlib.util
import re
import signal
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from fcn_tf import serve
from fcn_tf.errors import UserError
from fcn_tf.io import images
from tests import processes, tiny_run

SECONDS = 300
CLASSES = np.array([[0, 1, 2], [2, 2, 1]])
PICTURE = images.encode_png(tiny_run.paint(CLASSES))
needs_packages = pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs the extra [serve]")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    tiny_run.write_run(folder)
    return folder


def test_missing_packages_are_named_with_the_command(logs, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = "pip install fastapi uvicorn python-multipart fastapi-offline"
    with pytest.raises(UserError, match=f"--mode=serve needs .*, which are not installed: {command}$") as found:
        serve.run(tiny_run.config("serve", logs))
    assert "\n" not in str(found.value)


@needs_packages
@pytest.mark.parametrize("host", ["no.such.host.invalid", "999.1.1.1"])
def test_an_address_that_is_none_is_named(logs, host):
    with pytest.raises(UserError, match=f"--host={host} is no address"):
        serve.run(tiny_run.config("serve", logs, host=host))


@needs_packages
def test_a_port_that_is_taken_is_named_before_the_model_is_loaded(logs, monkeypatch):
    monkeypatch.setattr(serve.segmenter, "of_run", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port={port} cannot be listened on .*give another --port"):
            serve.run(tiny_run.config("serve", logs, port=port))


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("port", 65536, "--port must be from 0 to 65535"),
        ("token", "two words", "--token must be 8 or more letters"),
        ("token", "short", "--token must be 8 or more letters"),
        ("host", " ", "--host must be an address"),
        ("request_megabytes", 0, "--request_megabytes must be 1 or more"),
        ("request_megapixels", 0, "--request_megapixels must be 1 or more"),
        ("request_seconds", 0.0, "--request_seconds must be a positive number"),
        ("queue_size", 0, "--queue_size must be 1 or more"),
    ],
)
def test_flags_are_checked(flag, value, message, tmp_path):
    with pytest.raises(UserError, match=message):
        tiny_run.config("serve", tmp_path, **{flag: value})


@needs_packages
def test_another_runtime_serves_the_runs_export(tmp_path, monkeypatch):
    """The export swaps red and green; the server itself is left out."""
    from fcn_tf.serving import app, server

    tiny_run.write_run(tmp_path)
    tiny_run.replace_onnxruntime(monkeypatch)
    served = []
    monkeypatch.setattr(app, "Server", lambda segmenter, **_: served.append(segmenter))
    monkeypatch.setattr(server, "run", lambda *_, **__: 143)
    choice = {"port": 0, "runtime": "onnxruntime", "quantize": "int8"}
    with pytest.raises(UserError, match="onnx-int8, which is not there; write it: --mode=export"):
        serve.run(tiny_run.config("serve", tmp_path, **choice))
    tiny_run.write_export(tmp_path)
    with pytest.raises(UserError, match="leave out --inference_precision and --tta, or --runtime"):
        serve.run(tiny_run.config("serve", tmp_path, **choice, tta=True))
    assert not served and serve.run(tiny_run.config("serve", tmp_path, **choice)) == 143
    assert served[0](tiny_run.paint(CLASSES)).labels.tolist() == [[1, 0, 2], [2, 2, 0]]
    with pytest.raises(UserError, match="--quantize=int8 is of exports; add --runtime="):
        serve.run(tiny_run.config("serve", tmp_path, quantize="int8"))


class Process:
    """`python main.py --mode=serve`.

    Attributes:
      process: the process.
      line: what it printed once it was ready.
      url: of the page.
    """

    def __init__(self, logs, *flags):
        self.process = processes.start("main.py", "--mode=serve", f"--logs_dir={logs}", "--port=0", *flags)
        self.line = ""
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        reader.join(SECONDS)
        found = re.search(r"http://[^ ]+", self.line)
        if not found:
            self.process.kill()
            raise AssertionError(f"the server did not start: {self.line}")
        self.url = found[0]

    def _read(self):
        while "serving " not in self.line and (line := self.process.stdout.readline()):
            self.line += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def fetch(url, data=None, **headers):
    """(status, body)."""
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@needs_packages
def test_it_starts_answers_and_ends_on_sigterm(logs):
    with Process(logs) as server:
        assert re.fullmatch(rf"serving {logs} at http://127\.0\.0\.1:\d+ \(Ctrl-C stops\)\n", server.line)
        status, body = fetch(f"{server.url}/v1/segment", PICTURE)
        assert status == 200
        np.testing.assert_array_equal(images.decode_label(body, name="answer"), CLASSES)
        # A body that is too large is read to its end, or the answer would be lost with the connection.
        status, body = fetch(f"{server.url}/v1/segment", bytes(40_000_000))
        assert status == 413 and b"more than 32 MB" in body
        status, body = fetch(f"{server.url}/v1/segment", PICTURE, **{"Content-Type": "multipart/form-data"})
        assert status == 422 and b"No boundary given" in body  # and nothing on the console
        idle = socket.create_connection(server.url.removeprefix("http://").split(":"), timeout=SECONDS)
        server.process.send_signal(signal.SIGTERM)
        output, _ = server.process.communicate(timeout=SECONDS)
        idle.close()
        assert server.process.returncode == 128 + signal.SIGTERM and output == ""


@needs_packages
def test_beyond_this_machine_a_token_is_made_and_asked_for(logs):
    with Process(logs, "--host=0.0.0.0") as server:
        port, token = re.search(r":(\d+)/\?token=([\w-]{32})", server.url).groups()
        address = f"http://127.0.0.1:{port}/v1/segment"
        assert fetch(address, PICTURE)[0] == 401
        assert fetch(address, PICTURE, Authorization=f"Bearer {token}")[0] == 200
        server.process.send_signal(signal.SIGINT)
        output, _ = server.process.communicate(timeout=SECONDS)
        assert server.process.returncode == 128 + signal.SIGINT and output == ""
