"""Minutes and steps until the mean IoU on validation photos reaches a target, side by side.

Networks of fcn_tf by their defaults, FCN-8s in PyTorch (peer_torch.py), and U-Net of segmentation-models
(peer_keras.py), all from the same file of VGG16's weights, learn the same batches in turns of `--every` steps, each
alone on the cores during its turn. Networks of fcn_tf have rates of their own for each layer; peers have one, so they
are tried with each of `--peer_rates`. After a turn they are scored, which is not counted, and written to `--logs_dir`:
the same command goes on where it stopped, also with more `--max_steps`. Who reached the target rests; its step is
interpolated between two scores. `--python` names an interpreter that has the peers' packages, as for peers.py.
`--max_steps=4 --every=2 --photos=2 --image_size=32` is quick.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns
from fcn_tf.errors import UserError
from fcn_tf.io import files

_PEERS = {
    "FCN-8s in PyTorch": "benchmarks.peer_torch:TorchLearner",
    "U-Net of segmentation-models": "benchmarks.peer_keras:UNetLearner",
}
_CAMVID = common.ROOT.parent / "shared" / "data" / "camvid"
_WEIGHTS = common.ROOT.parent / "shared" / "models" / "imagenet-vgg-verydeep-16.mat"


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--weights", default=os.path.relpath(_WEIGHTS), help="a MatConvNet file of VGG16")
    parser.add_argument("--data_dir", default=os.path.relpath(_CAMVID), help="of CamVid")
    parser.add_argument("--logs_dir", default="logs/time_to_accuracy", help="where batches and states are kept")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has the peers' packages")
    parser.add_argument("--archs", default="light,fcn8s,original", help="networks of fcn_tf, with commas between")
    parser.add_argument("--peers", default=",".join(_PEERS), help="others, with commas between; empty for none")
    parser.add_argument(
        "--peer_rates", default="1e-4,1e-3", help="learning rates of Adam, each a contender of each peer"
    )
    parser.add_argument("--target", type=float, default=0.5, help="mean IoU")
    parser.add_argument("--max_steps", type=int, default=1000, help="after which a contender gives up")
    parser.add_argument("--every", type=int, default=25, help="steps a turn")
    parser.add_argument("--photos", type=int, default=51, help="of the validation split, to score")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--image_size", type=int, default=224)
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Trains all contenders until they reach the target or give up; see `main` for the arguments."""
    folder = os.path.abspath(args.logs_dir)
    shared = {"folder": folder, "batch_size": args.batch_size, "num_classes": _write_batches(args, folder)}
    weights = os.path.abspath(args.weights)
    targets: dict[str, tuple[str, dict[str, Any]]] = {
        name: ("benchmarks.learner_fcn:Fcn", {"arch": name, "weights": weights}) for name in _names(args.archs)
    }
    for name in _names(args.peers):
        if name not in _PEERS:
            raise UserError(f"--peers names {name!r}; expected some of {', '.join(_PEERS)}.")
        for rate in _names(args.peer_rates):
            targets[f"{name}, {rate}"] = (_PEERS[name], {"weights": weights, "learning_rate": float(rate)})

    contenders = []
    try:
        for name, (target, options) in targets.items():
            contender = _Contender(name, folder, args)
            contenders.append(contender)
            if not contender.finished():
                python = args.python if target in _PEERS.values() else sys.executable
                contender.worker = turns.Worker(target, python=python, **options, **shared)
        while any(contender.worker for contender in contenders):
            for contender in contenders:
                contender.take_turn()
    finally:
        for contender in contenders:
            contender.close()
    return {
        "rows": [contender.row() for contender in contenders],
        "curves": {contender.name: contender.curve for contender in contenders},
    }


