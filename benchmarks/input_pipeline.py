"""The input pipeline alone: reads, decodes, augments, crops and batches, and nothing trains.

Photos (JPEG) and label maps (PNG) of 480x360 are generated, or `--data_dir` names a folder in CamVid's layout. The
rate is set against the training rate that train_step.py wrote. What each further variation of the crops costs is the
processor time of cropping alone, without reading. `--images=8 --batches=4` takes seconds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes
from fcn_tf.data import augment, crops
from fcn_tf.data.base import Dataset
from fcn_tf.data.datasets import camvid
from fcn_tf.io import files, system

_CROPPED = 64  # photos whose cropping alone is timed
_WARM_UP = 4  # batches: threads start, and tf.data finds out how many to use


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--data_dir", default="", help="a folder in CamVid's layout; empty: generated photos")
    parser.add_argument("--images", type=int, default=64, help="how many photos to generate")
    parser.add_argument("--image_size", type=int, default=224, help="side of the crops")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--batches", type=int, default=100, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns; the median is reported")
    training = os.path.relpath(common.RESULTS / "train_step.json")
    parser.add_argument("--training", default=training, help="results of train_step.py to compare with")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Times batches of the training pipeline; see `main` for the arguments."""
    system.load_tensorflow()
    from fcn_tf.data import pipeline

    with tempfile.TemporaryDirectory() as folder:
        data_dir = args.data_dir or scenes.write_camvid(folder, train=args.images, validation=0)
        dataset = camvid.load(data_dir, "train")
        batches = pipeline.training_batches(
            dataset,
            batch_size=args.batch_size,
            image_size=args.image_size,
            seed=0,
            num_steps=_WARM_UP + args.rounds * args.batches,
        )
        iterator = iter(batches)
        for _ in range(_WARM_UP):
            next(iterator)
        rates = []
        for _ in range(args.rounds):
            began = time.perf_counter()
            for _ in range(args.batches):
                next(iterator)
            rates.append(args.batches * args.batch_size / (time.perf_counter() - began))
        sizes = [os.path.getsize(example.image) for example in dataset.examples]
        costs = _crop_milliseconds(dataset, args.image_size, rounds=args.rounds)
    rate = statistics.median(rates)
    training = _training_rate(args.training)
    missing = f"needs {os.path.basename(args.training)}; run train_step.py first"
    return {
        "rows": [
            common.row(f"input pipeline alone, crops of {args.image_size}", rate, "images/s"),
            common.row(
                "input pipeline against the training rate in bfloat16",
                rate / training if training else None,
                "x",
                least=60.0,
                note="" if training else missing,
            ),
            *(common.row(f"a crop of {args.image_size}, {name}", cost, "ms") for name, cost in costs.items()),
        ],
        "images_per_second": rate,
        "rounds_images_per_second": rates,
        "training_images_per_second": training,
        "photo_bytes": statistics.mean(sizes),
        "crop_milliseconds": costs,
    }


def _crop_milliseconds(dataset: Dataset, image_size: int, *, rounds: int) -> dict[str, float]:
    """{variation: processor time of cropping one photo}, the median of rounds that take turns."""
    varied = {
        "as by default": augment.Augmentation(),
        "--scales=0.5,0.75,1,1.5": augment.Augmentation(scales=crops.parse_scales("0.5,0.75,1,1.5")),
        "--class_crops=1": augment.Augmentation(class_crops=1.0),
        "--rotate=10": augment.Augmentation(rotate=10.0),
        "--jitter=0.5": augment.Augmentation(jitter=0.5),
    }
    read = [dataset.read(example) for example in dataset.examples[:_CROPPED]]
    times: dict[str, list[float]] = {name: [] for name in varied}
    for seed in range(rounds):
        for name, chosen in varied.items():
            began = time.process_time()
            for image, label in read:
                rng = np.random.default_rng(seed)
                augment.transform(image, label, size=image_size, rng=rng, augment=chosen, ignore_label=11)
            times[name].append(1e3 * (time.process_time() - began) / len(read))
    return {name: statistics.median(each) for name, each in times.items()}


def _training_rate(path: str) -> float | None:
    """Images/s in bfloat16 according to results of train_step.py, if there are any."""
    return json.loads(files.read_bytes(path))["images_per_second"]["bfloat16"] if files.exists(path) else None


if __name__ == "__main__":
    common.run(main)
