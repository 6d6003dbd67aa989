"""The rate of `examples/ray_predict.py` against `--mode=predict` in one process, and in two that label a part each.

All three are whole programs, in turns: from the start of the first process to the end of the last, and, without what
starting takes, from the first label file to the last. Run it with an interpreter that has Ray. `--images=20 --rounds=1`
shows that it works.
"""

import argparse
import dataclasses
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns
from fcn_tf.data.datasets import camvid
from fcn_tf.errors import UserError
from fcn_tf.io import files, system
from fcn_tf.io.run_dir import Run

_LABELS = "*_label.png"


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser, "tiny")
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--images", type=int, default=300, help="photos a turn")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=2, help="of the Ray cluster")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--seconds", type=float, default=900.0, help="no round begins after these, except the first 3")
    args = parser.parse_args(argv)
    if importlib.util.find_spec("ray") is None:
        raise UserError('this interpreter has no Ray; run it with one that has: pip install "ray[data]".')
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Lets the three take turns; see `main` for the arguments."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # short: Ray's sockets lie in it
        write_run(os.path.join(folder, "logs"), args, folder)
        photos = scenes.write_camvid(
            os.path.join(folder, "data"), train=0, validation=args.images, width=args.width, height=args.height
        )
        common_flags = [f"--logs_dir={folder}/logs", f"--input={photos}/val", "--overwrite", "--outputs=labels"]
        predict = ["main.py", "--mode=predict", *common_flags, "--inference_precision=float32"]
        on_ray = ["examples/ray_predict.py", *predict[2:], f"--actors={args.actors}", f"--cpus={args.cpus}"]
        commands = {
            "one": [[*predict, f"--output_dir={folder}/one"]],
            "two": [[*predict, f"--output_dir={folder}/two", f"--part={k}/2"] for k in (1, 2)],
            "ray": [[*on_ray, f"--output_dir={folder}/ray"]],
        }
        between: dict[str, list[float]] = {name: [] for name in commands}
        loads: list[float] = []

        def turn(name: str) -> float:
            loads.append(os.getloadavg()[0])
            seconds, first_to_last = _timed(commands[name], f"{folder}/{name}", args.images)
            between[name].append(first_to_last)
            return seconds

        rounds = turns.take_turns(
            {name: functools.partial(turn, name) for name in commands}, rounds=args.rounds, seconds=args.seconds
        )
        same = len({_content(f"{folder}/{name}") for name in commands}) == 1
    # Every second round went in the opposite order; each contender has one entry a round all the same.
    labelling = [{name: between[name][i] for name in commands} for i in range(len(rounds))]
    whole = {name: turns.ratio(rounds, name, "ray") for name in ("one", "two")}
    without_start = {name: turns.ratio(labelling, name, "ray") for name in ("one", "two")}
    per_second = {name: (args.images - 1) / turns.median_seconds(labelling, name) for name in commands}
    load = f"load of the machine before a turn {min(loads):.1f} to {max(loads):.1f}"
    words = {"one": "one process", "two": "two processes of a part each"}
    return {
        "rows": [
            common.row("label files equal, bit for bit", float(same), "", least=1),
            *(
                common.row(
                    f"photos/s once labelling, against {words[name]}",
                    ratio.median,
                    "x",
                    note=f"{ratio.low:.2f} to {ratio.high:.2f}; {per_second['ray']:.1f} against "
                    f"{per_second[name]:.1f} photos/s; {load}",
                )
                for name, ratio in without_start.items()
            ),
            *(
                common.row(
                    f"whole program, {args.images} photos, against {words[name]}",
                    ratio.median,
                    "x",
                    note=f"{turns.median_seconds(rounds, 'ray'):.0f} s against "
                    f"{turns.median_seconds(rounds, name):.0f} s, starting included",
                )
                for name, ratio in whole.items()
            ),
        ],
        "same_files": same,
        "whole": {name: dataclasses.asdict(ratio) for name, ratio in whole.items()},
        "labelling": {name: dataclasses.asdict(ratio) for name, ratio in without_start.items()},
        "photos_per_second": per_second,
        "load_average": {"least": min(loads), "most": max(loads)},
        "rounds_seconds": rounds,
        "rounds_seconds_labelling": labelling,
        "ray": importlib.import_module("ray").__version__,
    }


def write_run(logs_dir: str, args: argparse.Namespace, folder: str) -> None:
    """Writes model.keras and config.json of a network that was not trained: rates do not depend on its weights."""
    system.load_tensorflow()
    from fcn_tf.models import build

    spec = camvid.SPEC
    weights = common.weights_file(args.weights, folder)
    run = Run(logs_dir)
    run.write_config(
        {
            "class_names": spec.class_names,
            "colors": [list(color) for color in spec.colors],
            "flags": {"arch": args.arch},
        }
    )
    build.build_model(args.arch, num_classes=spec.num_classes, weights=weights).save(run.model)


def _timed(commands: Sequence[Sequence[str]], output_dir: str, images: int) -> tuple[float, float]:
    """Runs programs at once: seconds from start to end, and from the first label file to the last."""
    environment = {**os.environ, "PYTHONPATH": str(common.ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment |= {"RAY_TMPDIR": os.path.dirname(output_dir), "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": ""}
    environment |= {"RAY_worker_niceness": "0"}  # Ray would give way to whatever else runs: 15 by default
    began = time.perf_counter()
    processes = [
        subprocess.Popen(  # nosec B603  # our own scripts
            [sys.executable, *command],
            cwd=common.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    for process, command in zip(processes, commands, strict=True):
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{output}")
    seconds = time.perf_counter() - began
    written = sorted(files.stamp(path)[1] for path in files.glob(os.path.join(output_dir, _LABELS)))
    if len(written) != images:
        raise RuntimeError(f"{len(written)} label files instead of {images}")
    return seconds, (written[-1] - written[0]) / 1e9


def _content(folder: str) -> tuple[bytes, ...]:
    return tuple(files.read_bytes(path) for path in files.glob(os.path.join(folder, _LABELS)))


if __name__ == "__main__":
    common.run(main)
