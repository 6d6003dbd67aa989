"""Evaluating and predicting against a bare forward pass of the same network on the same pictures.

Three processes take turns over the same photos, one at a time as `predict` takes them: the network alone, on photos in
memory; the pass of `--mode=evaluate` with everything it keeps of each image; and `--mode=predict`, which also decodes
the photo and writes two pictures. `--weights=tiny --width=64 --height=48 --images=4` takes a minute.
"""

import argparse
import dataclasses
import functools
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns
from fcn_tf import predict
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.io import files, run_dir, system

_WANTED = {"evaluate": 0.9, "predict": 0.97}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--images", type=int, default=8, help="photos a turn; 3 or more")
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument("--seconds", type=float, default=420.0, help="no round begins after these, except the first 3")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Lets the three take turns; see `main` for the arguments."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = scenes.write_camvid(
            os.path.join(folder, "data"), train=0, validation=args.images, width=args.width, height=args.height
        )
        places = {"logs_dir": os.path.join(folder, "run"), "data_dir": data_dir}
        with turns.Worker(
            "benchmarks.inference:Untrained",
            logs_dir=places["logs_dir"],
            arch=args.arch,
            precision=args.precision,
            weights=common.weights_file(args.weights, folder),
        ) as untrained:
            untrained.ready()
        with (
            turns.Worker("benchmarks.inference:Bare", **places) as bare,
            turns.Worker("benchmarks.inference:Evaluate", **places) as evaluate,
            turns.Worker("benchmarks.inference:Predict", **places) as predicting,
        ):
            workers = {"bare": bare, "evaluate": evaluate, "predict": predicting}
            for worker in workers.values():
                worker.ready()
            contenders = {name: functools.partial(worker.call, "turn") for name, worker in workers.items()}
            for turn in contenders.values():
                turn()  # traces, and lets oneDNN make its kernels
            rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds)
    speedups = {name: turns.ratio(rounds, "bare", name) for name in ("evaluate", "predict")}
    return {
        "rows": [
            common.row(f"{name}, images/s against a bare forward pass", speedup.median, "x", least=_WANTED[name])
            for name, speedup in speedups.items()
        ],
        "vs_bare": {name: dataclasses.asdict(speedup) for name, speedup in speedups.items()},
        "images_per_second": {name: 1 / turns.median_seconds(rounds, name) for name in contenders},
        "rounds_seconds_per_image": rounds,
    }


class Untrained:
    """Writes a run that has everything but learned something: rates do not depend on that."""

    def __init__(self, *, logs_dir: str, arch: str, precision: str, weights: str):
        system.load_tensorflow()
        from fcn_tf.data.datasets import camvid
        from fcn_tf.models import build

        spec = camvid.SPEC
        run = run_dir.Run(logs_dir)
        facts = {"class_names": spec.class_names, "colors": spec.colors, "ignore_label": spec.ignore_label}
        run.write_config({**facts, "flags": {}})
        network = build.build_model(arch, num_classes=spec.num_classes, weights=weights, dtype=precision)
        network.save(run.model)


class Bare:
    """The network on pictures in memory, one at a time."""

    def __init__(self, *, logs_dir: str, data_dir: str):
        system.load_tensorflow()
        import tensorflow as tf

        from fcn_tf.inference import evaluator

        data = datasets.load("camvid", data_dir, "validation")
        self._pictures = [tf.constant(data.read(example)[0][None]) for example in data.examples]
        network = evaluator.load_model(run_dir.Run(logs_dir))
        # One signature for all sizes, as the product has: the same graph is what makes this a fair rod.
        signature = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
        self._forward = tf.function(
            lambda images: network(tf.cast(images, tf.float32), training=False), input_signature=signature
        )

    def turn(self) -> float:
        """Seconds an image."""
        began = time.perf_counter()
        for picture in self._pictures:
            float(self._forward(picture)[0, 0, 0, 0])  # waits for it
        return (time.perf_counter() - began) / len(self._pictures)


class Evaluate:
    """The pass of `--mode=evaluate` over the split."""

    def __init__(self, *, logs_dir: str, data_dir: str):
        system.load_tensorflow()
        from fcn_tf.inference import evaluator

        self._data = datasets.load("camvid", data_dir, "validation")
        self._evaluator = evaluator.Evaluator(evaluator.load_model(run_dir.Run(logs_dir)), self._data.spec)

    def turn(self) -> float:
        """Seconds an image."""
        from fcn_tf.metrics.per_image import PerImageStats

        stats = PerImageStats(self._data)

        def add(indices, pictures, labels, predictions, counts):
            for each in zip(indices.tolist(), pictures, labels, predictions, counts, strict=True):
                stats.add(*each)

        began = time.perf_counter()
        self._evaluator.run(self._data, on_batch=add)
        return (time.perf_counter() - began) / len(self._data)


class Predict:
    """`--mode=predict` as a whole; the time is read off the pictures it writes."""

    def __init__(self, *, logs_dir: str, data_dir: str):
        photos = os.path.join(data_dir, "val", "*.jpg")
        out = os.path.join(logs_dir, "out")
        self._config = Config(mode="predict", logs_dir=logs_dir, input=photos, output_dir=out, overwrite=True)

    def turn(self) -> float:
        """Seconds an image: from one overlay to the next, so that loading and tracing are left out."""
        predict.run(self._config)
        paths = files.glob(os.path.join(self._config.output_dir, "*_overlay.png"))
        written = sorted(os.stat(path).st_mtime_ns / 1e9 for path in paths)
        gaps = [later - sooner for sooner, later in itertools.pairwise(written)]
        return sum(gaps) / len(gaps)


if __name__ == "__main__":
    common.run(main)
