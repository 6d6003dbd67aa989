"""What `--freeze=conv1,conv2` and `--recompute` do to the training rate and to the peak memory.

Each variant is a whole `python main.py --mode=train` on generated photos, and they take turns. The rate is that of the
run's history.csv, which leaves out the first step; the peak is that of the process. `--weights=tiny --image_size=32
--steps=3 --rounds=1` takes a minute.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns
from fcn_tf.io.run_dir import Run

VARIANTS = {"neither": (), "freeze": ("--freeze=conv1,conv2",), "recompute": ("--recompute",)}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="original")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each variant; medians are reported")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Trains every variant in turns; see `main` for the arguments."""
    rates: list[dict[str, float]] = []
    peaks: dict[str, list[int]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        # Pictures of the crop's size: validating larger ones would set the peak.
        side = args.image_size
        data_dir = scenes.write_camvid(
            os.path.join(folder, "data"), train=args.batch_size, validation=1, width=side, height=side
        )
        flags = {
            "dataset": "camvid",
            "data_dir": data_dir,
            "weights": common.weights_file(args.weights, folder),
            **{name: getattr(args, name) for name in ("arch", "precision", "image_size", "batch_size")},
            **{name: args.steps for name in ("max_steps", "eval_every", "save_every")},
        }
        typed = ["--mode=train", *(f"--{name}={value}" for name, value in flags.items())]
        for number in range(args.rounds):
            rates.append({})
            for name in list(VARIANTS)[:: 1 if number % 2 == 0 else -1]:
                run = Run(os.path.join(folder, name))
                program = turns.run_program([*typed, *VARIANTS[name], f"--logs_dir={run.logs_dir}"])
                rates[-1][name] = run.read_history()[-1]["images_per_second"]
                peaks[name].append(program.peak_bytes)
                shutil.rmtree(run.logs_dir)  # gigabytes, at full width
            print(f"round {number + 1}: {rates[-1]} images/s", flush=True)
    rows = []
    for name in list(VARIANTS)[1:]:
        against = f"{' '.join(VARIANTS[name])} against neither"
        rate = statistics.median(each[name] / each["neither"] for each in rates)
        rows.append(common.row(f"training rate, {against}", rate, "x"))
        memory = statistics.median(peaks[name]) / statistics.median(peaks["neither"])
        rows.append(common.row(f"peak memory, {against}", memory, "x"))
    return {"rows": rows, "rounds_images_per_second": rates, "peak_bytes": peaks}


if __name__ == "__main__":
    common.run(main)
