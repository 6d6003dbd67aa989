"""`examples/ray_predict.py` on a cluster of this machine: the files of one process, whoever is killed meanwhile."""

import json
import os
import signal
import time

import numpy as np
import pytest

from fcn_tf.io import images
from tests import processes, tiny_run
from tests.examples import clusters

pytestmark = [pytest.mark.slow, clusters.needs_ray]
COUNT = 240


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, photos in folders, one of them damaged, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("whole")
    tiny_run.write_run(folder / "logs")
    random = np.random.default_rng(0)
    for number in range(COUNT):
        path = folder / "in" / f"{number % 7}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode_png(tiny_run.paint(random.integers(0, 3, (24, 32)))))
    (folder / "in/0/damaged.jpg").write_bytes(b"\xff\xd8 cut short")
    process = processes.start("main.py", "--mode=predict", *flags(folder, folder / "one"))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and f"{COUNT} of {COUNT + 1} labelled" in output
    return folder


def flags(folder, out):
    return [f"--logs_dir={folder}/logs", f"--input={folder}/in", f"--output_dir={out}", "--inference_precision=float32"]


def start(folder, out, environment, *more):
    own = ["--actors=1", "--cpus=2", "--batch=4"]
    return processes.start("examples/ray_predict.py", *flags(folder, out), *own, *more, **environment)


def content(folder):
    """{path: bytes} of every file, less the times and settings that a journal has."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    journal = json.loads(found.pop("predict.json"))["results"]
    return {path: data for path, data in found.items() if not path.rpartition("/")[2].startswith(".")}, journal


def test_kills_of_worker_and_driver_leave_the_files_of_one_process(whole, tmp_path):
    out = tmp_path / "out"

    def labelled():
        return len(list(out.rglob("*_label.png")))

    with clusters.environment() as environment:
        # The driver, once, in the middle: what it started ends with it.
        process = start(whole, out, environment)
        processes.wait_for(lambda: labelled() > 8, process)
        others = list(clusters.below(process.pid))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert 0 < labelled() < COUNT and len(others) > 3
        deadline = time.monotonic() + 120
        while clusters.alive(others) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not clusters.alive(others)

        # An actor, twice, each time another one.
        process = start(whole, out, environment)
        killed = []
        for more in (20, 60):
            before = labelled()

            def moved(more=more, before=before):
                actors = [pid for pid in clusters.with_title(process, "ray::MapWorker") if pid not in killed]
                return labelled() >= min(before + more, COUNT - 40) and len(actors) == 1 and actors

            processes.wait_for(moved, process)
            (actor,) = moved()
            os.kill(actor, signal.SIGKILL)
            killed.append(actor)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and f"{COUNT} of {COUNT + 1} labelled" in output, output
    assert output.count("skipped: ") == 1 and "damaged.jpg" in output and "Traceback" not in output
    (ours, journal), (theirs, journal_of_one) = content(out), content(whole / "one")
    assert ours == theirs and journal == journal_of_one


def test_actors_that_do_not_fit_are_refused_in_one_line(whole, tmp_path):
    with clusters.environment() as environment:
        process = start(whole, tmp_path / "out", environment, "--actors=2")
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert output.splitlines()[-1].startswith("error: --actors=2 of one CPU each do not fit into a Ray cluster of 2,")


def test_a_second_run_has_nothing_to_do_and_a_damaged_model_is_one_line(whole, tmp_path):
    with clusters.environment() as environment:
        process = start(whole, whole / "one", environment)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 1 and f"{COUNT} of {COUNT + 1} are done already" in output, output
        model = (whole / "logs/model.keras").read_bytes()
        try:
            (whole / "logs/model.keras").write_bytes(model[:-100])
            process = start(whole, tmp_path / "out", environment)
            output, _ = process.communicate(timeout=300)
        finally:
            (whole / "logs/model.keras").write_bytes(model)
    assert process.returncode == 2 and "model.keras" in output.splitlines()[-1] and "Traceback" not in output, output
