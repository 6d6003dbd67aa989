"""Makes the pictures of docs/gallery.md: the same validation photos as labelled by several runs.

    python tools/make_gallery.py --name=gallery --examples=3,40,77 --output=docs \
        light=logs/accuracy/light/seed0 fcn8s=logs/accuracy/fcn8s/seed0

Examples are counted in the data set of the first run, which all runs must have been trained on. For each there is one
JPEG: the photo, its ground truth, and what each run predicts, with its mean IoU over the classes of that photo. With
`--together` there is one JPEG of all, a column for each example.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

import fcn_tf
from fcn_tf.config import Config
from fcn_tf.data import datasets, palette
from fcn_tf.inference.runs import TrainedRun
from fcn_tf.io import files, images
from fcn_tf.metrics import confusion
from fcn_tf.reports import panels

_HEIGHT, _COLUMNS, _QUALITY = 180, 4, 85  # of a cell in pixels; cells in a row; of the JPEGs


def scored(labels: np.ndarray, truth: np.ndarray, run: TrainedRun) -> str:
    """The mean IoU of one prediction, both int (H, W), in words."""
    counts = confusion.confusion(truth, labels, num_classes=len(run.class_names), ignore_label=run.ignore_label)
    return f"{confusion.mean_iou(counts, run.ignore_label):.1%}"


def main() -> None:
    """Writes NAME_NUMBER.jpg for each example, or NAME.jpg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="of the pictures")
    parser.add_argument("--examples", required=True, help="numbers of validation examples, with commas between")
    parser.add_argument("--together", action="store_true", help="in one picture")
    parser.add_argument("--output", default="docs")
    parser.add_argument("runs", nargs="+", help="CAPTION=LOGS_DIR")
    options = parser.parse_args()
    runs = [(name, fcn_tf.load_run(logs_dir)) for name, _, logs_dir in (each.partition("=") for each in options.runs)]
    first = runs[0][1]
    config = Config(**first.config["flags"])
    dataset = datasets.load(config.dataset, config.data_dir, "validation", **config.data_flags())
    examples = [dataset.examples[int(number)] for number in options.examples.split(",")]
    pairs = [dataset.read(example) for example in examples]
    shown = [
        [("photo", picture), ("ground truth", palette.colorize(truth, first.colors, first.ignore_label))]
        for picture, truth in pairs
    ]
    for name, run in runs:
        segmenter = fcn_tf.Segmenter.from_run(run)
        for cells, (picture, truth) in zip(shown, pairs, strict=True):
            labels = segmenter(picture).labels
            cells.append((f"{name}: {scored(labels, truth, run)}", palette.colorize(labels, run.colors)))
        print(name, *(cells[-1][0].rpartition(" ")[2] for cells in shown), flush=True)
    small = [[(caption, _smaller(pixels)) for caption, pixels in cells] for cells in shown]
    if options.together:
        pictures = {options.name: list(zip(*small, strict=True))}
    else:
        pictures = {
            f"{options.name}_{number}": [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
            for number, cells in enumerate(small, 1)
        }
    for name, rows in pictures.items():
        path = files.join(options.output, f"{name}.jpg")
        files.write_bytes(path, images.encode_jpeg(panels.grid(rows), _QUALITY))
        print(path)


def _smaller(pixels: np.ndarray) -> np.ndarray:
    """A cell, by area where it is made smaller: edges stay visible."""
    width = max(1, round(pixels.shape[1] * _HEIGHT / len(pixels)))
    kind = cv2.INTER_AREA if len(pixels) > _HEIGHT else cv2.INTER_NEAREST
    return cv2.resize(pixels, (width, _HEIGHT), interpolation=kind)


if __name__ == "__main__":
    main()
