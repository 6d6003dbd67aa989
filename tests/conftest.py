"""What every test may use."""

import os
from pathlib import Path

# Before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).parents[1]

# A busy machine is no reason to fail, and a failure seen once is seen again.
hypothesis.settings.register_profile("fcn_tf", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fcn_tf")


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and weights beside the repository; the test is skipped where there is none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the real data and weights in ../shared")
    return folder
