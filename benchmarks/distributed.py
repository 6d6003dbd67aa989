"""What workers of several machines send in a step, what that takes, and the batch from which they pay.

Two workers of this machine train the network at full width over its loopback (`MultiWorkerMirroredStrategy`, as with
TF_CONFIG), and sum tensors of the gradients' shapes, in float32 and narrowed to bfloat16 for the way. The bytes are
those that the system counted. For other numbers of machines and other networks the table is worked out from them:

    R(n) = 2 (n - 1) / n * B / min(L, S)     seconds of a ring all-reduce of B bytes among n workers
    T(b) = t0 + t1 b                         seconds of a step of b images on one machine
    n T(b) / (T(b) + R(n))                   how many times the images/s of one machine

L is the rate of the network, S that of TensorFlow's sending and summing. Both S and T are from seconds of processor
time, which other programs of a machine do not lengthen much: S as if one core did it, T at two batches, divided by the
cores, as if none waited.
`--weights=tiny --image_size=32 --batches 1 2 --rounds=1` shows that it works, and measures nothing.
"""

import argparse
import concurrent.futures
import json
import math
import os
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns
from fcn_tf.io import files, system

_MACHINES = (2, 8, 16, 32, 64)
_NETWORKS = (1, 10, 100)  # Gbit/s
_EFFICIENCY = 0.8
_TYPES = ("float32", "bfloat16")


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--archs", nargs="+", default=["fcn8s", "light", "original"], help="of which bytes are told")
    parser.add_argument("--timed", nargs="+", default=["fcn8s", "light", "original"], help="of which steps are timed")
    parser.add_argument("--summed", nargs="+", default=["fcn8s", "light", "original"], help="by two processes")
    parser.add_argument("--num_classes", type=int, default=151)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs=2, default=[1, 3], help="images, to find t0 and t1 with")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measures each network; see `main` for the arguments."""
    cores = common.machine()["cores"]
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        options = {"weights": common.weights_file(args.weights, folder), "num_classes": args.num_classes}
        parameters = {arch: _parameters(arch, **options) for arch in args.archs}
        options["image_size"] = args.image_size
        summed: dict[str, dict[str, Any]] = {}
        for arch in args.summed:
            summed[arch] = _together({"arch": arch, **options}, args.batches[0], args.rounds)
            loads.append(os.getloadavg()[0])
        timed: dict[str, dict[str, Any]] = {}
        for arch in args.timed:
            alone = [_alone({"arch": arch, **options}, batch, args.rounds) for batch in args.batches]
            timed[arch] = {"steps": alone, **line(args.batches, [each["cpu"] / cores for each in alone])}
            loads.append(os.getloadavg()[0])
            print(arch, timed[arch], flush=True)
    # 2 (n - 1) / n is 1 for two.
    software = statistics.median(
        each["gradient_bytes"] / times["float32"] for each in summed.values() for times in each["rounds_cpu"]
    )
    for arch, each in timed.items():
        each["table"] = table(4 * parameters[arch], each["t0"], each["t1"], software)
    note = f"load of the machine {min(loads):.0f} to {max(loads):.0f}"
    return {
        "rows": [
            *(
                common.row(
                    f"{arch}: gradients of a step", 4 * count / 1e6, "MB", note=f"{count / 1e6:.1f} M parameters"
                )
                for arch, count in parameters.items()
            ),
            *(row for arch, each in summed.items() for row in _rows(arch, each, note)),
            *(
                common.row(
                    f"{arch}: step of one image, computed alone",
                    each["t0"] + each["t1"],
                    "s",
                    note=f"{each['t0']:.2g} s and {each['t1']:.2g} s an image, by processor time",
                )
                for arch, each in timed.items()
            ),
        ],
        "parameters": parameters,
        "summed": summed,
        "timed": timed,
        "software_bytes_per_second": software,
        "load_average": {"least": min(loads), "most": max(loads)},
        "efficiency": _EFFICIENCY,
    }


def line(batches: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    """t0 and t1 of T(b) = t0 + t1 b through two points; t0 is not less than 0."""
    slope = (seconds[1] - seconds[0]) / (batches[1] - batches[0])
    return {"t1": slope, "t0": max(0.0, seconds[0] - slope * batches[0])}


def all_reduce_seconds(machines: int, count: float, bytes_per_second: float) -> float:
    """Of a ring all-reduce, in which each worker sends 2 (n - 1) / n of the bytes and receives as many."""
    return 2 * (machines - 1) / machines * count / bytes_per_second


def smallest_batch(seconds: float, t0: float, t1: float, *, machines: int, speedup: float) -> int:
    """The images a worker from which `machines` are `speedup` times as fast as one, at the same batch each.

    n T / (T + R) >= s where T >= s R / (n - s).
    """
    if speedup >= machines:
        raise ValueError(f"{machines} machines are never {speedup} times as fast as one")
    return max(1, math.ceil((speedup * seconds / (machines - speedup) - t0) / t1))


def table(count: float, t0: float, t1: float, software: float) -> list[dict[str, Any]]:
    """A line for each number of machines and network: seconds of an all-reduce, and the smallest batches.

    Args:
      count: bytes of the gradients.
      t0: seconds of a step, beside
      t1: seconds of each image in it.
      software: bytes a second that TensorFlow moves, however fast the network is.
    """
    lines = []
    for machines in _MACHINES:
        for gigabits in _NETWORKS:
            seconds = all_reduce_seconds(machines, count, min(gigabits * 1e9 / 8, software))
            batches = {
                name: smallest_batch(seconds, t0, t1, machines=machines, speedup=speedup)
                for name, speedup in (("even", 1), ("efficient", _EFFICIENCY * machines))
            }
            lines.append({"machines": machines, "gigabits": gigabits, "seconds": seconds, **batches})
    return lines


def _rows(arch: str, found: dict[str, Any], note: str) -> list[dict[str, Any]]:
    sent = found["gradient_bytes"]
    wall, cpu = (
        {dtype: statistics.median(each[dtype] for each in found[f"rounds_{unit}"]) for dtype in _TYPES}
        for unit in ("wall", "cpu")
    )
    return [
        common.row(
            f"{arch}: sent by each of two workers in a step, counted",
            found["sent_bytes"] / 1e6,
            "MB",
            note=f"{found['sent_bytes'] / sent:.3f} times the gradients",
        ),
        common.row(
            f"{arch}: all-reduce of two processes, float32",
            cpu["float32"],
            "s",
            note=f"of processor time; {wall['float32']:.2g} s by the clock, {note}",
        ),
        common.row(
            f"{arch}: the same, narrowed to bfloat16",
            cpu["bfloat16"],
            "s",
            note=f"of processor time; {wall['bfloat16']:.2g} s by the clock, {wall['float32'] / wall['bfloat16']:.2f} "
            f"times as fast; {found['sent_bytes_bfloat16'] / 1e6:.0f} MB sent",
        ),
    ]


def _parameters(arch: str, weights: str, num_classes: int) -> int:
    """How many numbers of a network are trained; counted in a process that then ends, for they take memory."""
    with turns.Worker("benchmarks.distributed:Counted", arch=arch, weights=weights, num_classes=num_classes) as worker:
        return worker.call("parameters")


def _alone(size: dict[str, Any], batch: int, rounds: int) -> dict[str, float]:
    """Seconds of a step without other workers: by the clock, and of processor time in all cores."""
    with turns.Worker("benchmarks.distributed:Member", tf_config="", batch_size=batch, **size) as worker:
        worker.call("step")
        steps = [worker.call("step") for _ in range(rounds)]
    return {name: statistics.median(each[name] for each in steps) for name in ("wall", "cpu")}


def _together(size: dict[str, Any], batch: int, rounds: int) -> dict[str, Any]:
    """Two workers: what they send, and the seconds of sums and steps, in turns."""
    addresses = [f"localhost:{_free_port()}" for _ in range(2)]
    configs = [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}) for index in range(2)
    ]
    workers = [
        turns.Worker("benchmarks.distributed:Member", tf_config=each, batch_size=batch, **size) for each in configs
    ]
    with workers[0], workers[1], concurrent.futures.ThreadPoolExecutor(2) as pool:

        def both(name: str, **arguments: Any) -> dict[str, float]:
            """What both do: seconds by the clock and of processor time, and the bytes that each has sent meanwhile."""
            before = _loopback()
            found = [*pool.map(lambda worker: worker.call(name, **arguments), workers)]
            slowest = {unit: max(each[unit] for each in found) for unit in ("wall", "cpu")}
            return slowest | {"bytes": (_loopback() - before) / 2}

        facts = [*pool.map(lambda worker: worker.call("facts"), workers)][0]
        for name, arguments in (("step", {}), *(("reduce", {"dtype": dtype}) for dtype in _TYPES)):
            both(name, **arguments)
        measured = []
        for number in range(rounds):
            order = (*_TYPES, "step") if number % 2 == 0 else ("step", *reversed(_TYPES))
            times = {name: both("step") if name == "step" else both("reduce", dtype=name) for name in order}
            measured.append({name: times[name] for name in ("step", *_TYPES)})
            print(f"round {number + 1}: {json.dumps(measured[-1])}", flush=True)
    return {
        **facts,
        **{
            f"rounds_{unit}": [{name: times[name][unit] for name in times} for times in measured]
            for unit in ("wall", "cpu")
        },
        "sent_bytes": statistics.median(times["step"]["bytes"] for times in measured),
        "sent_bytes_bfloat16": statistics.median(times["bfloat16"]["bytes"] for times in measured),
    }


def _loopback() -> int:
    """Bytes that were sent on the loopback of this machine since it was started, those of other programs too."""
    counted = re.search(r"^ *lo:(.*)$", files.read_bytes("/proc/net/dev").decode(), re.M)
    assert counted is not None
    return int(counted[1].split()[8])


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


class Counted:
    """A network whose numbers are counted; arguments as of `build_network`."""

    def __init__(self, *, arch: str, **options: Any):
        system.load_tensorflow()
        from fcn_tf.models import build

        self._model = build.build_network(arch, **options).model

    def parameters(self) -> int:
        """How many are trained."""
        return sum(math.prod(variable.shape) for variable in self._model.trainable_variables)


class Member:
    """A worker: takes the trainer's step, alone or with others, or sums tensors with them.

    Args:
      tf_config: the value of TF_CONFIG, "" for a worker alone.
      batch_size: images of this worker a step.
      **size: of `contenders.Product`.
    """

    def __init__(self, *, tf_config: str, batch_size: int, **size: Any):
        if tf_config:
            os.environ["TF_CONFIG"] = tf_config
        system.load_tensorflow()
        import tensorflow as tf

        from benchmarks import contenders

        self._product = contenders.Product(batch_size=batch_size, **size)
        self._shapes = [tuple(variable.shape) for variable in self._product.model.trainable_variables]
        strategy = tf.distribute.get_strategy() if not tf_config else self._product.strategy

        @tf.function
        def summed(narrow):
            def sum_up():
                values = [tf.ones(shape) for shape in self._shapes]
                context = tf.distribute.get_replica_context()
                if narrow:
                    values = [tf.cast(value, tf.bfloat16) for value in values]
                values = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
                return tf.add_n([tf.cast(tf.reshape(value, [-1])[0], tf.float32) for value in values])

            return strategy.run(sum_up)

        self._summed = summed

    def facts(self) -> dict[str, int]:
        """How many numbers are trained, and the bytes of their gradients."""
        count = sum(math.prod(shape) for shape in self._shapes)
        return {"parameters": count, "gradient_bytes": 4 * count}

    def step(self) -> dict[str, float]:
        """Takes a step; seconds by the clock and of processor time."""
        began, cpu = time.perf_counter(), time.process_time()
        self._product.losses(1)
        return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}

    def reduce(self, *, dtype: str) -> dict[str, float]:
        """Sums tensors of the gradients' shapes over the workers; seconds as of `step`."""
        began, cpu = time.perf_counter(), time.process_time()
        float(self._summed(dtype == "bfloat16"))
        return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    common.run(main)
