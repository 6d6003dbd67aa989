"""Metadata, presets and documents against the code: what is declared, promised and linked is there."""

import ast
import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fcn_tf
import flags
from fcn_tf import config, registry

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "data/README.md",
    "logs/README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)
# Import names that differ from the name to install.
DISTRIBUTIONS = {
    "absl": "absl-py", "cv2": "opencv-python", "PIL": "Pillow", "ai_edge_litert": "ai-edge-litert",
    "python_multipart": "python-multipart", "starlette": "fastapi",
}  # fmt: skip
RUNTIMES = ("onnx", "openvino", "tflite")  # extras of export formats, imported when they are written
OPTIONAL = (*RUNTIMES, "serve", "mlflow", "wandb", "search")  # extras, imported when what they are for runs
NEVER_IMPORTED = {"tensorboard", "fastapi-offline"}  # a command; files


def declared(section, option):
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser[section][option].split("\n")


def requirements(section, option):
    lines = [line for line in declared(section, option) if line]
    return {re.findall(r"[\w-]+", line)[0] for line in lines}


def imported_packages(*paths):
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"fcn_tf", "flags", "main", "tests", "benchmarks", "tools"}


def optional(extras=OPTIONAL):
    return {package for extra in extras for package in requirements("options.extras_require", extra)}


def test_formats_name_what_their_extras_install():
    entries = [registry.resolve(entry) for entry in registry.EXPORTS.values()]
    tables = [each.packages for each in entries] + [more for each in entries for more in each.packages_for.values()]
    assert {package for table in tables for package in table.values()} == optional(RUNTIMES)


def test_installed_is_what_is_imported():
    code = [ROOT / "main.py", ROOT / "flags.py", *(ROOT / "fcn_tf").rglob("*.py")]
    imported = {DISTRIBUTIONS.get(name, name) for name in imported_packages(*code)}
    assert requirements("options", "install_requires") | optional() == imported | NEVER_IMPORTED


def test_tests_need_only_what_the_extra_installs():
    imported = {DISTRIBUTIONS.get(name, name) for name in imported_packages(*(ROOT / "tests").rglob("*.py"))}
    test = requirements("options.extras_require", "test")
    assert imported <= test | requirements("options", "install_requires") | optional()


def test_every_dependency_earns_its_line():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = {name for row in re.findall(r"^\| ([\w, -]+) \|.*\|$", text, re.M) for name in row.split(", ")}
    assert requirements("options", "install_requires") <= rows
    assert requirements("options.extras_require", "test") | optional() <= rows


def test_what_serving_needs_is_tested():
    serving = requirements("options.extras_require", "serve")
    assert serving and serving <= requirements("options.extras_require", "test")


def test_the_package_is_whole():
    for folder in {path.parent for path in (ROOT / "fcn_tf").rglob("*.py")}:
        assert (folder / "__init__.py").exists(), f"{folder} would be left out of the wheel"
    packed = {
        path for glob in declared("options.package_data", "fcn_tf") if glob for path in (ROOT / "fcn_tf").glob(glob)
    }
    data = {path for path in (ROOT / "fcn_tf").rglob("*.*") if path.suffix not in (".py", ".pyc") and path.is_file()}
    assert packed == data


def test_an_installed_package_brings_the_presets_along(tmp_path):
    pytest.importorskip("setuptools")
    build = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build", f"--build-base={tmp_path}/build"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    packed = {path.name for path in (tmp_path / "build/lib/fcn_tf/configs").iterdir()}
    assert packed == {path.name for path in (ROOT / "configs").glob("*.cfg")}
    call = [sys.executable, "-c", "from fcn_tf.command.main import main; raise SystemExit(main())", "--mode=check"]
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": f"{tmp_path}/build/lib"}, "text": True}
    found = subprocess.run([*call, "--flagfile=configs/bag.cfg", "--data_dir=none"], capture_output=True, **options)
    assert found.returncode == 2 and "there is no folder none" in found.stderr


