"""A data set for --mode=check, and what the mode says about it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from fcn_tf import check
from fcn_tf.config import Config
from tests.prepared import write

NAMES = [f"p{number}" for number in range(6)]


def photos_and_masks(root):
    """Six photos of noise, 40x32, with 0/255 masks; returns their folder."""
    for number, name in enumerate(NAMES):
        rng = np.random.default_rng(number)
        write(root / "images" / f"{name}.png", rng.integers(0, 256, (32, 40, 3)))
        write(root / "masks" / f"{name}.png", np.repeat([[0] * 20 + [255] * 20], 32, axis=0))
    return root


def ids(data, values):
    """Fills every mask with these values in turn."""
    for name in NAMES:
        write(data / "masks" / f"{name}.png", np.resize(values, (32, 40)))


def run(data, logs_dir="", **flags):
    """(exit status, {kind: finding}, whole report)."""
    logs = Path(logs_dir) if logs_dir else data.parent / "logs"
    config = Config(mode="check", dataset="folder", data_dir=str(data), logs_dir=logs_dir or str(logs), **flags)
    status = check.run(config)
    report = json.loads((logs / "check/check.json").read_text())
    assert (logs / "check/index.html").read_text().startswith("<!doctype html>")
    assert report["ok"] == (status == 0)
    return status, {finding["kind"]: finding for finding in report["findings"]}, report


def shell(command):
    """Runs what was printed, as a user would."""
    subprocess.run(command.replace("python -c", f"{sys.executable} -c"), shell=True, check=True)
