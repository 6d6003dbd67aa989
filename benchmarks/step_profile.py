"""Where the time of a training step goes, by type of operation, in float32 and in bfloat16.

The trainer's own step is traced in a process of its own for each type. TensorFlow runs one operation at a time there,
so that times add up to the step; a training that runs several at once takes about as long (benchmarks/README.md).
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns

_GROUPS = {"convolutions and matrix products": "MatMul|Conv2D", "Adam": "ApplyAdam", "casts": "^Cast$"}
_REST = "other operations"
_STEP = "train"  # what a step is called in the trace


class Traced:
    """The product's step, see `contenders.Product`, whose arguments it takes."""

    def __init__(self, **options):
        from benchmarks import contenders

        self._product = contenders.Product(**options)

    def costs(self, steps: int) -> tuple[list[tuple[str, int, float]], list[float]]:
        """As `costs`, of so many steps after two that are spent on other things."""
        import tensorflow as tf

        self._product.losses(2)
        with tempfile.TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            for number in range(steps):
                with tf.profiler.experimental.Trace(_STEP, step_num=number, _r=1):
                    self._product.losses(1)
            tf.profiler.experimental.stop()
            return costs(read(folder))


def read(folder: str):
    """The newest trace that TensorFlow's profiler left in a folder, as an XSpace; None where there is none."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # private: TensorFlow has no public reader

    from fcn_tf.io import files

    traces = files.join(folder, "plugins", "profile")
    # Named for times, and listed, for a path may hold a pattern's characters.
    for time in reversed(files.list_dir(traces) if files.is_dir(traces) else []):
        for name in files.list_dir(files.join(traces, time)):
            if name.endswith(".xplane.pb"):
                return xplane_pb2.XSpace.FromString(files.read_bytes(files.join(traces, time, name)))
    return None


def costs(space) -> tuple[list[tuple[str, int, float]], list[float]]:
    """Adds up a trace by type of operation.

    Args:
      space: an XSpace. Operations are events called NAME:TYPE; those that TensorFlow considers cheap are not traced.

    Returns:
      ([(type, how often, seconds), ...] of the operations begun during the steps, most expensive first; the seconds
      of each step). Operations run beside each other, so theirs may add up to more.
    """
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                begin = line.timestamp_ns * 1000 + event.offset_ps
                events.append((plane.event_metadata[event.metadata_id].name, begin, event.duration_ps))
    steps = [(begin, begin + duration) for name, begin, duration in events if name == _STEP]
    sums: dict[str, tuple[int, float]] = {}
    for name, begin, duration in events:
        found = re.fullmatch(r"[^:]+:(\w+)", name)
        if found and any(first <= begin <= last for first, last in steps):
            count, seconds = sums.get(found[1], (0, 0.0))
            sums[found[1]] = count + 1, seconds + duration / 1e12
    table = [(name, count, seconds) for name, (count, seconds) in sums.items()]
    return sorted(table, key=lambda row: -row[2]), [(last - first) / 1e12 for first, last in steps]


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="original", help="as of main.py")
    common.add_size(parser)
    parser.add_argument("--steps", type=int, default=6, help="traced of each type")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Traces both types one after the other; see `main` for the arguments."""
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # of the workers
    rows, tables = [], {}
    with tempfile.TemporaryDirectory() as folder:
        options = {"arch": args.arch, "weights": common.weights_file(args.weights, folder), **common.size_of(args)}
        for precision in ("float32", "bfloat16"):
            with turns.Worker("benchmarks.step_profile:Traced", precision=precision, **options) as worker:
                table, steps = worker.call("costs", steps=args.steps)
            rows += summarize(precision, table, steps)
            tables[precision] = [[name, count / len(steps), seconds / len(steps)] for name, count, seconds in table]
    return {"rows": rows, "operations": tables}


def summarize(precision: str, table: Sequence[tuple[str, int, float]], steps: Sequence[float]) -> list[dict]:
    """Seconds a step: of the step, of each group of operations, and of what no traced operation accounts for."""
    sums = dict.fromkeys([*_GROUPS, _REST], 0.0)
    for name, _, seconds in table:
        group = next((group for group, pattern in _GROUPS.items() if re.search(pattern, name)), _REST)
        sums[group] += seconds / len(steps)
    whole = sum(steps) / len(steps)
    sums["what TensorFlow does not trace: cheap operations, and the time between them"] = whole - sum(sums.values())
    rows = [common.row(f"{precision}, a step", whole, "s")]
    for what, seconds in sums.items():
        rows.append(common.row(f"{precision}, {what}", seconds, "s", note=f"{seconds / whole:.1%}"))
    return rows


if __name__ == "__main__":
    common.run(main)
