"""`--mode=evaluate`: one pass over a split, one confusion matrix, every published number, and a report.

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

from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.base import Dataset
from fcn_tf.data.datasets import pairs
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, startup
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import bootstrap, confusion, per_image
from fcn_tf.metrics.per_image import Tally
from fcn_tf.reports import evaluation_page

_LABEL_PATTERNS = ("*.png", "*.bmp", "*.tif", "*.tiff")
_CHUNK = 16  # examples in flight when scoring files: bounds the memory


def run(config: Config) -> int:
    """Scores the whole split; writes metrics.json, per_class.csv, confusion.npz, per_image.npz and report.html.

    Args:
      config: uses dataset, data_dir, split, ignore_label, logs_dir, batch_size, predictions, tta, sliding_window,
        refine, boundary, compare and seed.

    Returns:
      The exit status, 0.

    Raises:
      UserError: without a trained model, a data set, or a folder that can be written, or with label PNGs that are
        missing or of another size.
    """
    target = Run(config.logs_dir)
    if not config.predictions:
        target.require_model()
    dataset = datasets.load(config.dataset, config.data_dir, config.split, **config.data_flags(), cache=target.facts)
    spec = dataset.spec
    # Read before the pass: it takes long, and mistakes should show at once.
    others = per_image.read_areas(Run(config.compare), dataset) if config.compare else None
    files.require_writable(target.evaluation, flag="--logs_dir")
    total = Tally(dataset, boundary=config.boundary)
    with tqdm.tqdm(total=len(dataset), unit="image", desc="evaluate", disable=None) as bar:
        if config.predictions:
            facts = score_files(dataset, config.predictions, total, on_images=bar.update)
        else:
            facts = _score_model(dataset, target, total, config, on_images=bar.update)
    summary = {
        "dataset": spec.name,
        "split": dataset.split,
        "images": len(dataset),
        **facts,
        "resolution": total.resolution(),
        **confusion.summarize(total.counts, spec.class_names, spec.ignore_label),
        "intervals": {**bootstrap.intervals(total.areas, seed=config.seed), "rules": bootstrap.RULES},
    }
    if config.boundary:
        summary["boundary"] = total.boundary()
    if others is not None:
        summary["comparison"] = _compare(total.areas, others, config.compare, config.seed)
    print(table(summary))  # before anything is written: the disk may be full by now
    _write(target, "confusion.npz", _npz(total.counts, spec.class_names, spec.ignore_label))
    _write(target, per_image.PER_IMAGE, per_image.pack(dataset, total.areas))
    _write(target, "metrics.json", (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    _write(target, "per_class.csv", _csv(summary["per_class"]))
    flags = target.read_config().get("flags") if target.exists() else None
    page = evaluation_page.build(summary, total.counts, spec, best=total.best, worst=total.worst, flags=flags)
    _write(target, "report.html", page)
    path = files.join(target.evaluation, "report.html")
    print(f"{len(dataset)} images of {spec.name} {dataset.split}; written to {target.evaluation}; open {path}")
    return 0


def score_files(
    dataset: Dataset, folder: str, total: Tally, *, on_images: Callable[[int], Any] = lambda count: None
) -> dict[str, Any]:
    """Scores label images against a data set.

    Args:
      dataset: the truth.
      folder: holds one label image of class ids an example, NAME.png or NAME_label.png.
      total: where the images are added.
      on_images: called with the number of images done since it was last called.

    Returns:
      Facts for metrics.json.

    Raises:
      UserError: if the folder or a label image is missing, is unreadable, or differs in size from the truth.
    """
    paths = _find_predictions(dataset, folder)
    spec = dataset.spec

    def score(index: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        example = dataset.examples[index]
        picture, truth = dataset.read(example)
        path = paths[example.name]
        predictions = images.decode_label(pairs.read_bytes(path, mend="save it again"), name=path)
        if predictions.shape != truth.shape:
            raise UserError(
                f"{path}: {_size(predictions)}, but the label map of {example.name} is {_size(truth)}; save "
                "predictions at the original size (label maps are never resized here)."
            )
        counts = confusion.confusion(truth, predictions, num_classes=spec.num_classes, ignore_label=spec.ignore_label)
        return index, picture, truth, predictions, counts

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(dataset), _CHUNK):
            for result in pool.map(score, range(start, min(start + _CHUNK, len(dataset)))):
                total.add(*result)
                on_images(1)
    return {"predictions": folder}


def table(summary: dict[str, Any]) -> str:
    """The numbers of `metrics.summarize`, and what else metrics.json holds, as aligned text in percent."""
    rows = summary["per_class"]
    width = max(len("frequency-weighted IoU"), *(len(row["name"]) for row in rows))
    pixels = max(summary["pixels"], 1)
    lines = [f"{'class':<{width}}  {'IoU %':>6}  {'acc %':>6}  {'Dice %':>6}  {'area %':>6}"]
    for row in rows:
        values = (row["iou"], row["accuracy"], row["dice"], row["pixels"] / pixels)
        lines.append(f"{row['name']:<{width}}  " + "  ".join(map(_percent, values)))
    lines.append("")
    rules = confusion.in_short(summary)
    for name, key in (
        ("mean IoU", "mean_iou"),
        ("mean accuracy", "mean_accuracy"),
        ("pixel accuracy", "pixel_accuracy"),
        ("frequency-weighted IoU", "frequency_weighted_iou"),
        ("SceneParsing score", "scene_parsing_score"),
    ):
        interval = summary.get("intervals", {}).get(key)
        sure = f"{_percent(interval[0])} to {_percent(interval[1]).strip()}" if interval else ""
        lines.append(f"{name:<{width}}  {_percent(summary[key])}  {sure:<16}  {rules[key]}")
    if summary.get("boundary"):
        lines.append(f"{'boundary F1 (BF)':<{width}}  {_percent(summary['boundary']['bf'])}  {'':16}  {rules['bf']}")
        for pixels_away, value in summary["boundary"]["trimap_iou"].items():
            lines.append(f"{f'mean IoU within {pixels_away} px':<{width}}  {_percent(value)}")
    if summary.get("comparison"):
        found = summary["comparison"]
        low, high = (100 * bound for bound in found["interval"])
        verdict = "the two runs differ" if found["differs"] else "no difference beyond chance"
        difference = f"{100 * found['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
        lines.append(f"mean IoU here minus in {found['other']}: {difference}: {verdict}")
    return "\n".join(lines)


def _score_model(
    dataset: Dataset, target: Run, total: Tally, config: Config, *, on_images: Callable[[int], Any]
) -> dict[str, Any]:
    # Here, because it takes seconds and scoring files does without TensorFlow.
    startup.load_tensorflow()
    from fcn_tf.inference import evaluator, views

    def on_batch(indices, pictures, labels, predictions, counts):
        for each in zip(indices.tolist(), pictures, labels, predictions, counts, strict=True):
            total.add(*each)
        on_images(len(indices))

    result = evaluator.evaluate_dataset(
        evaluator.load_model(target),
        dataset,
        scoring=views.Scoring(tta=config.tta, window=config.sliding_window, refine=config.refine),
        batch_size=config.batch_size,
        on_batch=on_batch,
    )
    return {
        "model": target.model,
        "settings": {name: getattr(config, name) for name in ("tta", "sliding_window", "refine")},
        "loss": result.loss if np.isfinite(result.loss) else None,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
    }


def _compare(areas: np.ndarray, others: np.ndarray, other: str, seed: int) -> dict[str, Any]:
    if not np.array_equal(areas[:, 1], others[:, 1]):
        raise UserError(f"--compare={other} was evaluated against other label maps of these images; evaluate it again.")
    return {"other": other, **bootstrap.compare(areas, others, seed=seed)}


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
