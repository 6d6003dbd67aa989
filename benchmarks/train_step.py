"""The training step against the original's: rates, memory, and the share of the processor's peak.

Contenders take turns in four processes: the twin of the original in float32 (twin.py), the product in float32 and in
bfloat16 (the trainer's own step on a batch in memory), and a square matrix product in each type that the processor
multiplies. At full size it takes under eight minutes on two cores; `--weights=tiny --image_size=32 --matmul_size=64` is
done in one.
"""

import argparse
import contextlib
import dataclasses
import functools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, network, turns
from fcn_tf.io import system
from fcn_tf.models import matconvnet

_TYPES = ("float32", "bfloat16")


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    common.add_size(parser)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=1, help="training steps a turn")
    parser.add_argument("--seconds", type=float, default=270.0, help="no round begins after these, except the first 3")
    parser.add_argument("--matmul_size", type=int, default=4096, help="side of the matrices")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Runs all contenders and derives the numbers; see `main` for the arguments."""
    multiplied = [dtype for dtype in _TYPES if dtype == "float32" or system.has_instructions(dtype)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        weights = common.weights_file(args.weights, folder)
        layers = network.original_layers(network.trunk_widths(matconvnet.read(weights)), args.num_classes)
        size = common.size_of(args)
        trainers = {
            "twin": turns.Worker("benchmarks.contenders:PlainTwin", weights=weights, **size),
            "float32": turns.Worker("benchmarks.contenders:Product", weights=weights, **size),
            "bfloat16": turns.Worker("benchmarks.contenders:Product", weights=weights, precision="bfloat16", **size),
        }
        matmul = turns.Worker("benchmarks.contenders:MatMul", size=args.matmul_size)
        for worker in (*trainers.values(), matmul):
            stack.enter_context(worker)
        contenders = {
            name: functools.partial(worker.call, "step", count=args.steps) for name, worker in trainers.items()
        }
        for dtype in multiplied:
            contenders[f"matmul_{dtype}"] = functools.partial(matmul.call, "step", dtype=dtype)
        for worker in (*trainers.values(), matmul):
            worker.ready()
        for turn in contenders.values():
            turn()  # traces, and lets oneDNN make its kernels
        rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds)
        peaks = {name: worker.call("peak_bytes") for name, worker in trainers.items()}
    return summarize(rounds, peaks, layers, args)


def summarize(rounds: list[turns.Round], peaks: dict[str, int], layers: list[network.Layer], args) -> dict:
    """The promised numbers, from seconds a step, bytes and the layers of the network."""
    flops = network.training_flops(layers, args.image_size, args.batch_size)
    matmul_flops = 2 * args.matmul_size**3
    # The peak of the type that the processor multiplies in, which for bfloat16 may be float32 (see
    # models/mixed_precision.py).
    peak_of = {name: f"matmul_{name}" if f"matmul_{name}" in rounds[0] else "matmul_float32" for name in _TYPES}
    speedups = {name: turns.ratio(rounds, "twin", name) for name in _TYPES}
    # Of the peak within the same round: seconds a FLOP of the product over seconds a FLOP of the step.
    products = flops / matmul_flops  # in a step
    shares = {name: turns.ratio(rounds, peak, name).median * products for name, peak in peak_of.items()}
    limits = {name: turns.ratio(rounds, "twin", peak).median / products for name, peak in peak_of.items()}
    medians = {name: turns.median_seconds(rounds, name) for name in rounds[0]}
    memory = peaks["bfloat16"] / peaks["twin"]
    rows = []
    for name, rate, share in (("float32", 1.2, 0.65), ("bfloat16", 2.3, 0.60)):
        note = "" if peak_of[name] == f"matmul_{name}" else f"no {name} instructions here: multiplied in float32"
        limit = f"{limits[name]:.2f} x would be all of the matmul peak"
        speedup = speedups[name].median
        what = f"training rate, {name}, against the float32 twin"
        rows.append(common.row(what, speedup, "x", least=rate, note="; ".join(filter(None, (note, limit)))))
        rows.append(common.row(f"share of the matmul peak, {name}", shares[name], "", least=share, note=note))
    rows.append(common.row("peak memory, bfloat16, against the float32 twin", memory, "x", most=0.8))
    return {
        "rows": rows,
        "float32_rate_vs_twin": speedups["float32"].median,
        "bfloat16_rate_vs_twin": speedups["bfloat16"].median,
        "memory_vs_twin": memory,
        "float32_memory_vs_twin": peaks["float32"] / peaks["twin"],
        "share_of_peak": shares,
        "rate_vs_twin_at_the_peak": limits,
        "pairs": {name: dataclasses.asdict(speedup) for name, speedup in speedups.items()},
        "images_per_second": {name: args.batch_size / medians[name] for name in peaks},
        "seconds_per_step": {name: medians[name] for name in peaks},
        "rounds_seconds": rounds,
        "gflop_per_second": {
            **{name: flops / medians[name] / 1e9 for name in peaks},
            **{name: matmul_flops / medians[name] / 1e9 for name in medians if name.startswith("matmul")},
        },
        "peak_bytes": peaks,
        "flops": {
            "per_step": flops,
            "forward_multiply_adds_per_image": network.forward_multiply_adds(layers, args.image_size),
            "parameters": network.parameters(layers),
            "rule": " ".join((network.training_flops.__doc__ or "").split()),
        },
    }


if __name__ == "__main__":
    common.run(main)
