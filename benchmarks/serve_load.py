"""`--mode=serve` under load: requests from many clients at once, and malformed ones; rate, statuses and memory.

A real server on this machine, with an untrained network, is sent valid pictures of several sizes by `--clients`
threads, `--malformed` damaged requests, and the valid ones again. Its memory is read after each part; what the first
part takes is warming up (kernels of every size, the allocators), so growth is counted after it. `--requests=20
--clients=5 --malformed=50` takes a minute.
"""

import argparse
import collections
import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns, watching
from fcn_tf.errors import UserError
from fcn_tf.io import images

_SIZES = ((96, 128), (120, 160), (97, 131), (64, 64))  # height, width
_SECONDS = 600.0  # until an answer is given up
_BROKEN = "no answer"  # in place of a status: the connection was closed, as HTTP itself was broken
_REFUSED = ("400", "404", "405", "406", "408", "413", "415", "422", "431", _BROKEN)
_PATH = "/v1/segment"


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
      status: of HTTP, or `_BROKEN`.
      seconds: until the answer was read.
    """

    status: str
    seconds: float


class Server:
    """`python main.py --mode=serve` as a process; ends with the context."""

    def __init__(self, logs_dir: str):
        command = [sys.executable, "main.py", "--mode=serve", f"--logs_dir={logs_dir}", "--port=0", "--queue_size=1000"]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(  # nosec B603  # main.py
            command, cwd=common.ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        found = None
        for line in self._process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        if not found:
            raise UserError(f"the server ended with status {self._process.wait()}; see above.")
        self.port = int(found[1])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def memory(self) -> int:
        """Bytes of the resident set."""
        return watching.memory(self._process.pid)

    def open_files(self) -> int:
        """How many files and connections it has open."""
        return watching.open_files(self._process.pid)

    def stop(self) -> tuple[float, int]:
        """Sends SIGTERM while nothing is under way: (seconds until it has ended, exit status)."""
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(_SECONDS)
        return time.perf_counter() - began, status


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser, default="tiny")
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--requests", type=int, default=1000, help="valid ones, each time")
    parser.add_argument("--clients", type=int, default=200, help="at once")
    parser.add_argument("--malformed", type=int, default=1000)
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Puts a server under load; see `main` for the arguments."""
    memory: dict[str, int] = {}
    open_files: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        with turns.Worker(
            "benchmarks.inference:Untrained",
            logs_dir=folder,
            arch=args.arch,
            precision="float32",
            weights=common.weights_file(args.weights, folder),
        ) as untrained:
            untrained.ready()
        with Server(folder) as server:

            def note(when: str) -> None:
                time.sleep(1)  # connections are closed, buffers given back
                memory[when], open_files[when] = server.memory(), server.open_files()
                print(f"{when}: {memory[when] / 1e6:.0f} MB, {open_files[when]} open files")

            note("start")
            pictures = [encoded for number in range(8) for encoded in _pictures(number)]
            valid = [partial(_post, server.port, pictures[i % len(pictures)]) for i in range(args.requests)]
            _together(valid, args.clients)
            note("warm")
            first, seconds = _together(valid, args.clients)
            note("after valid requests")
            broken, _ = _together(list(_malformed(server.port, args.malformed, pictures)), args.clients // 10 or 1)
            note("after malformed requests")
            again, seconds_again = _together(valid, args.clients)
            note("after valid requests again")
            stopping, status = server.stop()
    faults = [each for each in broken if each.status not in ("200", *_REFUSED)]
    wrong = [each for each in (*first, *again) if each.status != "200"]
    last = "after valid requests again"
    return {
        "rows": [
            common.row(
                f"requests a second, {args.clients} at once", args.requests / min(seconds, seconds_again), "1/s"
            ),
            common.row("median time of an answer", statistics.median(each.seconds for each in again), "s"),
            common.row("valid requests that failed", len(wrong), "", most=0),
            common.row(f"faults after {args.malformed} malformed requests", len(faults), "", most=0),
            common.row(
                "memory afterwards against that when warm", memory[last] / memory["warm"], "x", most=watching.FLAT
            ),
            common.row(
                "open files afterwards beyond those when warm", open_files[last] - open_files["warm"], "", most=0
            ),
            common.row("from SIGTERM to the end", stopping, "s", note=f"exit status {status}"),
        ],
        "memory_bytes": memory,
        "open_files": open_files,
        "statuses": {
            "valid": dict(collections.Counter(each.status for each in (*first, *again))),
            "malformed": dict(collections.Counter(each.status for each in broken)),
        },
    }


def _pictures(seed: int) -> Iterator[bytes]:
    for height, width in _SIZES:
        yield images.encode_jpeg(scenes.scene(seed, width=width, height=height)[0])


def _together(requests: Sequence[Callable[[], Answer]], clients: int) -> tuple[list[Answer], float]:
    """Sends requests by so many threads, which begin at once; the answers, and the seconds that all took."""
    start = threading.Barrier(clients)
    with ThreadPoolExecutor(clients, initializer=start.wait) as pool:
        began = time.perf_counter()
        found = list(pool.map(lambda send: send(), requests))
        return found, time.perf_counter() - began


def _post(port: int, body: bytes, *, path: str = _PATH, **headers: str) -> Answer:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        response.read()
        status = str(response.status)
    except (OSError, http.client.HTTPException):
        status = _BROKEN
    finally:
        connection.close()
    return Answer(status, time.perf_counter() - began)


def _raw(port: int, data: bytes) -> Answer:
    """Sends bytes that need not be HTTP, closes that side, and reads the status line, if one comes."""
    began = time.perf_counter()
    line = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                line = answer.readline()
                answer.read()
    except OSError:
        pass
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", line)
    return Answer(found[1].decode() if found else _BROKEN, time.perf_counter() - began)


def _malformed(port: int, count: int, pictures: Sequence[bytes]) -> Iterator[Callable[[], Answer]]:
    """Requests of several kinds in turn; the same ones each time."""
    rng = np.random.default_rng(0)
    head, form = (
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\n",
        {"Content_Type": "multipart/form-data; boundary=b"},
    )
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%s\r\n--b--\r\n'
    bomb = images.encode_png(np.zeros((8, 8), np.uint8))
    bomb = bomb[:16] + (60_000).to_bytes(4) + (60_000).to_bytes(4) + bomb[24:]  # its header says 3.6 thousand million
    for number in range(count):
        picture = pictures[number % len(pictures)]
        noise, cut = rng.bytes(int(rng.integers(1, 2000))), int(rng.integers(1, len(picture)))
        changed = np.frombuffer(picture, np.uint8).copy()
        changed[rng.integers(0, len(changed), 20)] = rng.integers(0, 256, 20)
        kinds: tuple[Callable[[], Answer], ...] = (
            partial(_post, port, picture[:cut]),
            partial(_post, port, changed.tobytes()),
            partial(_post, port, noise),
            partial(_post, port, b""),
            partial(_post, port, bomb),
            partial(_post, port, (part % picture)[:cut], **form),
            partial(_post, port, part % noise, **form),
            partial(_post, port, picture, path=f"{_PATH}?format=%00&opacity=many"),
            partial(_raw, port, noise),
            partial(_raw, port, head + b"Content-Length: %d\r\n\r\n" % len(picture) + picture[:cut]),
            partial(_raw, port, head + b"Content-Length: many\r\n\r\n"),
            partial(_raw, port, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            partial(_raw, port, head + b"X: " + b"x" * 100_000 + b"\r\n\r\n"),
        )
        yield kinds[number % len(kinds)]


if __name__ == "__main__":
    common.run(main)
