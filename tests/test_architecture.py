"""The import law of ARCHITECTURE.md, whose picture and law are read here; and the door: main.py, its flags."""

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import flags
import main
from fcn_tf import config, registry
from fcn_tf.errors import UserError
from fcn_tf.io import images

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
BACKENDS = {"tensorflow": "tf", "keras": "keras"}


def picture():
    """{file or folder, without .py: "tf" | "keras" | "-"}."""
    (block,) = re.findall(r"^## The picture\n.*?^```\n(.*?)^```", TEXT, re.M | re.S)
    lines = re.findall(r"^([\w./]+(?: [\w./]+)*) +(tf|keras|-) +\S.*$", block, re.M)
    assert len(lines) == len(block.splitlines()), "a line is: FILE.py | FOLDER/ ...  tf|keras|-  what for"
    return {name.removesuffix(".py").rstrip("/"): needs for names, needs in lines for name in names.split()}


def law(line):
    """{name: floor, from the top down} of a line such as "a -> {b, c} -> d"."""
    floors = [re.findall(r"\w+", part) for part in line.split("->")]
    return {name: number for number, names in enumerate(floors) for name in names}


PICTURE = picture()
(_MAIN,) = re.findall(r"^    ({main, flags} -> .*)$", TEXT, re.M)
(_DATA,) = re.findall(r"^    in data: (.*)$", TEXT, re.M)
LAW, DATA_LAW = law(_MAIN), law(_DATA)


def sources():
    """{path: dotted name below fcn_tf, as "training.loop"} of every module."""
    package = ROOT / "fcn_tf"
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[path] = ".".join(part for part in parts if part != "__init__")
    del found[package / "__init__.py"]
    return found | {ROOT / "flags.py": "flags", ROOT / "main.py": "main"}


SOURCES = sources()
NAMES = set(SOURCES.values())


def imports(source):
    """(dotted name, whether at module level) of each import in `source`; `from a import b` gives "a.b"."""
    found: list[tuple[str, bool]] = []

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


def module_of(name):
    """The module of an imported name, as in `SOURCES`; None for names of other packages and of fcn_tf itself."""
    if name.split(".")[0] in ("main", "flags"):
        return name.split(".")[0]
    name = name.removeprefix("fcn_tf.") if name.startswith("fcn_tf.") else ""
    while name and name not in NAMES:
        name = name.rpartition(".")[0]
    return name or None


def floor(module):
    first = module.split(".")[0]
    return LAW["modes" if first in registry.MODES else first]


def backend(module):
    """What the picture says of the module, or of the nearest folder it lies in."""
    path = module.replace(".", "/")
    while path not in PICTURE:
        path = path.rpartition("/")[0]
        assert path, f"{module} is not in the picture"
    return PICTURE[path]


