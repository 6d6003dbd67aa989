"""Which runs of the tests take two processes."""

import pathlib
import types

import pytest

from tests import conftest

DEFAULT = {"markexpr": "not slow and not browser", "numprocesses": None, "usepdb": False, "dist": "no"}


def processes(source="TESTPATHS", *, worker=False, **options):
    """What becomes of the options of a run."""
    option = types.SimpleNamespace(**DEFAULT | options)
    config = types.SimpleNamespace(option=option, ArgsSource=pytest.Config.ArgsSource)
    config.args_source = config.ArgsSource[source]
    if worker:
        config.workerinput = {}
    conftest.pytest_cmdline_main(config)
    return getattr(option, "numprocesses", None), option.dist


def test_the_whole_suite_takes_two_and_what_is_named_or_marked_one():
    assert processes() == (2, "loadfile")
    assert processes("ARGS") == processes(markexpr="slow") == processes(usepdb=True) == (None, "no")
    assert processes(numprocesses=0) == (0, "no") and processes(numprocesses=3) == (3, "no")


def test_a_process_of_several_starts_no_others():
    assert processes(worker=True) == (None, "no")


def test_without_the_plugin_there_is_one(monkeypatch):
    monkeypatch.delitem(DEFAULT, "numprocesses")
    assert processes() == (None, "no")


def test_what_takes_long_comes_first_where_processes_share_the_files():
    files = ["tests/io/test_a.py", "tests/training/test_b.py", "tests/formats/test_c.py", "tests/test_d.py"]
    items = [types.SimpleNamespace(path=pathlib.Path(file)) for file in files]
    conftest.pytest_collection_modifyitems(types.SimpleNamespace(), items)
    assert [str(item.path) for item in items] == files
    conftest.pytest_collection_modifyitems(types.SimpleNamespace(workerinput={}), items)
    assert [str(item.path) for item in items] == [files[i] for i in (1, 2, 0, 3)]
