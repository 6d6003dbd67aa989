"""A mistake that is met while examples are read, in a real process: one line, status 2, and the process ends."""

import subprocess
import sys

import numpy as np
import pytest

from fcn_tf.config import Config
from fcn_tf.io import images
from tests import processes, tiny_run
from tests.conftest import ROOT

SECONDS = 240  # it takes some ten; without an end it waits for ever


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Photos and masks; each third photo ends half-way, so that every split has some and other reads are under way."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(24):
        photo = images.encode_png(rng.integers(0, 256, (800, 800, 3), np.uint8))
        label = np.zeros((800, 800), np.uint8)
        label[number:100], label[100:150] = 127, 255
        (folder / f"images/{number}.png").write_bytes(photo if number % 3 else photo[: len(photo) // 2])
        (folder / f"masks/{number}.png").write_bytes(images.encode_png(label))
    return folder


@pytest.mark.parametrize("mode", ["train", "evaluate", "visualize"])
def test_a_photo_that_cannot_be_read_ends_the_process(mode, data_dir, tmp_path):
    typed = [f"--mode={mode}", "--dataset=folder", f"--data_dir={data_dir}", f"--logs_dir={tmp_path}"]
    if mode != "train":
        config = Config(dataset="folder", num_classes=3, mask_values="0,127,255")
        tiny_run.write_run(tmp_path, flags=config.to_json())
    process = processes.start("main.py", *typed, "--batch_size=10", "--image_size=32")
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 2, output
    assert output.splitlines()[-1].startswith(f"error: {data_dir}/images/") and "truncated" in output
    assert output.rstrip().endswith("Or leave such files out: --on_bad_example=skip.") and "Traceback" not in output


def test_without_its_packages_it_says_so():
    """-S leaves out site-packages, as a shell does whose virtual environment is not active."""
    done = subprocess.run(
        [sys.executable, "-S", "main.py", "--help"], cwd=ROOT, capture_output=True, text=True, env={"PATH": ""}
    )
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the package absl is not installed here; activate")
