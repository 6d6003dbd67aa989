"""How the training rate and the peak memory grow with the batch, the crop and the number of classes.

One of the three is varied and the others stay at those of the original (2, 224, 151). Each point is a process of its
own that takes a few of the trainer's own steps. Points are taken from the cheapest on, and those that do not fit into
`--seconds` are left out and named. Writes the numbers and a plot beside them. `--weights=tiny --seconds=60` is quick.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns
from fcn_tf.io import files

_CENTRE = {"batch_size": 2, "image_size": 224, "num_classes": 151}
_SWEEPS = {
    "batch_size": (1, 2, 4, 8, 16),
    "image_size": (128, 192, 224, 256, 320, 384, 512),
    "num_classes": (2, 11, 21, 59, 151),
}
_LABELS = {"batch_size": "batch", "image_size": "crop", "num_classes": "classes"}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes numbers and plot."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="original")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=5, help="timed at each point; the median is taken")
    parser.add_argument("--seconds", type=float, default=1500.0, help="no point begins after these")
    parser.add_argument("--points", type=int, default=0, help="the cheapest so many only; 0: all")
    args = parser.parse_args(argv)
    results = measure(args)
    picture = f"{os.path.splitext(args.json)[0]}.png"
    common.write_json(args.json, args, {**results, "plot": os.path.basename(picture)})
    files.write_bytes(picture, plot(results["points"], f"{args.arch}, {args.precision}; {_fixed()}"))
    print(f"plotted in {picture}")


def _fixed() -> str:
    return "where not varied: " + ", ".join(f"{_LABELS[name]} {value}" for name, value in _CENTRE.items())


def measure(args: argparse.Namespace) -> dict:
    """Measures point after point; see `main` for the arguments."""
    began = time.perf_counter()
    points: list[dict] = []
    left_out: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = common.weights_file(args.weights, folder)
        for settings in all_points()[: args.points or None]:
            if time.perf_counter() - began > args.seconds:
                left_out.append({**settings, "reason": f"--seconds={args.seconds:g} were over"})
                continue
            try:
                points.append({**settings, **_point(settings, weights, args)})
            except turns.WorkerError as error:  # out of memory, as a rule
                left_out.append({**settings, "reason": str(error)})
            print(points[-1] if points else left_out[-1], flush=True)
    return {
        "rows": [
            common.row(
                "training rate at batch {batch_size}, crop {image_size}, {num_classes} classes".format(**point),
                point["images_per_second"],
                "images/s",
                note=f"peak {point['peak_bytes'] / 2**30:.1f} GiB",
            )
            for point in points
        ],
        "points": points,
        "left_out": left_out,
    }


def all_points() -> list[dict[str, int]]:
    """Every point of the three sweeps once, the cheapest first."""
    found = {tuple({**_CENTRE, name: value}.items()) for name, values in _SWEEPS.items() for value in values}
    cost = {point: dict(point)["batch_size"] * dict(point)["image_size"] ** 2 for point in found}
    return [dict(point) for point in sorted(found, key=lambda point: (cost[point], point))]


def plot(points: list[dict], title: str) -> bytes:
    """A PNG: the rate over each of the three, the others at their middle; memory on the second axis.

    Args:
      points: with the settings, `images_per_second` and `peak_bytes`.
      title: of the whole.
    """
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle(title)
    for axis, name in zip(figure.subplots(1, len(_SWEEPS)), _SWEEPS, strict=True):
        others = {key: value for key, value in _CENTRE.items() if key != name}
        line = sorted((p for p in points if others.items() <= p.items()), key=lambda point: point[name])
        values = [point[name] for point in line]
        axis.plot(values, [point["images_per_second"] for point in line], "o-", color="tab:blue")
        axis.set_xlabel(_LABELS[name])
        axis.set_xscale("log", base=2)
        axis.set_xticks(_SWEEPS[name], [str(value) for value in _SWEEPS[name]])
        axis.minorticks_off()
        axis.set_ylabel("images/s", color="tab:blue")
        axis.set_ylim(bottom=0)
        memory = axis.twinx()
        memory.plot(values, [point["peak_bytes"] / 2**30 for point in line], "s:", color="tab:orange")
        memory.set_ylabel("peak memory in GiB", color="tab:orange")
        memory.set_ylim(bottom=0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _point(settings, weights, args):
    options = {**settings, "arch": args.arch, "precision": args.precision, "weights": weights}
    with turns.Worker("benchmarks.contenders:Product", **options) as worker:
        worker.call("step")
        seconds = [worker.call("step") for _ in range(args.steps)]
        return {
            "images_per_second": settings["batch_size"] / statistics.median(seconds),
            "seconds_per_step": seconds,
            "peak_bytes": worker.call("peak_bytes"),
        }


if __name__ == "__main__":
    common.run(main)
