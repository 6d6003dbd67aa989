"""Whether bfloat16 costs accuracy: the same trainings in both types, compared.

On `shapes`, the mean IoU on validation of bfloat16 must lie within the 95 % interval of float32's or above it. On
CamVid, the mean loss of the last 50 of 200 steps must agree within 2 %; without `--camvid` that half is left out, and
said so. Runs lie in `--logs_dir`, and the same command goes on where it stopped. `--shapes_steps=4 --image_size=32` is
quick.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run

_CAMVID = common.ROOT.parent / "shared" / "data" / "camvid"
_TYPES = ("float32", "bfloat16")
_APART = 0.02  # how far the mean losses may lie apart, as a share


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--logs_dir", default="logs/precision", help="where the runs are")
    parser.add_argument("--shapes_steps", type=int, default=600, help="of each training on shapes, with tiny weights")
    camvid = os.path.relpath(_CAMVID) if _CAMVID.is_dir() else ""
    parser.add_argument("--camvid", default=camvid, help="CamVid's folder, or empty")
    parser.add_argument("--camvid_steps", type=int, default=200, help="of each training on CamVid")
    parser.add_argument("--last", type=int, default=50, help="CamVid steps whose loss is averaged")
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--image_size", type=int, default=0, help="of both; 0: each data set's default")
    parser.add_argument("--batch_size", type=int, default=0, help="of both; 0: each data set's default")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Trains what is not trained yet and compares; see `main` for the arguments."""
    shapes = {dtype: _shapes(args, dtype) for dtype in _TYPES}
    low, high = shapes["float32"]["interval"]
    rows = [
        common.row(
            "mean IoU on shapes, bfloat16",
            shapes["bfloat16"]["mean_iou"],
            "",
            least=low,
            note=f"float32: {shapes['float32']['mean_iou']:.4f}, 95 % interval {low:.4f} to {high:.4f}",
        )
    ]
    losses: dict[str, list[float]] | None = None
    what = f"mean loss of the last {args.last} of {args.camvid_steps} CamVid steps, bfloat16 from float32, relative"
    if args.camvid:
        losses = {dtype: _camvid(args, dtype) for dtype in _TYPES}
        last = {dtype: mean(losses[dtype][-args.last :]) for dtype in _TYPES}
        apart = abs(last["bfloat16"] / last["float32"] - 1)
        note = f"{last['bfloat16']:.4f} and {last['float32']:.4f}"
        rows.append(common.row(what, apart, "", most=_APART, note=note))
    else:
        rows.append(common.row(what, None, "", most=_APART, note="needs CamVid: give --camvid=FOLDER"))
    return {"rows": rows, "shapes": shapes, "camvid_losses": losses}


def _shapes(args, dtype):
    run = Run(os.path.abspath(os.path.join(args.logs_dir, f"shapes-{dtype}")))
    _train(args, run, dtype, ["--dataset=shapes", f"--max_steps={args.shapes_steps}"])
    turns.run_program(["--mode=evaluate", f"--logs_dir={run.logs_dir}"])
    metrics = json.loads(files.read_bytes(files.join(run.evaluation, "metrics.json")))
    return {"mean_iou": metrics["mean_iou"], "interval": metrics["intervals"]["mean_iou"]}


def _camvid(args, dtype):
    """The loss of every step."""
    run = Run(os.path.abspath(os.path.join(args.logs_dir, f"camvid-{dtype}")))
    weights = common.weights_file(args.weights, args.logs_dir)
    flags = {"dataset": "camvid", "data_dir": os.path.abspath(args.camvid), "weights": weights}
    flags |= {"max_steps": args.camvid_steps, "eval_every": args.camvid_steps, "save_every": 50, "log_every": 1}
    _train(args, run, dtype, [f"--{name}={value}" for name, value in flags.items()])
    return _losses(run, args.camvid_steps)


def _train(args, run, dtype, flags):
    chosen = [f"--{name}={value}" for name in ("image_size", "batch_size") if (value := getattr(args, name))]
    print(f"training {run.logs_dir}", flush=True)
    turns.run_program(
        ["--mode=train", *flags, *chosen, f"--arch={args.arch}", f"--precision={dtype}", f"--logs_dir={run.logs_dir}"]
    )


def _losses(run: Run, steps: int) -> list[float]:
    """TensorBoard's training curve; of steps that were taken again after a resume, the later value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(run.train_events, size_guidance={"tensors": 0})
    events.Reload()
    by_step = {event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")}
    return [by_step[step] for step in range(1, steps + 1)]


if __name__ == "__main__":
    common.run(main)
