"""`--mode=evaluate`: one pass over a split, one confusion matrix, every published score, and a report.

Scores the run's model, or with `--predictions` a folder of label images made by any program; the scores of the model
stay where they are then.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tqdm

from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.base import Dataset
from fcn_tf.data.datasets import run_classes, run_examples
from fcn_tf.errors import UserError
from fcn_tf.io import files, system
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import bootstrap, confusion, label_files, per_image
from fcn_tf.metrics.per_image import PerImageStats
from fcn_tf.reports import evaluation_page, tables


def run(config: Config) -> int:
    """Scores the whole split; writes metrics.json, per_class.csv, confusion.npz, per_image.npz and report.html.

    Args:
      config: uses dataset, data_dir, split and the other flags of the data set, palette, logs_dir,
        batch_size, predictions, tta, sliding_window, boundary, compare and seed.

    Returns:
      The exit status, 0.

    Raises:
      UserError: without a trained model, a data set, or a folder that can be written, or with label PNGs that are
        missing or of another size.
    """
    run_dir = Run(config.logs_dir)
    if not config.predictions:
        run_dir.require_model()  # before the data set is read
    dataset = run_examples.load(
        run_dir,
        config.dataset,
        config.data_dir,
        config.split,
        trained=not config.predictions,
        **config.data_flags(),
        cache=run_dir.facts,
    )
    settings = run_dir.read_config() if run_dir.exists() else None
    folder = run_dir.scores(config.predictions)
    files.require_writable(folder, flag="--logs_dir")
    dataset = run_classes.settle(
        run_dir, dataset, name=config.dataset, data_dir=config.data_dir, palette=config.palette
    )
    spec = dataset.spec
    # Read before the pass: it takes long, and mistakes should show at once.
    others = per_image.read_pixel_counts(Run(config.compare), dataset) if config.compare else None
    stats = PerImageStats(dataset, boundary=config.boundary)
    with tqdm.tqdm(total=len(dataset), unit="image", desc="evaluate", disable=None) as bar:
        if config.predictions:
            facts = label_files.score_files(dataset, config.predictions, stats, on_images=bar.update)
        else:
            facts = _score_model(dataset, run_dir, stats, config, on_images=bar.update)
    summary = {
        "dataset": spec.name,
        "split": dataset.split,
        "images": len(dataset),
        **facts,
        "resolution": stats.resolution(),
        **confusion.summarize(stats.counts, spec.class_names, spec.ignore_label),
        "intervals": {**bootstrap.intervals(stats.pixel_counts, seed=config.seed), "rules": bootstrap.RULES},
    }
    if config.boundary:
        summary["boundary"] = stats.boundary()
    if others is not None:
        summary["comparison"] = {
            **_compare(stats.pixel_counts, others, config.compare, config.seed),
            "scored": tables.scored(summary),
            "other_scored": tables.scored(per_image.read_summary(Run(config.compare))),
        }
    print(tables.text(summary))  # before anything is written: the disk may be full by now
    if hint := datasets.naming_hint(config.dataset, config.data_dir, spec):
        own = run_examples.is_own(settings or {}, config.dataset, config.data_dir)
        print(hint + ("; the next evaluation gives these names to the run, for every mode" if own else ""))
    flags = settings.get("flags") if settings else None
    contents = {
        "confusion.npz": tables.confusion_npz(stats.counts, spec.class_names, spec.ignore_label),
        per_image.FILE: per_image.pack(dataset, stats.pixel_counts),
        "metrics.json": (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode(),
        "per_class.csv": tables.per_class_csv(summary["per_class"]),
        "report.html": evaluation_page.build(
            summary, stats.counts, spec, best=stats.best, worst=stats.worst, flags=flags
        ),
    }
    for name, data in contents.items():
        files.write_bytes(files.join(folder, name), data)
    path = files.join(folder, "report.html")
    images = "1 image" if len(dataset) == 1 else f"{len(dataset)} images"
    print(f"{images} of {spec.name} {dataset.split}; written to {folder}; open {path}")
    return 0


def _score_model(
    dataset: Dataset, run_dir: Run, stats: PerImageStats, config: Config, *, on_images: Callable[[int], Any]
) -> dict[str, Any]:
    """Adds every image to `stats`; returns entries for metrics.json."""
    # Here, because it takes seconds and scoring files does without TensorFlow.
    system.load_tensorflow()
    from fcn_tf.inference import evaluator, views

    def on_batch(
        indices: np.ndarray, pictures: np.ndarray, labels: np.ndarray, predictions: np.ndarray, counts: np.ndarray
    ) -> None:
        for each in zip(indices.tolist(), pictures, labels, predictions, counts, strict=True):
            stats.add(*each)
        on_images(len(indices))

    result = evaluator.evaluate_dataset(
        evaluator.load_model(run_dir),
        dataset,
        options=views.InferenceOptions(tta=config.tta, tile=config.sliding_window),
        batch_size=config.batch_size,
        on_batch=on_batch,
    )
    return {
        "model": run_dir.require_model(),
        "settings": {"tta": config.tta, "sliding_window": config.sliding_window},
        "loss": result.loss if np.isfinite(result.loss) else None,
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
    }


def _compare(pixel_counts: np.ndarray, others: np.ndarray, other: str, seed: int) -> dict[str, Any]:
    if not np.array_equal(pixel_counts[:, 1], others[:, 1]):
        raise UserError(f"--compare={other} was evaluated against other label maps of these images; evaluate it again.")
    return {"other": other, **bootstrap.compare(pixel_counts, others, seed=seed)}
