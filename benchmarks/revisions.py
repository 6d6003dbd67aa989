"""This revision against another one: the training step, evaluating and predicting.

Each of them runs in a process of its own from its own checkout, and the two revisions take turns. `--other` is the
folder of the other checkout, such as one made by `git worktree add`. `--weights=tiny --image_size=32 --width=64
--height=48 --images=4` takes two minutes.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns

LEAST = 0.99  # times the rate of the other revision


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--other", required=True, help="folder of the other checkout")
    common.add_weights(parser)
    common.add_size(parser)
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--images", type=int, default=6, help="photos a turn of evaluating or predicting; 3 or more")
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each")
    parser.add_argument("--seconds", type=float, default=200.0, help="for each of training and inference")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Lets the revisions take turns; see `main` for the arguments."""
    roots = {"here": str(common.ROOT), "other": os.path.abspath(args.other)}
    rounds: dict[str, list[turns.Round]] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = common.weights_file(args.weights, folder)
        options = {"arch": args.arch, "precision": args.precision, "weights": weights, **common.size_of(args)}
        steps = {
            name: turns.Worker("benchmarks.contenders:Product", root=root, **options) for name, root in roots.items()
        }
        rounds["training"] = _take_turns(steps, "step", args)
        data_dir = scenes.write_camvid(
            os.path.join(folder, "data"), train=0, validation=args.images, width=args.width, height=args.height
        )
        runs = {name: os.path.join(folder, name) for name in roots}
        for name, root in roots.items():
            model = {"logs_dir": runs[name], "arch": args.arch, "precision": args.precision, "weights": weights}
            with turns.Worker("benchmarks.inference:Untrained", root=root, **model) as untrained:
                untrained.ready()
        for mode in ("Evaluate", "Predict"):
            workers = {
                name: turns.Worker(f"benchmarks.inference:{mode}", root=root, logs_dir=runs[name], data_dir=data_dir)
                for name, root in roots.items()
            }
            rounds[mode.lower()] = _take_turns(workers, "turn", args)
    speedups = {what: turns.ratio(each, "other", "here") for what, each in rounds.items()}
    return {
        "rows": [
            common.row(
                f"{what}, rate against {common.revision(Path(roots['other']))}", speedup.median, "x", least=LEAST
            )
            for what, speedup in speedups.items()
        ],
        "pairs": {what: dataclasses.asdict(speedup) for what, speedup in speedups.items()},
        "rounds_seconds": rounds,
    }


def _take_turns(workers: Mapping[str, turns.Worker], method: str, args: argparse.Namespace) -> list[turns.Round]:
    with contextlib.ExitStack() as stack:
        for worker in workers.values():
            stack.enter_context(worker)
        for worker in workers.values():
            worker.ready()
        contenders = {name: functools.partial(worker.call, method) for name, worker in workers.items()}
        for turn in contenders.values():
            turn()  # traces, and lets oneDNN make its kernels
        return turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds)


if __name__ == "__main__":
    common.run(main)