def test_the_embedded_weights_are_small():
    assert (ROOT / "fcn_tf/models/tiny-vgg19.mat").stat().st_size < 3_000_000


def test_the_version_is_in_the_changelog():
    assert f"## {fcn_tf.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_type_checkers_find_the_public_names():
    """They do not run `__getattr__`, and read the package's types only where it says that it has some."""
    assert (ROOT / "fcn_tf/py.typed").exists()
    found = re.findall(r"^    from ([\w.]+) import (\w+) as \2$", (ROOT / "fcn_tf/__init__.py").read_text(), re.M)
    assert {name: f"{module}:{name}" for module, name in found} == fcn_tf._NAMES


def test_public_names_load():
    for name in fcn_tf.__all__:
        assert getattr(fcn_tf, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fcn_tf.nothing


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.cfg")), ids=lambda path: path.stem)
def test_presets_are_flags_that_exist(path, tmp_path):
    settings = flags.config_from_flags(["main.py", f"--flagfile={path}", f"--logs_dir={tmp_path}/none"])
    assert isinstance(settings, config.Config)


def test_the_original_preset(tmp_path):
    command = ["main.py", f"--flagfile={ROOT}/configs/original.cfg", f"--logs_dir={tmp_path}/none"]
    settings = flags.config_from_flags(command)
    assert settings is not None
    assert (settings.arch, settings.crop, settings.resize, settings.augment) == (
        "original",
        "squash",
        "nearest",
        False,
    )
    assert settings.ignore_label == "none" and settings.learning_rate == 1e-4 and settings.batch_size == 2
    changed = flags.config_from_flags([*command, "--batch_size=4"])
    assert changed is not None and changed.batch_size == 4  # the command line wins


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
        assert (ROOT / document).parent.joinpath(target).exists(), target


def of_examples():
    """The flags that the scripts in examples/ add to those of main.py."""
    return {
        flag
        for path in (ROOT / "examples").glob("*.py")
        for flag in re.findall(r'add_argument\("--(\w+)"', path.read_text())
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_what_there_is(document):
    text = (ROOT / document).read_text()
    commands = re.findall(r"(?:^|`)(?:python )?main\.py [^`\n]*", text, re.M)
    spoken = re.findall(r"`(--[^`]*)`", text)
    for word in {word for line in (*commands, *spoken) for word in line.split() if word.startswith("--")}:
        name, _, value = word.strip(";,.").partition("=")
        assert name[2:] in {*flags.FLAGS, "flagfile", *of_examples()}, word
        if name in ("--mode", "--dataset", "--arch", "--precision") and value:
            assert value in {
                *registry.MODES,
                *config.ALIASES,
                *registry.DATASETS,
                *registry.HEADS,
                *config.PRECISIONS,
            }, word
        if name == "--flagfile" and value and value.isascii() and "NAME" not in value:
            assert (ROOT / value).exists() or (ROOT / f"configs/{value}.cfg").exists(), word
    for name in re.findall(r"\b(?:[A-Z]+\.md|LICENSE|setup\.cfg|configs/\w+\.cfg|tests/\w+\.py)\b", text):
        assert (ROOT / name).exists() or (ROOT / document).parent.joinpath(name).exists(), name


def test_every_mode_data_set_and_network_is_documented():
    text = "".join(
        (ROOT / document).read_text()
        for document in ("README.md", "data/README.md", "docs/data.md", "docs/networks.md")
    )
    for flag, values in (("mode", registry.MODES), ("dataset", registry.DATASETS), ("arch", registry.HEADS)):
        for value in values:
            assert f"--{flag}={value}" in text


def test_the_two_commands_are_those_that_ci_runs():
    lines = re.findall(r"^python3 -m venv \.venv && .*$", (ROOT / "README.md").read_text(), re.M)
    assert len(lines) == 2
    assert "^python3 -m venv" in (ROOT / ".ci/run").read_text()
    train, test = (shlex.split(line) for line in lines)
    assert train[-3:] == ["python", "main.py", "--mode=train"] and "." in train
    assert test[-1] == "pytest" and ".[test]" in test
