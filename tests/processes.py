"""Programs that tests start as processes of their own: signals end a process, and TensorFlow's devices precede it."""

import json
import os
import re
import socket
import subprocess
import sys
import time

from tests.conftest import ROOT

ENVIRONMENT = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}

# What libraries say to those who did not ask: TensorFlow's and gRPC's log lines, advice about processors and tracing.
CHATTER = re.compile(r"^([IWEF]\d{4} |WARNING|INFO|\d{4}-\d\d-\d\d ).*|.*(oneDNN|gRPC|grpc|endezvous|XLA|absl).*", re.M)


def start(*arguments, **environment):
    """Starts Python in the repository's root; what it prints, errors too, is read with `communicate`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(happened, process, seconds=300):
    """Returns once `happened()` is true; fails if the process ends first."""
    deadline = time.monotonic() + seconds
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the process ended, or took too long:\n{process.communicate()[0]}")
        time.sleep(0.05)


def workers(count):
    """The environment of each of `count` workers on this machine that train together."""
    cluster = {"worker": [f"localhost:{free_port()}" for _ in range(count)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(count)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks] if count > 1 else [{}]


def free_port():
    """A TCP port that nothing listens on."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]
