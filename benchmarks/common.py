"""What every benchmark script needs: flags, weights, the machine, and results as JSON. No TensorFlow."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import network
from fcn_tf import __version__
from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.system import has_instructions
from fcn_tf.models import pretrained

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
STAND_IN = ROOT.parent / "shared" / "models" / "imagenet-vgg-verydeep-19.mat"
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # of the processor: those that matrix products depend on
_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python", "Pillow")


def machine() -> dict[str, Any]:
    """The processor, its cores that this process may use, its instructions for narrow types, and the memory."""
    model, flags = platform.processor() or platform.machine(), set()
    if os.path.exists("/proc/cpuinfo"):
        lines = files.read_bytes("/proc/cpuinfo").decode().splitlines()
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        model, flags = fields.get("model name", model), set(fields.get("flags", "").split())
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": {flag: flag in flags for flag in _FLAGS},
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that do the work."""
    found = {"python": platform.python_version(), "fcn_tf": __version__}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def row(
    what: str, value: float | None, unit: str, *, least: float | None = None, most: float | None = None, note: str = ""
) -> dict[str, Any]:
    """One line of the tables that report.py fills.

    Args:
      what: is measured, and against what.
      value: the measurement; None if it could not be made, and then `note` says why.
      unit: such as "x" or "s".
      least: the smallest value wanted, where one is.
      most: the largest.
      note: anything the reader must know.
    """
    return {"what": what, "value": value, "unit": unit, "least": least, "most": most, "note": note}


def write_json(path: str, args: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """Writes results with the date, the settings, the machine and the versions they belong to.

    Args:
      path: the file; its folder is made where missing.
      args: from `parser`; of paths only the last part is kept.
      results: "rows" holds the lines for report.py.
    """
    # Of paths the last part: where things lay on one machine tells nobody anything.
    settings = {
        name: os.path.basename(value) if isinstance(value, str) else value
        for name, value in vars(args).items()
        if name not in ("benchmark", "json", "logs_dir", "python")
    }
    facts = {
        "benchmark": args.benchmark,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": revision(),
        "settings": settings,
        "machine": machine(),
        "bfloat16_supported_by_processor": has_instructions("bfloat16"),
        "versions": versions(),
    }
    files.makedirs(os.path.dirname(os.path.abspath(path)))
    files.write_bytes(path, (json.dumps({**facts, **results}, indent=2, allow_nan=False) + "\n").encode())
    for line in results["rows"]:
        value = "not measured" if line["value"] is None else f"{line['value']:.4g} {line['unit']}"
        print(f"{line['what']}: {value}" + (f" ({line['note']})" if line["note"] else ""))
    print(f"written to {path}")


def run(main: Callable[[], None]) -> None:
    """Runs a script's `main`; a mistake of the user's is one line and exit status 2, as in main.py."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def parser(description: str | None, script: str) -> argparse.ArgumentParser:
    """A parser with --json; `description` is the module's docstring, `script` its __file__."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    name = Path(script).stem
    made.set_defaults(benchmark=name)
    made.add_argument("--json", default=os.path.relpath(RESULTS / f"{name}.json"), help="where results go")
    return made


def add_weights(made: argparse.ArgumentParser, default: str = "") -> None:
    """Adds --weights, which `weights_file` understands; by default full-width ones."""
    default = default or (os.path.relpath(STAND_IN) if STAND_IN.exists() else "random")
    made.add_argument("--weights", default=default, help="a .mat file, tiny, or random: an untrained full-width VGG19")


def add_size(made: argparse.ArgumentParser) -> None:
    """Adds --num_classes, --image_size and --batch_size: of the step that train_step.py measures."""
    made.add_argument("--num_classes", type=int, default=151, help="how many classes to tell apart")
    made.add_argument("--image_size", type=int, default=224, help="side of the pictures")
    made.add_argument("--batch_size", type=int, default=2, help="pictures a step")


def size_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_size` asked for, by name."""
    return {name: getattr(args, name) for name in ("num_classes", "image_size", "batch_size")}


def weights_file(wanted: str, folder: str) -> str:
    """The path of a MatConvNet file; an untrained one is written into `folder`."""
    if wanted != "random":
        return os.path.abspath(pretrained.find(wanted))
    path = os.path.join(os.path.abspath(folder), "random-vgg19.mat")
    network.write_random_vgg19(path)
    return path


def revision(root: Path = ROOT) -> str | None:
    """The commit the code is from, marked where files other than results were changed since; None without git."""

    def git(*arguments):
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # nosec B603  # git
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)benchmarks/results")
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
