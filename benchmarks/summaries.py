"""What TensorBoard's events cost: curves, gradient norms, and after each validation pictures and the confusion matrix.

A trainer trains by its public loop, by default with the settings of `python main.py --mode=train`. Every tenth step
computes gradient norms and writes curves: what it takes longer than the two steps beside it is their price, so that a
machine that drifts does not matter. What a validation writes is timed where it is written. The rest of a validation is
not training. `--image_size=32 --steps=30 --rounds=1` is quick, and measures nothing.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns
from fcn_tf.errors import UserError

_LOG_EVERY = 10  # the default of --log_every
_AFTER_VALIDATION = ("validation_scalars", "pictures", "classes")
_METHODS = ("train_scalars", *_AFTER_VALIDATION)


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser, default="tiny")
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--num_classes", type=int, default=6)
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200, help="from one validation to the next: 30, 40, ...")
    parser.add_argument("--rounds", type=int, default=3, help="validations")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Trains; see `main` for the arguments."""
    names = ("arch", "precision", "num_classes", "image_size", "batch_size")
    if args.steps < 3 * _LOG_EVERY or args.steps % _LOG_EVERY:
        raise UserError(f"--steps is {args.steps}; expected 30, 40, 50 and so on.")
    steps: list[float] = []
    extra: list[float] = []
    written: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        turns.Worker(
            "benchmarks.summaries:Watched",
            weights=common.weights_file(args.weights, folder),
            **{name: getattr(args, name) for name in names},
        ) as worker,
    ):
        worker.call("train", steps=_LOG_EVERY)  # tracing, the first writer, the first picture: once in a training
        for _ in range(args.rounds):
            seconds, spent = worker.call("train", steps=args.steps)
            steps += seconds
            # Every stretch starts at a multiple of ten and its first step is left out: the ninth here is the tenth.
            extra += [
                seconds[i] - (seconds[i - 1] + seconds[i + 1]) / 2
                for i in range(_LOG_EVERY - 2, len(seconds) - 1, _LOG_EVERY)
            ]
            written.append(spent)
    step = statistics.median(steps)
    curves = statistics.median(extra) / (_LOG_EVERY * step)
    after = statistics.median(sum(spent[name] for name in _AFTER_VALIDATION) for spent in written) / (args.steps * step)
    return {
        "rows": [
            common.row("curves and gradient norms, share of training time", 100 * curves, "%"),
            common.row("what is written after a validation, share of training time", 100 * after, "%"),
            common.row(
                "both together", 100 * (curves + after), "%", most=2.0, note="the graph, written once, left out"
            ),
        ],
        "seconds_per_step": step,
        "seconds_more_of_a_logging_step": extra,
        "seconds_in_each_method": written,
    }


class Watched:
    """`contenders.Product` with a clock around everything that writes events; options as there."""

    def __init__(self, **options):
        # Here: they bring TensorFlow, which the parent does without.
        from benchmarks.contenders import Product
        from fcn_tf.training.tensorboard import TensorBoard

        self._product = Product(validation=8, **options)
        self._spent = dict.fromkeys(_METHODS, 0.0)
        (hook,) = (hook for hook in self._product._trainer._hooks if isinstance(hook, TensorBoard))
        summaries = hook._summaries
        for name in _METHODS:
            setattr(summaries, name, self._timed(name, getattr(summaries, name)))

    def train(self, *, steps: int) -> tuple[list[float], dict[str, float]]:
        """Trains to the next validation.

        Returns:
          (seconds of each step but the first, which writes the graph, and the last, which also validates; {method of
          `Summaries`: seconds in it}).
        """
        self._spent.update(dict.fromkeys(_METHODS, 0.0))
        asked = self._product.fit(steps, log_every=_LOG_EVERY)
        return [later - sooner for sooner, later in zip(asked[1:], asked[2:], strict=False)], dict(self._spent)

    def _timed(self, name, method):
        def call(*args, **kwargs):
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self._spent[name] += time.perf_counter() - began

        return call


if __name__ == "__main__":
    common.run(main)
