"""The training step against other packages' networks: same batch, crop, classes and cores, in turns.

Peers are FCN-8s in PyTorch (peer_torch.py, float32 and bfloat16) and the networks of Keras packages (peer_keras.py);
the product trains its own `fcn8s`, the same network. A peer that is not installed or does not run is named with the
reason. `--python` names an interpreter that has them: `python -m venv peers && peers/bin/pip install torch`.
`--weights=tiny --image_size=32 --num_classes=5` is quicker; the peers' networks keep their full width.
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

from benchmarks import common, turns
from benchmarks.peer_keras import NETWORKS

_RARELY = 4  # rounds between two turns of bfloat16 where the processor emulates it
_PEERS = {
    "torch float32": ("benchmarks.peer_torch:Torch", {"precision": "float32"}),
    "torch bfloat16": ("benchmarks.peer_torch:Torch", {"precision": "bfloat16"}),
    **{name: ("benchmarks.peer_keras:Keras", {"package": name}) for name in NETWORKS},
}
_NOTES = {"keras-segmentation": "FCN-8 over VGG16", "segmentation-models": "U-Net over VGG19: it has no FCN"}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has the peers' packages")
    parser.add_argument("--num_classes", type=int, default=151)
    parser.add_argument("--image_size", type=int, default=224, help="a multiple of 32")
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each")
    parser.add_argument("--seconds", type=float, default=420.0, help="no round begins after these, except the first 3")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Lets everybody who is there take turns; see `main` for the arguments."""
    size = {name: getattr(args, name) for name in ("num_classes", "image_size", "batch_size")}
    missing: dict[str, str] = {}
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        weights = common.weights_file(args.weights, folder)
        workers = {}
        for dtype in ("float32", "bfloat16"):
            workers[f"fcn_tf {dtype}"] = stack.enter_context(
                turns.Worker("benchmarks.contenders:Product", arch="fcn8s", weights=weights, precision=dtype, **size)
            )
        for name, (target, options) in _PEERS.items():
            worker = stack.enter_context(turns.Worker(target, python=args.python, **options, **size))
            try:
                worker.call("step")  # traces; and says early whether it runs at all
                found[name] = worker.call("version")
                workers[name] = worker
            except turns.WorkerError as error:
                missing[name] = str(error).splitlines()[0]
                worker.close()
        contenders = {name: functools.partial(worker.call, "step") for name, worker in workers.items()}
        for name in ("fcn_tf float32", "fcn_tf bfloat16"):
            contenders[name]()
        slow = not common.bfloat16_supported(common.machine())
        every = {name: _RARELY for name in contenders if slow and name.endswith("bfloat16")}
        rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds, every=every)
        peaks = {name: worker.call("peak_bytes") for name, worker in workers.items()}
    rows: list[dict] = []
    pairs: dict[str, dict] = {}
    for name in _PEERS:
        ours = "fcn_tf bfloat16" if name.endswith("bfloat16") else "fcn_tf float32"
        what = f"training rate, {ours}, against {name}"
        if name in missing:
            rows.append(common.row(what, None, "x", note=missing[name]))
            continue
        speedup = turns.ratio(rounds, name, ours)
        pairs[name] = dataclasses.asdict(speedup)
        rows.append(common.row(what, speedup.median, "x", note=" ".join((found[name], _NOTES.get(name, ""))).strip()))
    return {
        "rows": rows,
        "images_per_second": {name: args.batch_size / turns.median_seconds(rounds, name) for name in contenders},
        "fcn_tf_vs_peer": pairs,
        "peers": found,
        "missing": missing,
        "rounds_seconds": rounds,
        "peak_bytes": peaks,
    }


if __name__ == "__main__":
    main()
