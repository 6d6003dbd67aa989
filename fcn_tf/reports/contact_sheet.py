"""The contact sheet of --mode=visualize: photo, ground truth, prediction, overlay and errors of each example."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_tf.data import palette
from fcn_tf.data.base import DatasetSpec
from fcn_tf.io import files, images
from fcn_tf.metrics import confusion
from fcn_tf.reports import html

_CAPTIONS = {"inp": "photo", "gt": "ground truth", "pred": "prediction", "overlay": "overlay", "error": "errors"}


@dataclass(frozen=True)
class Sample:
    """An example and its prediction.

    Attributes:
      name: of the example.
      picture: uint8 (H, W, 3) RGB.
      ground_truth: class ids (H, W), or the ignored label.
      prediction: class ids (H, W).
    """

    name: str
    picture: np.ndarray
    ground_truth: np.ndarray
    prediction: np.ndarray


def write_sheet(samples: list[Sample], spec: DatasetSpec, folder: str, *, title: str, subtitle: str) -> str:
    """Writes {inp,gt,pred,overlay,error}_N.png, legend.png and index.html, in place of those of an earlier sheet.

    Args:
      samples: one card each, in this order.
      spec: of the data set.
      folder: where to.
      title: the headline.
      subtitle: one line below it.

    Returns:
      The path of index.html.
    """
    _clear(folder)
    cards = []
    class_pixel_counts = np.zeros(spec.num_classes, np.int64)  # ground truth and prediction together
    for number, sample in enumerate(samples):
        for kind, pixels in draw(sample, spec).items():
            files.write_bytes(files.join(folder, f"{kind}_{number}.png"), images.encode_png(pixels))
        counts = confusion.confusion(
            sample.ground_truth, sample.prediction, num_classes=spec.num_classes, ignore_label=spec.ignore_label
        )
        class_pixel_counts += counts.sum(1) + np.bincount(sample.prediction.ravel(), minlength=spec.num_classes)
        cards.append(_card(number, sample, scores(counts, spec)))
    present = [i for i in np.argsort(-class_pixel_counts, kind="stable") if class_pixel_counts[i]]
    names, colors = [spec.class_names[i] for i in present], [spec.colors[i] for i in present]
    if any((sample.ground_truth == spec.ignore_label).any() for sample in samples):
        names.append("(not labelled)")
        colors.append(palette.IGNORED)
    files.write_bytes(files.join(folder, "legend.png"), images.encode_png(palette.legend(names, colors)))
    page = html.render(
        "contact_sheet.html",
        title=title,
        subtitle=subtitle,
        legend=[{"name": name, "color": tuple(map(int, color))} for name, color in zip(names, colors, strict=True)],
        cards=cards,
    )
    index = files.join(folder, "index.html")
    files.write_bytes(index, page)
    return index


def draw(sample: Sample, spec: DatasetSpec) -> dict[str, np.ndarray]:
    """The pictures of an example by kind, all uint8 (H, W, 3)."""
    return {
        "inp": sample.picture,
        "gt": palette.colorize(sample.ground_truth, spec.colors, spec.ignore_label),
        "pred": palette.colorize(sample.prediction, spec.colors),
        "overlay": palette.overlay(sample.picture, sample.prediction, spec.colors),
        "error": palette.errors_image(sample.picture, sample.ground_truth, sample.prediction, spec.ignore_label),
    }


def scores(counts: np.ndarray, spec: DatasetSpec) -> str:
    """Pixel accuracy and mean IoU of a confusion matrix, (C, C) or (C, C + 1), in words."""
    accuracy = confusion.pixel_accuracy(counts, spec.ignore_label)
    if np.isnan(accuracy):
        return "nothing labelled"
    return f"pixel accuracy {accuracy:.1%}, mean IoU {confusion.mean_iou(counts, spec.ignore_label):.1%}"


def _card(number: int, sample: Sample, caption: str) -> dict[str, Any]:
    height, width = sample.ground_truth.shape
    return {
        "name": sample.name,
        "caption": caption,
        "width": width,
        "height": height,
        "pictures": [{"file": f"{kind}_{number}.png", "caption": text} for kind, text in _CAPTIONS.items()],
    }


def _clear(folder: str) -> None:
    """Removes the numbered pictures of an earlier, perhaps longer sheet: they would pass for this one's."""
    for kind in _CAPTIONS:
        for path in files.glob(files.join(folder, f"{kind}_[0-9]*.png")):
            files.remove(path)
