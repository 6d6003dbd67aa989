"""How much each class weighs in the loss: equally, by its rarity, or as a file says."""

from collections.abc import Iterable, Mapping

import numpy as np

from fcn_tf.data.base import DatasetSpec
from fcn_tf.errors import UserError
from fcn_tf.io import texts

MOST = 10.0  # times the median: a class of a few pixels must not rule the training
RULES = (
    "median frequency balancing (Eigen and Fergus 2015): a class's frequency is its share of the labelled pixels of "
    f"the images it is in; its weight is the median frequency / its own, from {1 / MOST:g} to {MOST:g}"
)


def balanced(class_pixel_counts: Iterable[Mapping[int, int]], spec: DatasetSpec) -> tuple[float, ...]:
    """Weights by median frequency balancing, see `RULES`.

    Args:
      class_pixel_counts: {class id or ignored label: pixels} of each training image.
      spec: of the data set.

    Returns:
      One weight a class; 1 for a class that does not occur.
    """
    pixels, around = np.zeros(spec.num_classes), np.zeros(spec.num_classes)
    for counts in class_pixel_counts:
        counted = {label: count for label, count in counts.items() if label != spec.ignore_label and count}
        labelled = sum(counted.values())
        for label, count in counted.items():
            pixels[label] += count
            around[label] += labelled
    present = pixels > 0
    if not present.any():
        return (1.0,) * spec.num_classes
    frequency = np.divide(pixels, around, out=np.ones(spec.num_classes), where=present)
    weights = np.where(present, np.median(frequency[present]) / frequency, 1.0)
    return tuple(np.clip(weights, 1 / MOST, MOST).round(4).tolist())


def read(path: str, spec: DatasetSpec) -> tuple[float, ...]:
    """Reads a file with a line NAME,WEIGHT for each class, in any order, or just WEIGHT in the order of ids.

    Raises:
      UserError: if a class is missing or unknown, or a weight is no positive number.
    """
    try:
        lines = texts.load(path).split("\n")
    except OSError as error:
        raise UserError(
            f"--class_weights={path} cannot be read ({error.strerror or error}); expected none, balanced or a file of "
            "NAME,WEIGHT lines."
        ) from None
    rows = [line.strip().rpartition(",") for line in lines if line.strip() and line.strip() != "name,weight"]
    names = [name for name, _, _ in rows]
    wanted = list(spec.class_names)
    if not any(names):
        names = wanted[: len(rows)]
    if len(rows) != len(wanted) or sorted(names) != sorted(wanted):
        missing = [name for name in wanted if name not in names]
        raise UserError(
            f"{path}: {len(rows)} weights for {len(wanted)} classes"
            + (f", none for {', '.join(missing[:5])}" if missing else "")
            + "; expected one line NAME,WEIGHT for each class."
        )
    found = {}
    for name, (_, _, text) in zip(names, rows, strict=True):
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = -1.0
        if not (0 <= found[name] < float("inf")):
            raise UserError(f"{path}: the weight of {name} is {text!r}; expected a number from 0.")
    if not any(found.values()):
        raise UserError(f"{path}: every weight is 0, so nothing would be trained; give one that is not.")
    return tuple(found[name] for name in wanted)


def show(weights: tuple[float, ...], spec: DatasetSpec) -> str:
    """One line of names and weights."""
    return "class weights: " + ", ".join(f"{name} {w:g}" for name, w in zip(spec.class_names, weights, strict=True))
