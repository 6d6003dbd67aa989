"""`examples/ray_train.py` on a cluster of this machine: kill -9 of a worker costs no step and changes no number."""

import os
import signal

import pytest

from fcn_tf.io import run_dir
from fcn_tf.io.run_dir import Run
from tests import processes, tiny_training
from tests.examples import clusters

pytestmark = [pytest.mark.slow, clusters.needs_ray]
TIMES = {"elapsed_seconds", "images_per_second"}


@pytest.fixture
def folder(tmp_path):
    """A folder with data and weights; runs go to folders in it."""
    tiny_training.write_weights(str(tmp_path))
    tiny_training.write_camvid(str(tmp_path / "data"))
    return tmp_path


def flags(folder, run):
    common = ["--dataset=camvid", f"--data_dir={folder}/data", f"--weights={folder}/narrow.mat", "--image_size=32"]
    steps = ["--max_steps=60", "--eval_every=20", "--save_every=5", "--log_every=1", "--batch_size=4"]
    return [*common, *steps, f"--logs_dir={folder}/{run}"]


def history(folder, run):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in Run(str(folder / run)).read_history()]


def newest(folder, run):
    return max(run_dir.checkpoint_steps(str(folder / run / "checkpoints")), default=0)


def test_after_kill_9_of_a_worker_ray_restarts_all_and_the_history_is_that_of_an_uninterrupted_training(folder):
    """The chief once, the other one once; by plain processes without Ray, undisturbed, the same numbers."""
    started = [
        processes.start("main.py", "--mode=train", *flags(folder, "whole"), **each) for each in processes.workers(2)
    ]
    for process in started:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    with clusters.environment() as environment:
        process = processes.start("examples/ray_train.py", "--workers=2", *flags(folder, "ray"), **environment)
        killed: list[int] = []

        def workers():
            return sorted(set(clusters.with_title(process, "ray::RayTrainWorker")) - set(killed))

        for number, step in enumerate((10, 30)):
            processes.wait_for(
                lambda step=step: newest(folder, "ray") >= step and len(workers()) == 2, process, seconds=600
            )
            both = workers()
            os.kill(both[number], signal.SIGKILL)
            killed += both
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert output.count("resumed at step") >= 2, output
    assert history(folder, "ray") == history(folder, "whole") and len(history(folder, "ray")) == 3
    assert newest(folder, "ray") == 60


def test_a_mistake_is_one_line(folder):
    with clusters.environment() as environment:
        for wrong in ("--learning_rate=-1", "--workers=0"):
            process = processes.start("examples/ray_train.py", *flags(folder, "ray"), wrong, **environment)
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 2 and output.splitlines()[-1].startswith("error: "), output
    assert not (folder / "ray").exists()
