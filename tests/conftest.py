"""What every test may use."""

import gc
import os
from pathlib import Path

# Before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, which share the cores
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).parents[1]
PROCESSES = 2
LONGEST = ("training", "formats")  # folders whose files take minutes

# A busy machine is no reason to fail, and a failure seen once is seen again.
hypothesis.settings.register_profile("fcn_tf", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fcn_tf")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Gives the whole suite two processes, file by file; what is named or marked stays in one."""
    if hasattr(config, "workerinput"):  # of a worker: else each would start two of its own, and so on
        return
    option = config.option
    whole = config.args_source is config.ArgsSource.TESTPATHS and option.markexpr == "not slow and not browser"
    if whole and getattr(option, "numprocesses", 0) is None and not option.usepdb:  # 0: without pytest-xdist
        option.numprocesses, option.dist = PROCESSES, "loadfile"
        option.loadscopereorder = False  # else files of one long test come last, when nothing is left beside them


def pytest_collection_modifyitems(config, items):
    """Where processes share the files, starts with those that take long."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.parent.name not in LONGEST)  # stable: a file's tests stay together


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not look at it for each network that a test builds."""
    _freeze()


def pytest_runtest_logfinish():
    """Nor at the graphs that TensorFlow keeps, 20,000 objects a training: a quarter of the time of test_loop.py."""
    _freeze()


def _freeze():
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and weights beside the repository; the test is skipped where there is none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the real data and weights in ../shared")
    return folder
