"""Two workers on this machine, ended in every way: the same command for both gives what one left alone gives."""

import json
import os
import re
import signal
import socket

import pytest

from fcn_tf.io import run_dir
from fcn_tf.io.run_dir import Run
from tests import processes, tiny_training

WITHIN = 60  # seconds in which a worker ends once another one is lost, as docs/distributed.md says
FLAGS = ["--arch=fcn8s", "--image_size=32", "--batch_size=4", "--log_every=1", "--save_every=5", "--eval_every=1000000"]

CONNECT = """
import sys
from fcn_tf.errors import WorkerLost
from fcn_tf.training import distribution

distribution._CONNECTING = 3.0
try:
    distribution.choose_strategy()
except WorkerLost as error:
    print(f"error: {error}", flush=True)
    sys.exit(error.status)
"""


@pytest.fixture
def train(tmp_path):
    """Starts both workers of a training in a folder; what is left of them ends with the test."""
    data_dir, weights = tiny_training.write_camvid(tmp_path / "data"), tiny_training.write_weights(tmp_path)
    command = ["main.py", "--mode=train", "--dataset=camvid", f"--data_dir={data_dir}", f"--weights={weights}", *FLAGS]
    started = []

    def start(name, max_steps):
        flags = [f"--logs_dir={tmp_path / name}", f"--max_steps={max_steps}"]
        both = [processes.start(*command, *flags, **each) for each in processes.workers(2)]
        started.extend(both)
        return both

    yield start
    for process in started:
        process.kill()
        process.communicate()


def newest(folder):
    return max(run_dir.checkpoint_steps(Run(str(folder)).checkpoints), default=0)


def losses(folder):
    return {row["step"]: row["train_loss"] for row in Run(str(folder)).read_training()}


@pytest.mark.slow
def test_whoever_is_stopped_or_lost_the_same_command_gives_the_losses_of_an_undisturbed_training(train, tmp_path):
    """SIGTERM to both at once, kill -9 of the chief, then of the other."""

    def started_again():
        before = newest(tmp_path / "run")
        both = train("run", 1_000_000)
        processes.wait_for(lambda: newest(tmp_path / "run") > before, both[0])
        return both, before

    both, _ = started_again()
    for process in both:
        process.send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [143, 143], outputs
    stopped_at = newest(tmp_path / "run")
    chief, other = (re.findall(r"^stopped by SIGTERM after (.*)$", output, re.M) for output in outputs)
    assert chief == [f"step {stopped_at}, saved; the same command continues there"], outputs
    assert other == [f"step {stopped_at}; the chief saves"] and "Traceback" not in "".join(outputs), outputs

    for lost in (0, 1):
        both, before = started_again()
        both[lost].kill()
        output, _ = both[1 - lost].communicate(timeout=WITHIN)
        assert both[1 - lost].returncode == 75, output
        *earlier, last = output.splitlines()
        at = newest(tmp_path / "run")
        assert f"resumed at step {before}" in earlier and "Traceback" not in output, output
        assert re.fullmatch(rf"error: lost another worker \(localhost:\d+\); .* training resumes at step {at}\.", last)

    end = newest(tmp_path / "run") + 5
    for name in ("run", "whole"):
        for process in train(name, end):
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
    assert losses(tmp_path / "run") == losses(tmp_path / "whole") and list(losses(tmp_path / "whole"))[-1] == end
    histories = [Run(str(tmp_path / name)).read_history() for name in ("run", "whole")]
    assert histories[0][0]["val_loss"] == histories[1][0]["val_loss"] and len(histories[0]) == len(histories[1]) == 1
    assert os.path.exists(Run(str(tmp_path / "run")).model)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_one_that_is_lost_while_they_connect_is_not_waited_for(index):
    """The other one is a port that answers, so that TensorFlow begins, and says no more."""
    environment = processes.workers(2)[index]
    config = json.loads(environment["TF_CONFIG"])
    port = int(config["cluster"]["worker"][1 - index].rpartition(":")[2])
    with socket.create_server(("localhost", port)):
        process = processes.start("-c", CONNECT, **environment)
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 75, output
    assert re.search(r"^error: TensorFlow cannot connect the workers of TF_CONFIG \([^.]*\); restart all", output, re.M)
    assert "Traceback" not in output and "most recent call" not in output
