"""`--mode=visualize`: a contact sheet of random validation examples, with truth and prediction in colour."""

from dataclasses import dataclass

import numpy as np

from fcn_tf.config import Config
from fcn_tf.data import datasets, palette
from fcn_tf.data.base import DatasetSpec
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, startup
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import confusion
from fcn_tf.reports import html

_CAPTIONS = {"inp": "input", "gt": "truth", "pred": "prediction", "overlay": "overlay"}


def run(config: Config) -> int:
    """Writes visualize/{inp,gt,pred,overlay}_N.png, legend.png and index.html under --logs_dir.

    Args:
      config: uses dataset, data_dir, split, ignore_label, logs_dir, tta, sliding_window and refine; batch_size says
        how many examples, and seed which ones.

    Returns:
      The exit status, 0.

    Raises:
      UserError: without a trained model, a data set, or a folder that can be written.
    """
    source = Run(config.logs_dir)
    source.require_model()
    dataset = datasets.load(config.dataset, config.data_dir, config.split, **config.data_flags(), cache=source.facts)
    if not len(dataset):
        raise UserError(f"{dataset.spec.name} {dataset.split} has no examples; give another --split.")
    files.require_writable(source.visualize, flag="--logs_dir")
    count = min(config.batch_size, len(dataset))
    chosen = np.random.default_rng(config.seed).choice(len(dataset), count, replace=False).tolist()

    # Here, because it takes seconds and mistakes should show at once.
    startup.load_tensorflow()
    from fcn_tf.inference import evaluator, views

    samples: list[Sample] = []

    def on_batch(indices, pictures, labels, predictions, _counts):
        names = [dataset.examples[index].name for index in indices]
        samples.extend(map(Sample, names, pictures, labels, predictions))

    looks = views.Scoring(tta=config.tta, window=config.sliding_window, refine=config.refine)
    evaluation = evaluator.evaluate_dataset(
        evaluator.load_model(source), dataset, scoring=looks, indices=chosen, on_batch=on_batch
    )
    index = write_sheet(
        samples,
        dataset.spec,
        source.visualize,
        title=f"{dataset.spec.name} {dataset.split}: {count} of {len(dataset)} images",
        subtitle=f"{source.model}, seed {config.seed}. Together: {_scores(evaluation.counts, dataset.spec)}.",
    )
    print(f"{count} of {len(dataset)} examples of {dataset.spec.name} {dataset.split}; open {index}")
    return 0


@dataclass(frozen=True)
class Sample:
    """An example as the model sees it: uint8 (H, W, 3) picture, class ids (H, W) twice."""

    name: str
    picture: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def write_sheet(samples: list[Sample], spec: DatasetSpec, folder: str, *, title: str, subtitle: str) -> str:
    """Writes the pictures, the legend and the page, in place of those of an earlier sheet.

    Returns:
      The path of index.html.
    """
    _clear(folder)
    cards = []
    shares = np.zeros(spec.num_classes, np.int64)
    for number, sample in enumerate(samples):
        for kind, pixels in draw(sample, spec).items():
            files.write_bytes(files.join(folder, f"{kind}_{number}.png"), images.encode_png(pixels))
        counts = confusion.confusion(
            sample.truth, sample.prediction, num_classes=spec.num_classes, ignore_label=spec.ignore_label
        )
        shares += counts.sum(1) + np.bincount(sample.prediction.ravel(), minlength=spec.num_classes)
        height, width = sample.truth.shape
        cards.append(
            {
                "name": sample.name,
                "caption": _scores(counts, spec),
                "width": width,
                "height": height,
                "pictures": [{"file": f"{kind}_{number}.png", "caption": text} for kind, text in _CAPTIONS.items()],
            }
        )
    present = [i for i in np.argsort(-shares, kind="stable") if shares[i]]
    names, colors = [spec.class_names[i] for i in present], [spec.colors[i] for i in present]
    if any((sample.truth == spec.ignore_label).any() for sample in samples):
        names.append("(not labelled)")
        colors.append(palette.IGNORED)
    files.write_bytes(files.join(folder, "legend.png"), images.encode_png(palette.legend(names, colors)))
    legend = list(zip(names, colors, strict=True))
    index = files.join(folder, "index.html")
    files.write_bytes(index, html.contact_sheet(title=title, subtitle=subtitle, legend=legend, cards=cards))
    return index


def draw(sample: Sample, spec: DatasetSpec) -> dict[str, np.ndarray]:
    """The four pictures of an example by kind, all uint8 (H, W, 3)."""
    return {
        "inp": sample.picture,
        "gt": palette.colorize(sample.truth, spec.colors, spec.ignore_label),
        "pred": palette.colorize(sample.prediction, spec.colors),
        "overlay": palette.overlay(sample.picture, sample.prediction, spec.colors),
    }


def _scores(counts: np.ndarray, spec: DatasetSpec) -> str:
    accuracy = confusion.pixel_accuracy(counts, spec.ignore_label)
    if np.isnan(accuracy):
        return "nothing labelled"
    return f"pixel accuracy {accuracy:.1%}, mean IoU {confusion.mean_iou(counts, spec.ignore_label):.1%}"


def _clear(folder: str) -> None:
    """Removes the numbered pictures of an earlier, perhaps longer sheet: they would pass for this one's."""
    for kind in _CAPTIONS:
        for path in files.glob(files.join(folder, f"{kind}_[0-9]*.png")):
            files.remove(path)
