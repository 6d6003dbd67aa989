"""Scores label images that any program made (`--predictions`). No TensorFlow."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fcn_tf.data.base import Dataset, Example
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, texts
from fcn_tf.metrics import confusion
from fcn_tf.metrics.per_image import PerImageStats

_LABEL_PATTERNS = ("*.png", "*.bmp", "*.tif", "*.tiff")
_CHUNK = 16  # examples in flight: bounds the memory


def score_files(
    dataset: Dataset, folder: str, stats: PerImageStats, *, on_images: Callable[[int], Any] = lambda count: None
) -> dict[str, Any]:
    """Scores label images against a data set.

    Args:
      dataset: the ground truth.
      folder: holds one label image of class ids an example, NAME.png or NAME_label.png.
      stats: where the images are added.
      on_images: called with the number of images done since it was last called.

    Returns:
      Entries for metrics.json.

    Raises:
      UserError: if the folder or a label image is missing, is unreadable, or differs in size from the ground truth.
    """
    paths = _find(dataset, folder)
    spec = dataset.spec

    def score(index: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        example = dataset.examples[index]
        picture, ground_truth = dataset.read(example)
        path = paths[example.name]
        prediction = images.decode_label(read_file(path, fix="save it again"), name=path)
        if prediction.shape != ground_truth.shape:
            raise UserError(
                f"{path}: {_size(prediction)}, but the label map of {example.name} is {_size(ground_truth)}; save "
                "predictions at the original size (label maps are never resized here)."
            )
        counts = confusion.confusion(
            ground_truth, prediction, num_classes=spec.num_classes, ignore_label=spec.ignore_label
        )
        return index, picture, ground_truth, prediction, counts

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(dataset), _CHUNK):
            for result in pool.map(score, range(start, min(start + _CHUNK, len(dataset)))):
                stats.add(*result)
                on_images(1)
    return {"predictions": folder}


def _find(dataset: Dataset, folder: str) -> dict[str, str]:
    """{example name: path of its label image}."""
    if not files.is_dir(folder):
        raise UserError(f"--predictions={folder} is no folder; expected one with a label PNG for each image.")
    label_files = _label_files(folder)
    found, missing = {}, []
    for example in dataset.examples:
        path = next((label_files[name] for name in _names(example) if name in label_files), None)
        if path is None:
            missing.append(example.name)
        else:
            found[example.name] = path
    by_path: dict[str, str] = {}
    for name, path in found.items():
        if path in by_path:
            raise UserError(
                f"{path} is the only label image for both {by_path[path]} and {name}; keep the images' folders for "
                "their label images too, as --mode=predict does."
            )
        by_path[path] = name
    if missing:
        raise UserError(
            f"{folder} has no label image for {len(missing)} of {len(dataset)} images of {dataset.spec.name} "
            f"{dataset.split}: {texts.some(missing)}; expected NAME.png or NAME_label.png for each."
        )
    return found


def _label_files(folder: str) -> dict[str, str]:
    """{path below `folder` without extension and without _label: path} of every picture in it that may hold labels."""
    found: dict[str, str] = {}
    below = [""]
    while below:
        prefix = below.pop()
        for name in files.list_dir(files.join(folder, prefix)):
            path = files.join(folder, prefix, name)
            if files.matches(name, _LABEL_PATTERNS):
                stem = os.path.splitext(name)[0]
                # NAME.png wins over NAME_label.png: it is what was asked for.
                found[prefix + stem] = path
                found.setdefault(prefix + stem.removesuffix("_label"), path)
            elif files.is_dir(path):
                below.append(f"{prefix}{name}/")
    return found


def _names(example: Example) -> Iterator[str]:
    """What the label image of an example may be called, the most likely first: predict keeps folders and extensions."""
    yield example.name
    parts = example.image.replace(os.sep, "/").split("/")
    for start in range(len(parts)):
        photo = "/".join(parts[start:])
        yield from (os.path.splitext(photo)[0], photo)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
