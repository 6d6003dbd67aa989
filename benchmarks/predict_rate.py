"""The rate of `--mode=predict` on a folder of photos against a bare forward pass of the same network.

Both take turns in one process: the network alone on photos in memory, one at a time; and everything predict does with
the files, from reading the first to having written the last result. `--weights=tiny --width=64 --height=48` takes a
minute.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, turns
from fcn_tf.io import files, images, system

_OUTPUTS = ("labels", "overlay")


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--arch", default="fcn8s")
    parser.add_argument("--images", type=int, default=20, help="photos a turn")
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument("--seconds", type=float, default=600.0, help="no round begins after these, except the first 3")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Lets the two take turns; see `main` for the arguments."""
    system.load_tensorflow()
    import tensorflow as tf

    from fcn_tf.data.datasets import camvid
    from fcn_tf.inference import bulk, inputs, journal, segmenter, views
    from fcn_tf.models import build

    spec = camvid.SPEC
    with tempfile.TemporaryDirectory() as folder:
        data_dir = scenes.write_camvid(
            os.path.join(folder, "data"), train=0, validation=args.images, width=args.width, height=args.height
        )
        weights = common.weights_file(args.weights, folder)
        model = build.build_model(args.arch, num_classes=spec.num_classes, weights=weights)
        label = segmenter.Segmenter(model, class_names=spec.class_names, colors=spec.colors)
        output_dir = os.path.join(folder, "out")
        predictor = bulk.BulkPredictor(label, output_dir, journal.Journal(output_dir, {}))
        items = inputs.find(os.path.join(data_dir, "val"), output_dir=output_dir).found
        photos = [tf.constant(images.decode_image(files.read_bytes(item.path), name=item.path)[None]) for item in items]
        # As in the program: one signature for all sizes, and the layers that are faster on this machine.
        signature = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
        scores = tf.function(views.scoring(model, views.InferenceOptions()).look, input_signature=signature)
        timed = {
            "bare": _Timed(lambda: [float(scores(photo)[0][0, 0, 0, 0]) for photo in photos]),
            "predict": _Timed(lambda: predictor.pictures(items, _OUTPUTS)),
        }
        contenders = {name: each.take_turn for name, each in timed.items()}
        for turn in contenders.values():
            turn()  # traces, and lets oneDNN make its kernels
        rounds = turns.take_turns(contenders, rounds=args.rounds, seconds=args.seconds)
    warm = (each.used[1:] for each in timed.values())
    used = [dict(zip(timed, seconds, strict=True)) for seconds in zip(*warm, strict=True)]
    by_clock, by_processor = (turns.ratio(each, "bare", "predict") for each in (rounds, used))
    return {
        "rows": [
            common.row(
                "predict, photos/s against a bare forward pass",
                by_clock.median,
                "x",
                least=0.97,
                note=f"rounds from {by_clock.low:.2f} to {by_clock.high:.2f}",
            ),
            common.row("the same by processor time", by_processor.median, "x", note="changes less with what else runs"),
        ],
        "vs_bare": dataclasses.asdict(by_clock),
        "vs_bare_by_processor": dataclasses.asdict(by_processor),
        "photos_per_second": {name: args.images / turns.median_seconds(rounds, name) for name in contenders},
        "rounds_seconds": rounds,
        "rounds_processor_seconds": used,
    }


class _Timed:
    """Work, and the processor time that it took each time."""

    def __init__(self, work: Callable[[], Any]):
        self._work = work
        self.used: list[float] = []

    def take_turn(self) -> float:
        """Does the work; the seconds by the clock."""
        began, used = time.perf_counter(), time.process_time()
        self._work()
        self.used.append(time.process_time() - used)
        return time.perf_counter() - began


if __name__ == "__main__":
    common.run(main)
