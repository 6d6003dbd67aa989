"""What TensorBoard's curves cost: turns of the training loop with the default `--log_every` and without any.

One trainer, in one process, trains stretches of steps by its public loop, in turns with and without curves. What is
timed is from one request for a batch to another: steps, gradient norms, scores, events and progress bar; the
validation and checkpoint at the end of a stretch are not. `--weights=tiny --image_size=32 --num_classes=5` is quick.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns

_TIMED = 20  # steps of a stretch; two of them log
_DEFAULT, _NEVER = 10, 10**9  # --log_every


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="original")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--num_classes", type=int, default=151)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="stretches of each kind")
    parser.add_argument("--seconds", type=float, default=900.0, help="no round begins after these, except the first 3")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Trains stretches in turns; see `main` for the arguments."""
    names = ("arch", "precision", "num_classes", "image_size", "batch_size")
    with tempfile.TemporaryDirectory() as folder:
        options = {name: getattr(args, name) for name in names}
        with turns.Worker(
            "benchmarks.contenders:Product", weights=common.weights_file(args.weights, folder), **options
        ) as worker:

            def stretch(log_every: int) -> float:
                asked = worker.call("fit", count=_TIMED + 2, log_every=log_every)
                # The first step also writes the graph, the last one also validates: neither is timed.
                return (asked[1 + _TIMED] - asked[1]) / _TIMED

            contenders = {"with": lambda: stretch(_DEFAULT), "without": lambda: stretch(_NEVER)}
            worker.call("step")
            rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds)
    slower = turns.ratio(rounds, "with", "without")
    return {
        "rows": [
            common.row("time of a training step with TensorBoard's curves against none", slower.median, "x", most=1.02)
        ],
        "with_vs_without": dataclasses.asdict(slower),
        "seconds_per_step": {name: turns.median_seconds(rounds, name) for name in contenders},
        "rounds_seconds": rounds,
    }


if __name__ == "__main__":
    main()
