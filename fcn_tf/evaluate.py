"""`--mode=evaluate`: one pass over a split, one confusion matrix, every published number.

Scores the run's model, or with `--predictions` a folder of label PNGs made by anything.
"""

import csv
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tqdm

from fcn_tf import datasets, files, images, metrics
from fcn_tf.config import Config
from fcn_tf.datasets.base import Dataset, Example
from fcn_tf.errors import UserError
from fcn_tf.runs import Run

_LABEL_PATTERNS = ("*.png", "*.bmp", "*.tif", "*.tiff")
_CHUNK = 64  # examples in flight when scoring files: bounds the memory


class _Sizes:
    """The smallest and largest picture seen, as [width, height]."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int, int]] = set()  # (area, width, height)

    def add(self, shape: tuple[int, ...]) -> None:
        height, width = shape[-2:]
        self.seen.add((width * height, width, height))
        self.seen = {min(self.seen), max(self.seen)}

    def summary(self) -> dict[str, Any]:
        if not self.seen:
            return {"rule": "each image at its own size", "smallest": None, "largest": None}
        (_, *smallest), (_, *largest) = min(self.seen), max(self.seen)
        return {"rule": "each image at its own size", "smallest": smallest, "largest": largest}


def run(config: Config) -> int:
    """Scores the whole split; writes evaluation/{metrics.json,per_class.csv,confusion.npz} under --logs_dir.

    Args:
      config: uses dataset, data_dir, split, ignore_label, logs_dir, batch_size and predictions.

    Returns:
      The exit status, 0.

    Raises:
      UserError: without a trained model, a data set, or with label PNGs that are missing or of another size.
    """
    target = Run(config.logs_dir)
    if not config.predictions:
        target.require_model()
    dataset = datasets.load(config.dataset, config.data_dir, config.split, ignore_label=config.ignore_label)
    with tqdm.tqdm(total=len(dataset), unit="image", desc="evaluate", disable=None) as bar:
        if config.predictions:
            counts, facts = score_files(dataset, config.predictions, on_example=bar.update)
        else:
            counts, facts = _score_model(dataset, target, config.batch_size, on_images=bar.update)
    spec = dataset.spec
    summary = metrics.summarize(counts, spec.class_names, spec.ignore_label)
    report = {"dataset": spec.name, "split": dataset.split, "images": len(dataset), **facts, **summary}
    files.makedirs(target.evaluation)
    _write(target, "metrics.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    _write(target, "per_class.csv", _csv(summary["per_class"]))
    _write(target, "confusion.npz", _npz(counts, spec.class_names, spec.ignore_label))
    print(table(summary))
    print(f"{len(dataset)} images of {spec.name} {dataset.split}; written to {target.evaluation}")
    return 0


def score_files(
    dataset: Dataset, folder: str, *, on_example: Callable[[], Any] = lambda: None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores label images against a data set.

    Args:
      dataset: the truth.
      folder: holds one label image of class ids an example, NAME.png or NAME_label.png.
      on_example: called after each one.

    Returns:
      int64 (C, C + 1) counts, and facts for metrics.json.

    Raises:
      UserError: if the folder or a label image is missing, is unreadable, or differs in size from the truth.
    """
    paths = _find_predictions(dataset, folder)
    spec, sizes = dataset.spec, _Sizes()

    def score(example: Example) -> tuple[np.ndarray, tuple[int, ...]]:
        _, truth = dataset.read(example)
        path = paths[example.name]
        predictions = images.decode_label(files.read_bytes(path), name=path)
        if predictions.shape != truth.shape:
            raise UserError(
                f"{path}: {_size(predictions)}, but the label map of {example.name} is {_size(truth)}; save "
                "predictions at the original size (label maps are never resized here)."
            )
        counts = metrics.confusion(
            truth, predictions, num_classes=spec.num_classes, ignore_label=spec.ignore_label
        )
        return counts, truth.shape

    total = np.zeros((spec.num_classes, spec.num_classes + 1), np.int64)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(dataset), _CHUNK):
            for counts, shape in pool.map(score, dataset.examples[start : start + _CHUNK]):
                total += counts
                sizes.add(shape)
                on_example()
    return total, {"predictions": folder, "resolution": sizes.summary()}


def table(summary: dict[str, Any]) -> str:
    """The numbers of `metrics.summarize` as aligned text, in percent."""
    rows = summary["per_class"]
    width = max(len("frequency-weighted IoU"), *(len(row["name"]) for row in rows))
    pixels = max(summary["pixels"], 1)
    lines = [f"{'class':<{width}}  {'IoU %':>6}  {'acc %':>6}  {'Dice %':>6}  {'area %':>6}"]
    for row in rows:
        values = (row["iou"], row["accuracy"], row["dice"], row["pixels"] / pixels)
        lines.append(f"{row['name']:<{width}}  " + "  ".join(map(_percent, values)))
    lines.append("")
    for name, key in (
        ("mean IoU", "mean_iou"),
        ("mean accuracy", "mean_accuracy"),
        ("pixel accuracy", "pixel_accuracy"),
        ("frequency-weighted IoU", "frequency_weighted_iou"),
        ("SceneParsing score", "scene_parsing_score"),
    ):
        lines.append(f"{name:<{width}}  {_percent(summary[key])}")
    return "\n".join(lines)


def _score_model(
    dataset: Dataset, target: Run, batch_size: int, *, on_images: Callable[[int], Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    from fcn_tf import inference  # here, because it takes seconds and scoring files does without TensorFlow

    sizes = _Sizes()

    def on_batch(indices, _images, labels, _predictions):
        sizes.add(labels.shape)
        on_images(len(indices))

    model = inference.load_model(target)
    result = inference.evaluate_dataset(model, dataset, batch_size=batch_size, on_batch=on_batch)
    return result.counts, {
        "model": target.model,
        "resolution": sizes.summary(),
        "loss": result.loss if np.isfinite(result.loss) else None,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
    }


def _find_predictions(dataset: Dataset, folder: str) -> dict[str, str]:
    """{example name: path of its label image}."""
    if not files.is_dir(folder):
        raise UserError(f"--predictions={folder} is no folder; expected one with a label PNG for each image.")
    stems = {
        os.path.splitext(name)[0]: files.join(folder, name)
        for name in files.list_dir(folder)
        if files.matches(name, _LABEL_PATTERNS)
    }
    found, missing = {}, []
    for example in dataset.examples:
        path = stems.get(example.name) or stems.get(f"{example.name}_label")
        if path is None:
            missing.append(example.name)
        else:
            found[example.name] = path
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UserError(
            f"{folder} has no label image for {len(missing)} of {len(dataset)} images of {dataset.spec.name} "
            f"{dataset.split}: {', '.join(missing[:5])}{more}; expected NAME.png or NAME_label.png for each."
        )
    return found


def _write(target: Run, name: str, data: bytes) -> None:
    files.write_bytes(files.join(target.evaluation, name), data)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        ("id", "name", "iou", "accuracy", "dice", "pixels", "predicted_pixels"),
        lineterminator="\n",
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _npz(counts: np.ndarray, class_names: tuple[str, ...], ignore_label: int | None) -> bytes:
    """Rows = truth; an extra last column counts predictions that are no class. -1: nothing is ignored."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        counts=counts,
        class_names=np.array(class_names),
        ignore_label=np.int64(-1 if ignore_label is None else ignore_label),
    )
    return file.getvalue()


def _percent(value: float | None) -> str:
    return f"{'-':>6}" if value is None else f"{100 * value:6.2f}"


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