class _Contender:
    """One that trains until it reaches the target or gives up.

    Attributes:
      name: of it.
      curve: [steps, seconds of training, mean IoU] after each turn.
      worker: its process while it trains.
      failure: why it ended, if it failed.
    """

    def __init__(self, name: str, folder: str, args: argparse.Namespace):
        self.name, self._args = name, args
        stem = os.path.join(folder, name.replace(", ", "_").replace(" ", "_"))
        self._curve_file, self._state_file = f"{stem}.json", f"{stem}.npz"
        self.curve: list[list[float]] = []
        if os.path.exists(self._curve_file) and os.path.exists(self._state_file):
            self.curve = json.loads(files.read_bytes(self._curve_file))
        self._loaded = not self.curve
        self.worker: turns.Worker | None = None
        self.failure = ""

    def finished(self) -> bool:
        """Whether nothing is left to train."""
        curve, args = self.curve, self._args
        return bool(self.failure or curve and (curve[-1][2] >= args.target or curve[-1][0] >= args.max_steps))

    def take_turn(self) -> None:
        """Trains, scores and writes; nothing once it is finished."""
        if self.worker is None:
            return
        try:
            self._learn(self.worker)
        except turns.WorkerError as error:
            self.failure = str(error)
        if self.finished():
            self.close()

    def close(self) -> None:
        """Ends the process."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None

    def row(self) -> dict[str, Any]:
        """Of the table."""
        what = f"{self.name}, training to mean IoU {self._args.target:g}"
        found = reached(self.curve, self._args.target)
        if found is not None:
            return common.row(what, found[1] / 60, "min", note=f"{found[0]:.0f} steps")
        if self.failure:
            return common.row(what, None, "min", note=self.failure)
        steps, seconds, _ = self.curve[-1]
        best = max(score for _, _, score in self.curve)
        return common.row(what, None, "min", note=f"{best:.3f} at most in {steps:.0f} steps, {seconds / 60:.0f} min")

    def _learn(self, worker: turns.Worker) -> None:
        if not self._loaded:
            done = worker.call("load", path=self._state_file)
            self.curve = [point for point in self.curve if point[0] <= done]  # the curve is written first
            self._loaded = True
        step, seconds = self.curve[-1][:2] if self.curve else (0, 0.0)
        count = min(self._args.every, self._args.max_steps - int(step))
        seconds += worker.call("train", count=count)
        self.curve.append([step + count, seconds, worker.call("score")])
        files.write_bytes(self._curve_file, json.dumps(self.curve).encode())
        worker.call("save", path=self._state_file)
        print(f"{self.name}: step {step + count}, {seconds / 60:.1f} min, mean IoU {self.curve[-1][2]:.3f}", flush=True)


def _write_batches(args: argparse.Namespace, folder: str) -> int:
    """Writes the batches where they are not yet, or too few; returns the number of classes.

    Those of fewer steps are the first of those of more, so contenders go on where they gave up.
    """
    settings = {
        "steps": args.max_steps, "batch_size": args.batch_size, "image_size": args.image_size, "photos": args.photos,
        "seed": 0,
    }  # fmt: skip
    path = os.path.join(folder, "batches.json")
    if os.path.exists(path):
        kept = json.loads(files.read_bytes(path))
        classes = kept.pop("num_classes")
        if kept | {"steps": 0} != settings | {"steps": 0}:
            raise UserError(f"{folder} holds batches of {kept}, expected {settings}; give another --logs_dir.")
        if kept["steps"] >= args.max_steps:
            return classes
    options = {"dataset": "camvid", "data_dir": os.path.abspath(args.data_dir)}
    with turns.Worker("benchmarks.learner_fcn:Batches", **options) as worker:
        classes = worker.call("write", folder=folder, **settings)
    files.write_bytes(path, json.dumps(settings | {"num_classes": classes}).encode())
    return classes


def reached(curve: Sequence[Sequence[float]], target: float) -> tuple[float, float] | None:
    """(step, seconds) at which a curve of [step, seconds, score] first reaches the target, interpolated; or None."""
    before: Sequence[float] = (0.0, 0.0, 0.0)
    for point in curve:
        if point[2] >= target:
            share = (target - before[2]) / (point[2] - before[2])
            step, seconds = (a + share * (b - a) for a, b in zip(before[:2], point[:2], strict=True))
            return step, seconds
        before = point
    return None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    common.run(main)
