"""The training step against other packages' networks: same batch, crop, classes and cores, in turns.

Peers are FCN-8s in PyTorch (peer_torch.py, float32 and bfloat16) and the networks of Keras packages (peer_keras.py);
the product trains its own `fcn8s`, the same network, or another one by `--arch`. A peer that is not installed or does
not run is named with the reason. `--python` names an interpreter that has them: `python -m venv peers &&
peers/bin/pip install torch`. `--weights=tiny --image_size=32 --num_classes=5` is quicker; the peers' networks keep
their full width and need an `--image_size` that is a multiple of 32.
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
from fcn_tf.errors import UserError

_PEERS: dict[str, tuple[str, dict[str, str]]] = {
    "torch float32": ("benchmarks.peer_torch:Torch", {"precision": "float32"}),
    "torch bfloat16": ("benchmarks.peer_torch:Torch", {"precision": "bfloat16"}),
    **{name: ("benchmarks.peer_keras:Keras", {"package": name}) for name in NETWORKS},
}
_NOTES = {"keras-segmentation": "FCN-8 over VGG16", "segmentation-models": "U-Net over VGG19: it has no FCN"}

_WANTED = "light", "segmentation-models"  # the default network should be no slower than that


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="fcn8s", help="what the product trains")
    parser.add_argument("--peers", default=",".join(_PEERS), help="which, with commas between")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has the peers' packages")
    common.add_size(parser)
    parser.add_argument("--rounds", type=int, default=12, help="turns with each peer")
    parser.add_argument("--seconds", type=float, default=420.0, help="for all; with each peer at least 3 rounds")
    args = parser.parse_args(argv)
    if unknown := set(args.peers.split(",")) - set(_PEERS):
        raise UserError(f"--peers names {', '.join(sorted(unknown))}; expected some of {', '.join(_PEERS)}.")
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Takes turns with one peer after the other, so that no more than one of them is in memory; see `main`."""
    size = common.size_of(args)
    rows: list[dict] = []
    pairs: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        options = {"arch": args.arch, "weights": common.weights_file(args.weights, folder), **size}
        ours = {
            dtype: stack.enter_context(turns.Worker("benchmarks.contenders:Product", precision=dtype, **options))
            for dtype in ("float32", "bfloat16")
        }
        for worker in ours.values():
            worker.call("step")  # traces, and lets oneDNN make its kernels
        peers = {name: _PEERS[name] for name in args.peers.split(",")}
        for name, (target, chosen) in peers.items():
            dtype = chosen.get("precision", "float32")
            what = f"training rate, {args.arch} of fcn_tf in {dtype}, against {name}"
            try:
                with turns.Worker(target, python=args.python, **chosen, **size) as peer:
                    peer.call("step")
                    pairs[name] = _pair(ours[dtype], peer, args, seconds=args.seconds / len(peers))
            except turns.WorkerError as error:
                rows.append(common.row(what, None, "x", note=str(error).splitlines()[0]))
                continue
            note = f"{pairs[name]['version']} {_NOTES.get(name, '')}".strip()
            least = 1.0 if (args.arch, name) == _WANTED else None
            rows.append(common.row(what, pairs[name]["ratio"]["median"], "x", least=least, note=note))
        peaks = {dtype: worker.call("peak_bytes") for dtype, worker in ours.items()}
    return {"rows": rows, "pairs": pairs, "fcn_tf_peak_bytes": peaks}


def _pair(ours: turns.Worker, peer: turns.Worker, args: argparse.Namespace, *, seconds: float) -> dict:
    """How the two compare."""
    contenders = {"fcn_tf": functools.partial(ours.call, "step"), "peer": functools.partial(peer.call, "step")}
    rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=seconds)
    return {
        "version": peer.call("version"),
        "ratio": dataclasses.asdict(turns.ratio(rounds, "peer", "fcn_tf")),
        "images_per_second": {name: args.batch_size / turns.median_seconds(rounds, name) for name in contenders},
        "peer_peak_bytes": peer.call("peak_bytes"),
        "rounds_seconds": rounds,
    }


if __name__ == "__main__":
    common.run(main)
