"""Whether memory grows with the data set: peaks of evaluating and of training, on few and on many photos.

Each is a whole `python main.py` on generated photos, with the same settings but for the number of files. The embedded
tiny weights leave the data the largest part of the memory that could grow. `--few=2 --many=4 --steps=2` is quick.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns, watching


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser, default="tiny")
    parser.add_argument("--few", type=int, default=50, help="photos")
    parser.add_argument("--many", type=int, default=500, help="photos")
    parser.add_argument("--steps", type=int, default=150, help="of each training")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Evaluates and trains on few photos and on many; see `main` for the arguments."""
    peaks: dict[str, dict[str, int]] = {"train": {}, "evaluate": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = common.weights_file(args.weights, folder)
        steps = [f"--{name}={args.steps}" for name in ("max_steps", "eval_every", "save_every")]
        for size in ("few", "many"):
            count, logs_dir = getattr(args, size), os.path.join(folder, f"{size}-run")
            to_train = scenes.write_camvid(os.path.join(folder, f"{size}-train"), train=count, validation=1)
            to_score = scenes.write_camvid(os.path.join(folder, f"{size}-evaluate"), train=0, validation=count)
            where = ["--dataset=camvid", f"--logs_dir={logs_dir}"]
            train = ["--mode=train", *where, f"--data_dir={to_train}", f"--weights={weights}", *steps]
            peaks["train"][size] = turns.run_program(train).peak_bytes
            evaluate = ["--mode=evaluate", *where, f"--data_dir={to_score}"]
            peaks["evaluate"][size] = turns.run_program(evaluate).peak_bytes
    return {
        "rows": [
            common.row(
                f"peak memory of {mode}, {args.many} photos against {args.few}",
                peak["many"] / peak["few"],
                "x",
                most=watching.FLAT,
            )
            for mode, peak in peaks.items()
        ],
        "peak_bytes": peaks,
    }


if __name__ == "__main__":
    common.run(main)
