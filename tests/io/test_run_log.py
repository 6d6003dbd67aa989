"""What libraries say goes to run.log, and nothing about run.log ever stops a command."""

import contextlib
import logging
import os
import time
import warnings

import pytest

import fcn_tf
import main
from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import files, run_log
from tests import disks, processes

COMMAND = "main.py --mode=tell"


def native(text):
    """Writes as native code does, which asks for no success."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


def kept(folder, command=COMMAND, *, verbose=False):
    return run_log.kept(str(folder), command, verbose=verbose, ending=False)


def test_everything_but_our_own_words_goes_there(tmp_path, capfd):
    for start in (1, 2):
        with kept(tmp_path, f"{COMMAND} --seed={start}"), warnings.catch_warnings():
            warnings.simplefilter("always")
            native(f"E0000 of native code {start}\n")
            logging.getLogger("tensorflow").warning("of TensorFlow\x1b[1m")
            warnings.warn("of Python", stacklevel=1)
            print("ours")
    native("afterwards\n")
    printed = capfd.readouterr()
    assert printed.out == "ours\nours\n" and printed.err == "afterwards\n"
    text = (tmp_path / "run.log").read_text()
    starts = [line for line in text.splitlines() if line.startswith("=== ")]
    assert len(starts) == 2 and all(line.endswith(f"{COMMAND} --seed={i + 1}") for i, line in enumerate(starts))
    assert text.count("E0000 of native code 1\n") == text.count("E0000 of native code 2\n") == 1
    assert text.count("WARNING tensorflow: of TensorFlow\\x1b[1m\n") == text.count("UserWarning: of Python\n") == 2


def test_verbosity_shows_it_instead(tmp_path, capfd):
    with kept(tmp_path, verbose=True):
        native("of native code\n")
        logging.getLogger("tensorflow").warning("of TensorFlow")
    printed = capfd.readouterr().err
    assert printed.startswith("of native code\n") and printed.endswith("of TensorFlow\n")
    assert (tmp_path / "run.log").read_text().count("\n") == 1


def test_the_folder_is_made_by_those_alone_who_write_there(tmp_path, capfd):
    folder = tmp_path / "logs"
    with kept(folder):
        native("early\n")
        assert run_log.attach() and not folder.exists()
    assert not folder.exists()
    with kept(folder):
        native("early\n")
        assert run_log.attach(make=True)
        native("late\n")
    _, *lines = (folder / "run.log").read_text().splitlines()
    assert lines == ["early", "late"]
    with kept("gs://bucket/logs"):
        native("nowhere\n")
    assert capfd.readouterr().err == "" and not run_log.attach()


def test_its_size_is_bounded(tmp_path, monkeypatch):
    """At a start, and while a command runs."""
    monkeypatch.setattr(run_log, "_MOST", 1000)
    monkeypatch.setattr(run_log, "_KEPT", 200)
    monkeypatch.setattr(run_log, "_SECONDS_BETWEEN_LOOKS", 0.01)
    log = tmp_path / "run.log"
    log.write_text("a line of an earlier start\n" * 100)
    with kept(tmp_path):
        first, *lines = log.read_text().splitlines()
        assert first == "[older lines are left out]" and lines[-1].startswith("=== ")
        assert set(lines[:-1]) == {"a line of an earlier start"} and len(lines) == 8
        native("a line of today\n" * 100)
        deadline = time.monotonic() + 60
        while log.stat().st_size > 1000 and time.monotonic() < deadline:
            time.sleep(0.02)
        native("the last words\n")
    assert log.stat().st_size <= 1000 and log.read_text().endswith("a line of today\nthe last words\n")


def test_what_cannot_be_written_stops_nothing(tmp_path, capfd):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    for name, make in {
        "folder": os.mkdir,
        "link": lambda path: os.symlink(elsewhere, path),
        "pipe": os.mkfifo,
        "full": lambda path: None,
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "run.log")
        with disks.no_file_larger_than(10) if name == "full" else contextlib.nullcontext(), kept(folder):
            native("lost, or kept in part\n")
        print(name)
    assert capfd.readouterr() == ("folder\nlink\npipe\nfull\n", "") and elsewhere.read_text() == "mine"
    assert (tmp_path / "full/run.log").stat().st_size <= 10


def fault(config):
    """A mode that fails; for the processes below, in native code too."""
    if config.seed == 0:
        raise UserError("not like this; otherwise")
    if config.seed == 1:
        raise TypeError("a fault\x1b")
    native("the last words of native code\n")
    os.abort()


@pytest.fixture
def tell(monkeypatch):
    monkeypatch.setitem(registry.MODES, "serve", f"{__name__}:fault")
    return lambda *arguments: main.main(["main.py", "--mode=serve", *arguments])


def test_a_fault_says_where_the_traceback_is(tell, tmp_path, capfd):
    here = f"--logs_dir={tmp_path}/logs"
    assert tell(here, "--seed=0") == 2 and capfd.readouterr().err == "error: not like this; otherwise\n"
    assert tell(here, "--seed=1") == 1  # there is no folder, and it makes none
    printed = capfd.readouterr().err
    assert 'raise TypeError("a fault' in printed and printed.endswith("library: please report all of the above.\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/config.json").write_text('{"flags": {}}')  # of a run
    assert tell(here, "--seed=1", "--token=12345678", "--token", "87654321") == 1
    told = "error: TypeError: a fault\\x1b; this is a fault of fcn_tf or of a library: the traceback is in "
    assert capfd.readouterr().err == f"{told}{tmp_path}/logs/run.log, please report it with that file.\n"
    text = (tmp_path / "logs/run.log").read_text()
    assert text.splitlines()[-1] == "TypeError: a fault\\x1b" and "Traceback" in text
    assert "1234" not in text and "4321" not in text and "--token=... --token ..." in text
    assert tell(here, "--seed=1", "-v") == 1 and "Traceback" in capfd.readouterr().err


def test_a_crash_of_native_code_leaves_its_words_and_is_seen(tmp_path):
    code = f"import sys; from fcn_tf import registry; registry.MODES['tell'] = '{__name__}:fault'\n"
    code += "import atexit, os; atexit.register(os.write, 2, b'said at the end\\n'); sys.argv[0] = 'main.py'\n"
    code += "from fcn_tf.command import main; sys.exit(main.main(sys.argv))"
    for seed, status, said in ((2, -6, "Fatal Python error: Aborted"), (0, 2, "error: not like this; otherwise")):
        process = processes.start("-c", code, "--mode=tell", f"--seed={seed}", f"--logs_dir={tmp_path}")
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == status and printed.startswith(said), printed
        assert "native code\n" not in printed and "said at" not in printed
    _, words, _, end = files.read_bytes(str(tmp_path / "run.log")).decode().splitlines()
    assert (words, end) == ("the last words of native code", "said at the end")


@pytest.mark.parametrize("mode", ["visualize", "evaluate", "predict", "explain", "serve", "export"])
def test_a_mode_that_needs_a_run_leaves_a_folder_without_one_as_it_is(mode, tmp_path, capfd):
    (tmp_path / "photo.jpg").write_bytes(b"of mine")
    typed = [f"--logs_dir={tmp_path}", *([f"--input={tmp_path}"] if mode in ("predict", "explain") else ())]
    assert main.main(["main.py", f"--mode={mode}", *typed]) == 2
    said = capfd.readouterr().err
    assert "is no run" in said or "there is no trained model" in said
    with pytest.raises(UserError):
        {"evaluate": fcn_tf.evaluate_run, "export": fcn_tf.export_run}.get(mode, fcn_tf.load_run)(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / "config.json").write_text('{"flags": {}}')
    assert main.main(["main.py", f"--mode={mode}", *typed]) == 2
    assert (tmp_path / "run.log").exists(), "of a run, it is kept"
