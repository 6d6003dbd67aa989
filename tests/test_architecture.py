"""The import law of ARCHITECTURE.md, whose list of rooms is read here; and the door: main.py, its flags."""

import ast
import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flags
from fcn_tf import config
from fcn_tf.data import datasets
from fcn_tf.io import images

ROOT = Path(__file__).parents[1]
BACKENDS = {"tensorflow": "tf", "keras": "keras"}


def rooms_in_the_document():
    """[(names of one line, "tf" | "keras" | "-"), ...] from the top down."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    block = re.search(r"^## Rooms\n.*?^```\n(.*?)^```", text, re.M | re.S)[1]
    lines = [re.fullmatch(r"([\w./]+(?: [\w./]+)*)\s+(tf|keras|-)\s+\S.*", line) for line in block.splitlines()]
    assert all(lines), "each line of the block is: ROOM.py [ROOM.py ...]  tf|keras|-  what for"
    return [([name.removesuffix(".py").rstrip("/") for name in line[1].split()], line[2]) for line in lines]


ROOMS = rooms_in_the_document()
LEVEL = {name: level for level, (names, _) in enumerate(ROOMS) for name in names}
BACKEND = {name: backend for names, backend in ROOMS for name in names}


def sources():
    """{path: room} of every module."""
    package = sorted((ROOT / "fcn_tf").rglob("*.py"))
    found = {path: path.relative_to(ROOT / "fcn_tf").parts[0].removesuffix(".py") for path in package}
    return {path: room for path, room in found.items() if room != "__init__"} | {
        ROOT / "flags.py": "flags",
        ROOT / "main.py": "main",
    }


SOURCES = sources()


def imports(source):
    """(dotted name, whether at module level) of each import in `source`; `from a import b` gives "a.b"."""
    found = []

    def visit(node, at_top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"relative import of {child.module}"
                found.extend((f"{child.module}.{alias.name}", at_top) for alias in child.names)
            visit(child, at_top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(source), True)
    return found


IMPORTS = {path: imports(path.read_text()) for path in SOURCES}


def room_of(name):
    """The room that a dotted name belongs to, or None for other packages and names of fcn_tf itself."""
    parts = name.split(".")
    if parts[0] in ("main", "flags"):
        return parts[0]
    return parts[1] if parts[0] == "fcn_tf" and len(parts) > 1 and parts[1] in LEVEL else None


def test_imports_are_found_wherever_they_stand():
    source = "import a.b\nfrom c import d\ndef f():\n    if x:\n        import e\nif y:\n    import g"
    assert imports(source) == [("a.b", True), ("c.d", True), ("e", False), ("g", True)]


def test_the_document_lists_the_rooms_that_there_are():
    assert sorted(LEVEL) == sorted(set(SOURCES.values()))
    assert len(LEVEL) == sum(len(names) for names, _ in ROOMS), "a room is listed twice"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    room = SOURCES[path]
    for name, _ in IMPORTS[path]:
        target = room_of(name)
        if target and (target, room) != ("datasets", "datasets"):
            assert LEVEL[target] > LEVEL[room], f"{room} may not import {target}: it does not stand below it"
        if name.split(".")[0] == "fcn_tf" and target is None:
            assert name in ("fcn_tf.__version__",), f"{room} imports {name}, which is no room"


def test_verbs_never_import_verbs_and_trunk_and_heads_are_strangers():
    for together in (config.MODES, ("vgg", "fcn")):
        assert len({LEVEL[room] for room in together}) == 1


def test_data_sets_share_only_what_is_made_for_it():
    for path, room in SOURCES.items():
        if room == "datasets" and path.stem != "__init__":
            siblings = {name.split(".")[2] for name, _ in IMPORTS[path] if name.startswith("fcn_tf.data.datasets.")}
            shared = {"base", "pairs", "layouts", "masks", "notation", "stored", "facts", "coding"}
            assert siblings <= ({"base"} if path.stem in ("pairs", "base") else shared), path.stem


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_flags_stop_at_the_door(path):
    packages = {name.split(".")[0] for name, _ in IMPORTS[path]}
    assert "absl" not in packages or SOURCES[path] == "flags"
    assert "flags" not in packages or SOURCES[path] == "main"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_backends_stay_where_they_belong(path):
    backend = BACKEND[SOURCES[path]]
    for name, at_top in IMPORTS[path]:
        needs = BACKEND[room_of(name)] if room_of(name) else BACKENDS.get(name.split(".")[0], "-")
        # Other backends than TensorFlow can run it; narrow asks which one there is before it asks for TensorFlow.
        if backend == "keras" and (at_top or SOURCES[path] != "narrow"):
            assert needs != "tf", name
        if backend == "-" and at_top:  # answers before TensorFlow is imported
            assert needs == "-", name


def test_tables_agree():
    from fcn_tf.data import pipeline
    from fcn_tf.inference import refine
    from fcn_tf.models import build

    assert set(config.REFINEMENTS) == set(refine.REFINEMENTS)
    assert set(config.ARCHS) == set(build.ARCHS)
    assert set(config.DATASETS) == set(datasets.DATASETS)
    assert config.CROPS == pipeline.CROPS and config.RESIZES == pipeline.RESIZES
    assert set(config.ALIASES.values()) <= set(config.MODES)
    for mode in config.MODES:
        assert callable(importlib.import_module(f"fcn_tf.{mode}").run)


def test_every_setting_is_a_flag():
    assert {field.name for field in dataclasses.fields(config.Config)} == set(flags.FLAGS) - {"help", "h"}


LAUNCH = """
import json, runpy, sys
sys.argv = ["main.py", *json.loads(sys.argv[1])]
try:
    runpy.run_path("main.py", run_name="__main__")
