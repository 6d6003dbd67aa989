"""What it costs in accuracy to send less: gradients that are narrowed to bfloat16 for their sum, and fewer sums.

The same trainings on `shapes` by two replicas of this machine (logical devices), with as many images each: gradients
summed in float32, as the product does; narrowed to bfloat16 for the sum alone, which is no option of the product; and
with twice the batch in `--accumulate=2` parts and half the steps, which sends half. `--steps=4 --seeds=1` is quick.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common
from fcn_tf.config import Config
from fcn_tf.io import system
from fcn_tf.io.run_dir import Run

_REPLICAS = 2
_SCORES = ("val_mean_iou", "val_loss")


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--steps", type=int, default=200, help="of a training with --batch_size")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Trains each way from each seed; see `main` for the arguments."""
    system.load_tensorflow()
    import tensorflow as tf

    from fcn_tf import train
    from fcn_tf.training import distribution

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * _REPLICAS
    )
    # One for all: TensorFlow numbers the sums of a strategy, and another one's of the same number would clash.
    strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
    half = max(1, args.steps // 2)
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "float32": (contextlib.nullcontext, {"batch_size": args.batch_size, "max_steps": args.steps}),
        "bfloat16": (narrowed, {"batch_size": args.batch_size, "max_steps": args.steps}),
        "accumulate": (
            contextlib.nullcontext,
            {"batch_size": 2 * args.batch_size, "max_steps": half, "accumulate": 2},
        ),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for seed in range(args.seeds):
        for name, (around, settings) in ways.items():
            with tempfile.TemporaryDirectory() as folder, around():
                config = Config(
                    arch=args.arch,
                    image_size=str(args.image_size),
                    seed=seed,
                    logs_dir=os.path.join(folder, "run"),
                    eval_every=settings["max_steps"],
                    save_every=settings["max_steps"],
                    **settings,
                )
                with mock.patch.object(distribution, "choose_strategy", lambda: strategy):
                    train.run(config)
                row = Run(config.logs_dir).read_history()[-1]
            found[name].append({score: row[score] for score in _SCORES})
            print(name, seed, found[name][-1], flush=True)
    return {"rows": rows(found, args.steps), "trainings": found}


@contextlib.contextmanager
def narrowed() -> Iterator[None]:
    """While a training is traced, sums of lists of float32 tensors, which gradients are, are made in bfloat16."""
    import tensorflow as tf

    exact = tf.distribute.ReplicaContext.all_reduce

    def all_reduce(context, reduce_op, value, options=None):
        if not isinstance(value, list) or any(each.dtype != tf.float32 for each in value):
            return exact(context, reduce_op, value, options)
        sums = exact(context, reduce_op, [tf.cast(each, tf.bfloat16) for each in value], options)
        return [tf.cast(each, tf.float32) for each in sums]

    with mock.patch.object(tf.distribute.ReplicaContext, "all_reduce", all_reduce):
        yield


def rows(found: dict[str, list[dict[str, float]]], steps: int) -> list[dict[str, Any]]:
    """Lines for report.py: the scores of each way, and how they differ from float32's of the same seed."""
    words = {
        "float32": "summed in float32",
        "bfloat16": "narrowed to bfloat16 for the sum",
        "accumulate": "twice the batch, half the steps",
    }
    lines = []
    for name, trainings in found.items():
        for score in _SCORES:
            values = [each[score] for each in trainings]
            apart = [value - exact[score] for value, exact in zip(values, found["float32"], strict=True)]
            note = f"{min(values):.4f} to {max(values):.4f} in {len(values)} seeds of {steps} steps"
            if name != "float32":
                note += f"; {statistics.mean(apart):+.4f} from float32's, {min(apart):+.4f} to {max(apart):+.4f}"
            lines.append(
                common.row(
                    f"{words[name]}: {score.removeprefix('val_').replace('_', ' ')}",
                    statistics.mean(values),
                    "",
                    note=note,
                )
            )
    return lines


if __name__ == "__main__":
    common.run(main)
