"""The exports of a run against TensorFlow: size, agreement with the model, images/s side by side.

Each export that `--mode=export` left in a run's folder takes turns with the run's own model in TensorFlow, both in
processes of their own, on one picture in memory. What its comparison with the model found is read from export.json.
Needs the runtimes that the exports need.
"""

import argparse
import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks import common, turns
from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.inference import exported
from fcn_tf.io import files, run_dir, system


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--logs_dir", default="logs", help="the run that was exported")
    parser.add_argument("--exports", default="", help="its exports; default: LOGS_DIR/export")
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--images", type=int, default=2, help="pictures a turn")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument("--seconds", type=float, default=120.0, help="of an export: no round begins after these")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Lets each export take turns with TensorFlow; see `main` for the arguments."""
    folder = args.exports or run_dir.Run(args.logs_dir).export
    summary = os.path.join(folder, "export.json")
    if not files.exists(summary):
        raise UserError(f"{summary} is not there; make the exports with --mode=export --logs_dir={args.logs_dir}.")
    listed = json.loads(files.read_bytes(summary))["exports"]
    order = [(name, precision) for name in registry.EXPORTS for precision in registry.EXPORT_PRECISIONS]
    listed.sort(key=lambda row: order.index((row["format"], row["quantize"])))
    size: dict[str, Any] = {"width": args.width, "height": args.height, "images": args.images}
    results = []
    with turns.Worker("benchmarks.exports:Model", logs_dir=os.path.abspath(args.logs_dir), **size) as model:
        first = functools.partial(model.call, "turn")
        first()  # traces, and lets oneDNN make its kernels
        for row in listed:
            path = os.path.abspath(row["folder"])
            print(path, flush=True)
            with turns.Worker("benchmarks.exports:Exported", folder=path, **size) as worker:
                second = functools.partial(worker.call, "turn")
                second()
                contenders = {"tensorflow": first, "export": second}
                rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds)
                peak = worker.call("peak_bytes")
            kept = ("format", "quantize", "bytes", "agreement", "confidence_difference", "mean_iou_difference")
            results.append(
                {name: row[name] for name in kept}
                | {
                    "vs_tensorflow": dataclasses.asdict(turns.ratio(rounds, "tensorflow", "export")),
                    "images_per_second": 1 / turns.median_seconds(rounds, "export"),
                    "tensorflow_images_per_second": 1 / turns.median_seconds(rounds, "tensorflow"),
                    "peak_bytes": peak,
                    "rounds_seconds_per_image": rounds,
                }
            )
        peak = model.call("peak_bytes")
    return {
        "rows": [
            common.row(
                f"{each['format']} {each['quantize']}, images/s against TensorFlow",
                each["vs_tensorflow"]["median"],
                "x",
                note=f"{each['images_per_second']:.2f} images/s, peak {each['peak_bytes'] / 2**30:.1f} GiB",
            )
            for each in results
        ],
        "exports": results,
        "tensorflow_peak_bytes": peak,
        "data": {name: listed[0][name] for name in ("dataset", "split", "pictures")} if listed else {},
    }


class _Turns:
    """Runs a function on one picture in memory."""

    def __init__(self, run: Callable[[np.ndarray], Any], *, width: int, height: int, images: int):
        self._run, self._images = run, images
        self._picture = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)

    def turn(self) -> float:
        """Seconds an image."""
        began = time.perf_counter()
        for _ in range(self._images):
            self._run(self._picture)
        return (time.perf_counter() - began) / self._images


class Model(_Turns):
    """The run's model in the type that it was trained in: labels and confidence."""

    def __init__(self, *, logs_dir: str, **size: int):
        system.load_tensorflow()
        from fcn_tf.inference import evaluator

        predictor = evaluator.Predictor(evaluator.load_model(run_dir.Run(logs_dir)))
        super().__init__(functools.partial(predictor.predict, confidence=True), **size)


class Exported(_Turns):
    """An export in its own runtime."""

    def __init__(self, *, folder: str, **size: int):
        export = exported.find(folder)
        if export is None:
            raise UserError(f"{folder} is no export; make it again with --mode=export.")
        super().__init__(export.load(), **size)


if __name__ == "__main__":
    common.run(main)
