"""The optimiser's step: the fused Adam or SGD of fcn_tf against Keras' own, on the variables of the original network.

Both update the same 151 million numbers (full width, 151 classes) in turns, from the same gradients, and their results
after ten steps are compared. `--weights=tiny --num_classes=5` takes seconds. `--optimizer=sgd` has momentum 0.9.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, network, turns
from fcn_tf.io import system
from fcn_tf.models import matconvnet

_COMPARED_AFTER = 10  # steps
_DIFFERENCE = 1e-5  # of any number after them, at most
_WANTED = {"Adam": 1.9, "SGD": 1.0}  # times the rate of Keras', at least


class Update:
    """One optimiser and the variables it updates.

    Args:
      kind: "fused" or "keras".
      shapes: of the variables.
      name: of Keras' class.
    """

    def __init__(self, kind: str, shapes: list[tuple[int, ...]], name: str = "Adam"):
        system.load_tensorflow()
        import keras
        import numpy as np
        import tensorflow as tf

        from fcn_tf.training import optimizers

        rng = np.random.default_rng(0)
        self._variables = [
            keras.Variable(rng.standard_normal(shape, np.float32) * np.float32(0.02), name=f"variable{i}")
            for i, shape in enumerate(shapes)
        ]
        # Two sets that alternate: moments of a constant gradient would be too easy to agree on.
        self._gradients = [[tf.constant(rng.standard_normal(shape, np.float32)) for shape in shapes] for _ in range(2)]
        make = {"fused": getattr(optimizers, f"Fused{name}"), "keras": getattr(keras.optimizers, name)}[kind]
        optimizer = make(1e-4, **({"epsilon": 1e-8} if name == "Adam" else {"momentum": 0.9}))
        optimizer.build(self._variables)
        self._apply = tf.function(lambda *gradients: optimizer.apply(list(gradients), self._variables))
        self._iterations = optimizer.iterations

    def step(self) -> float:
        """Updates all variables once; the seconds it took."""
        gradients = self._gradients[int(self._iterations.numpy()) % 2]
        began = time.perf_counter()
        self._apply(*gradients)
        int(self._iterations.numpy())  # waits for it
        return time.perf_counter() - began

    def difference(self, other: "Update") -> float:
        """The largest distance between a number here and the same one there."""
        import numpy as np

        pairs = zip(self._variables, other._variables, strict=True)
        return max(float(np.abs(mine.numpy() - theirs.numpy()).max()) for mine, theirs in pairs)


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default="adam")
    parser.add_argument("--num_classes", type=int, default=151)
    parser.add_argument("--rounds", type=int, default=30, help=f"steps of each optimiser; {_COMPARED_AFTER} or more")
    parser.add_argument("--seconds", type=float, default=120.0, help="no round begins after these")
    args = parser.parse_args(argv)
    if args.rounds < _COMPARED_AFTER:
        parser.error(
            f"--rounds must be {_COMPARED_AFTER} or more, got {args.rounds}: results are compared after so many"
        )
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Lets both optimisers step in turns; see `main` for the arguments."""
    with tempfile.TemporaryDirectory() as folder:
        widths = network.trunk_widths(matconvnet.read(common.weights_file(args.weights, folder)))
    layers = network.original_layers(widths, args.num_classes)
    shapes: list[tuple[int, ...]] = [shape for layer in layers for shape in (layer.kernel, (layer.filters,))]
    # In one process, so that results can be compared: here memory is not what is measured.
    name = {"adam": "Adam", "sgd": "SGD"}[args.optimizer]
    fused, keras = Update("fused", shapes, name), Update("keras", shapes, name)
    contenders = {"keras": keras.step, "fused": fused.step}
    rounds = turns.take_turns(contenders, rounds=_COMPARED_AFTER, seconds=float("inf"))
    difference = fused.difference(keras)
    rounds = rounds[1:]  # the first is spent on tracing
    rounds += turns.take_turns(
        contenders, rounds=args.rounds - _COMPARED_AFTER, seconds=args.seconds, first=_COMPARED_AFTER
    )
    speedup = turns.ratio(rounds, "keras", "fused")
    return {
        "rows": [
            common.row(f"optimiser step, fused against keras {name}", speedup.median, "x", least=_WANTED[name]),
            common.row(
                f"largest difference after {_COMPARED_AFTER} steps, fused to keras {name}",
                difference,
                "",
                most=_DIFFERENCE,
            ),
        ],
        "parameters": network.parameters(layers),
        "fused_vs_keras": dataclasses.asdict(speedup),
        "max_difference": difference,
        "seconds": {name: turns.median_seconds(rounds, name) for name in contenders},
        "rounds_seconds": rounds,
    }


if __name__ == "__main__":
    common.run(main)