finally:
    print("HEAVY", sorted({"tensorflow", "keras", "cv2", "scipy"} & set(sys.modules)))
"""


def launch(*arguments, cwd=ROOT):
    command = [sys.executable, "-W", "error", "-c", LAUNCH, json.dumps(arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    assert "'tensorflow'" not in done.stdout and "'keras'" not in done.stdout
    return done


def test_help_needs_no_tensorflow():
    done = launch("--help")
    assert done.returncode == 0 and not done.stderr
    for name in flags.FLAGS:
        assert f"--{name} " in done.stdout or name in ("help", "h")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no_such_flag=1"],
        ["--mode=sing"],
        ["--batch_size=many"],
        ["--learning_rate=-1"],
        ["train"],
        ["--mode=train", "stray"],
        ["--log_dir=logs"],
        ["--verbosity=1"],
        ["--flagfile=no/such/file.cfg"],
        ["--mode=predict"],
        ["--mode=prepare"],
        ["--mode=prepare", "--output_dir=out", "--split=train"],
        ["--mode=prepare", "--output_dir=out", "--dataset=folder", "--data_dir=none"],
        ["--dataset=records", "--data_dir=none"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_status_2(arguments, tmp_path):
    done = launch(f"--logs_dir={tmp_path}/none", *arguments)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .+\n", done.stderr)


def test_a_folder_that_cannot_be_is_one_line_and_status_2(tmp_path):
    (tmp_path / "file").touch()
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            (tmp_path / f"{kind}/{number}.png").write_bytes(images.encode_png(np.full((4, 4), number, np.uint8)))
    done = launch("--mode=check", "--dataset=folder", f"--data_dir={tmp_path}", f"--logs_dir={tmp_path}/file/logs")
    assert done.returncode == 2
    assert "file" in done.stderr.splitlines()[-1] and "Not a directory" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes among files here")
@pytest.mark.parametrize(
    ("name", "mode", "status"),
    [("data/images/0.png", "check", 1), ("data/classes.txt", "check", 1), ("logs/config.json", "predict", 2)],
)
def test_a_named_pipe_in_place_of_a_file_is_named_and_not_waited_for(name, mode, status, tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(3):
            (tmp_path / f"data/{kind}/{number}.png").write_bytes(images.encode_png(np.full((4, 4), number, np.uint8)))
    (tmp_path / "logs").mkdir()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    settings = ["--dataset=folder", f"--data_dir={tmp_path}/data", f"--logs_dir={tmp_path}/logs", "--input=x"]
    done = launch(f"--mode={mode}", *settings)
    assert done.returncode == status
    assert re.search(rf"{name}.*is a named pipe; expected a regular file", done.stderr or done.stdout)


@pytest.mark.parametrize("mode", [mode for mode in config.MODES if mode not in ("train", "check", "prepare")])
def test_a_run_that_is_not_there_costs_no_tensorflow(mode, tmp_path):
    done = launch(f"--mode={mode}", f"--logs_dir={tmp_path}/none", f"--input={ROOT}")
    assert done.returncode == 2
    assert re.fullmatch(r"error: .+\n", done.stderr) and "none" in done.stderr


def test_importing_the_package_costs_no_tensorflow():
    program = "import sys, fcn_tf; print(fcn_tf.__version__, 'tensorflow' in sys.modules, fcn_tf.UserError)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert " False " in done.stdout