def data_part(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "data" and len(parts) > 1 else None


def test_imports_are_found_wherever_they_stand():
    source = "import a.b\nfrom c import d\ndef f():\n    if x:\n        import e\nif y:\n    import g"
    assert imports(source) == [("a.b", True), ("c.d", True), ("e", False), ("g", True)]


def test_what_is_decided_where_names_files_that_are_there():
    (section,) = re.findall(r"^## Where it is decided\n(.*?)^## ", TEXT, re.M | re.S)
    named = re.findall(r"`([\w/]+\.py)`", section)
    assert len(named) > 20
    for name in named:
        assert ROOT / name in SOURCES or ROOT / "fcn_tf" / name in SOURCES, name


def test_the_seven_files_are_as_short_as_is_said():
    (section,) = re.findall(r"^## Read these seven files, in this order\n(.*?)^## ", TEXT, re.M | re.S)
    said = int(re.search(r"About ([\d,]+) lines", section)[1].replace(",", ""))
    named = re.findall(r"^\d\. `([\w/]+\.py)`", section, re.M)
    assert len(named) == 7
    lines = sum(len((ROOT / "fcn_tf" / name).read_text().splitlines()) for name in named)
    assert lines == pytest.approx(said, rel=0.03)


def test_the_document_shows_what_there_is():
    assert {backend(module) for module in NAMES} == {"tf", "keras", "-"}
    for name in PICTURE:
        assert name in NAMES | {module.replace(".", "/") for module in NAMES}, f"{name} is in the picture only"
    assert {"modes" if name in registry.MODES else name for name in (m.split(".")[0] for m in NAMES)} == set(LAW)
    assert {part for module in NAMES if (part := data_part(module))} == set(DATA_LAW)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    module = SOURCES[path]
    for name, _ in IMPORTS[path]:
        target = module_of(name)
        if target is None:
            if name.split(".")[0] == "fcn_tf":
                assert name == "fcn_tf.__version__", f"{module} imports {name}, which is no module"
            continue
        if target.split(".")[0] == module.split(".")[0] and "." in module + target:
            if data_part(module) and data_part(target) and data_part(module) != data_part(target):
                higher, lower = DATA_LAW[data_part(module)], DATA_LAW[data_part(target)]
                assert lower > higher, f"{module} may not import {target}"
            continue
        assert floor(target) > floor(module), f"{module} may not import {target}: it does not stand below it"


def reads_of_config():
    """{(module, file of config that it imports)}; "config" where that is the package itself."""
    read = {(SOURCES[path], module_of(name) or "") for path in SOURCES for name, _ in IMPORTS[path]}
    return {(module, target) for module, target in read if target.split(".")[0] == "config"}


def test_config_is_read_by_modes_and_flags_alone():
    """And none of them says in which file of it a name stands."""
    outside = {(module, target) for module, target in reads_of_config() if module.split(".")[0] != "config"}
    assert {module for module, _ in outside} == {"command.flags", "command.call", *registry.MODES}
    assert {target for _, target in outside} == {"config"}


def test_files_of_config_import_those_above_them():
    files = ["config." + name for name in re.findall(r"^  (\w+)  +\S", config.__doc__, re.M)]
    assert sorted(["config", *files]) == sorted(name for name in NAMES if name.split(".")[0] == "config")
    for module, target in reads_of_config():
        if module in files:
            assert target in files[: files.index(module)], f"{module} may not import {target}"


def test_packages_have_no_circles():
    graph = {SOURCES[path]: {module_of(name) for name, _ in IMPORTS[path]} - {None} for path in SOURCES}
    done: set[str] = set()
    open_: list[str] = []

    def visit(module):
        assert module not in open_, f"{' -> '.join([*open_, module])} is a circle"
        if module not in done:
            open_.append(module)
            for target in sorted(graph[module] - {module}):
                visit(target)
            open_.remove(module)
            done.add(module)

    for module in graph:
        visit(module)


def test_trunk_and_heads_are_strangers_and_so_are_data_sets():
    graph = {SOURCES[path]: {module_of(name) for name, _ in IMPORTS[path]} for path in SOURCES}
    assert "models.heads" not in graph["models.vgg"] and "models.vgg" not in graph["models.heads"]
    sets = {f"data.datasets.{name}" for name in registry.DATASETS}
    for module in sets:
        assert not graph[module] & (sets - {module}), module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_flags_stop_at_the_door(path):
    packages = {name.split(".")[0] for name, _ in IMPORTS[path]}
    assert "absl" not in packages or SOURCES[path] == "command.flags"
    assert not packages & {"flags", "main"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_backends_stay_where_they_belong(path):
    module = SOURCES[path]
    for name, at_top in IMPORTS[path]:
        target = module_of(name)
        needs = backend(target) if target else BACKENDS.get(name.split(".")[0], "-")
        if backend(module) == "keras":
            assert needs != "tf", name
        if backend(module) == "-" and at_top:  # answers before TensorFlow is imported
            assert needs == "-", name


TABLES = {name: value for name, value in vars(registry).items() if isinstance(value, dict) and name.isupper()}
CHOICES = {name: value for name, value in vars(registry).items() if isinstance(value, dict | tuple) and name.isupper()}
CHOICES |= {name: each for name, each in vars(config).items() if isinstance(each, tuple) and re.match("[A-Z]", name)}


@pytest.mark.parametrize("entry", [entry for table in TABLES.values() for entry in table.values()])
def test_what_a_table_names_is_there(entry):
    assert registry.resolve(entry) is not None


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_listed_once(name):
    """No other literal of main.py, flags.py or fcn_tf holds the same strings: they all read the one list."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Dict | ast.Tuple | ast.List | ast.Set):
                continue
            items = node.keys if isinstance(node, ast.Dict) else node.elts
            strings = {item.value for item in items if isinstance(item, ast.Constant)}
            if len(items) == len(CHOICES[name]) > 1 and strings == set(CHOICES[name]):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(found) <= 1, found


def test_a_mode_is_one_file_and_one_line(monkeypatch, capsys):
    """And a line for its file in the picture, its command in the README."""
    module = types.ModuleType("temporary_mode")
    exec("def run(config):\n    print(config.dataset, config.split)\n    return 0\n", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(UserError, match="--mode must be one of"):
        config.Config(mode="tell")
    monkeypatch.setitem(registry.MODES, "tell", "temporary_mode:run")
    assert main.main(["main.py", "--mode=tell", "--logs_dir=none"]) == 0
    assert capsys.readouterr().out == "shapes validation\n"


def additions(text):
    """[(file, lines)] of what the document adds, in its order."""
    blocks = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\+\+\+ ", block, flags=re.MULTILINE) if part]
    pairs = (part.partition("\n") for part in parts)
    return [(file, re.sub(r"^\+", "", body, flags=re.MULTILINE)) for file, _, body in pairs]


def test_what_the_document_adds_runs_as_it_stands():
    parts = additions(TEXT)
    modules = {}
    for file, body in parts:
        if ", " not in file and file.endswith(".py"):
            name = file.removesuffix(".py").replace("/", ".")
            modules[name] = module = types.ModuleType(name)
            exec(compile(body, file, "exec"), vars(module))
    entries = {}
    for file, body in parts:
        if file.startswith("fcn_tf/registry.py"):
            entries |= eval("{" + body + "}", {"WithFlags": registry.WithFlags})
    assert len(entries) == len(modules) >= 7
    for entry in entries.values():
        module, name = entry.split(":")
        assert callable(getattr(modules[module], name)) or vars(modules[module])[name]


def test_tables_agree():
    from fcn_tf.data import datasets

    for name in registry.DATASETS:
        assert set(datasets.entry(name).defaults) <= {field.name for field in dataclasses.fields(config.Config)}
    assert set(config.ALIASES.values()) <= set(registry.MODES)
    for entry in registry.HEADS.values():
        assert registry.resolve(entry).trunk in registry.TRUNKS


def test_every_setting_is_a_flag():
    assert {config.flag_name(field) for field in dataclasses.fields(config.Config)} == set(flags.FLAGS) - {
        "help",
        "h",
        "v",
    }


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
    heavy = done.stdout.rpartition("HEAVY")[2]  # before it, help may speak of TensorFlow
    assert "'tensorflow'" not in heavy and "'keras'" not in heavy
    return done


def test_help_needs_no_tensorflow():
    done = launch("--help")
    assert done.returncode == 0 and not done.stderr
    for name in flags.FLAGS:
        assert f"--{name} " in done.stdout or name in ("help", "h", "v")


def test_help_may_be_read_in_part():
    command = f"{sys.executable} main.py --help | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("usage: ") and not done.stderr


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
        ["--verbosity=2"],
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
    settings = ["--dataset=folder", f"--data_dir={tmp_path}/data", f"--logs_dir={tmp_path}/logs"]
    done = launch(f"--mode={mode}", *settings, *(["--input=x"] if mode == "predict" else []))
    assert done.returncode == status
    assert re.search(rf"{name}.*is a named pipe; expected a regular file", done.stderr or done.stdout)


@pytest.mark.parametrize(
    "mode", [mode for mode in registry.MODES if mode not in ("train", "search", "check", "prepare")]
)
def test_a_run_that_is_not_there_costs_no_tensorflow(mode, tmp_path):
    source = [f"--input={ROOT}"] if mode in ("predict", "explain") else []
    done = launch(f"--mode={mode}", f"--logs_dir={tmp_path}/none", *source)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .+\n", done.stderr) and "none" in done.stderr


def test_importing_the_package_costs_no_tensorflow():
    program = "import sys, fcn_tf; print(fcn_tf.__version__, 'tensorflow' in sys.modules, fcn_tf.UserError)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert " False " in done.stdout
