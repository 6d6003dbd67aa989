"""Confusion counts inside a TensorFlow graph: only C * C numbers of a batch cross to the host."""

from typing import Any

import numpy as np
import tensorflow as tf

from fcn_tf.data.base import DatasetSpec


def confusion_cells(logits: tf.Tensor, labels: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """Counts (ground truth, prediction) pairs in the graph.

    Args:
      logits: float (B, H, W, C).
      labels: int32 (B, H, W).
      spec: of the data set.

    Returns:
      int64 (C * C + 2,): the confusion matrix row by row (rows = ground truth), then the number of ignored pixels
      and of those whose label is neither a class nor ignored. `counts_from_cells` makes a matrix of a sum.
    """
    cell = _cell_numbers(labels, tf.argmax(logits, axis=-1, output_type=tf.int32), spec)
    size = spec.num_classes**2 + 2
    return tf.math.bincount(tf.reshape(cell, [-1]), minlength=size, maxlength=size, dtype=tf.int64)


def counts_from_cells(cells: Any, spec: DatasetSpec) -> np.ndarray:
    """The int64 (C, C) confusion matrix in a sum of `confusion_cells`."""
    return np.asarray(cells)[:-2].reshape(spec.num_classes, spec.num_classes)


def pixel_masks(labels: tf.Tensor, spec: DatasetSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Two masks, bool (B, H, W): of the pixels that are not ignored, and of those whose label is a class.

    Args:
      labels: int32 (B, H, W).
      spec: of the data set.
    """
    ignore = spec.ignore_label
    counted = tf.ones_like(labels, tf.bool) if ignore is None else tf.not_equal(labels, ignore)
    return counted, (labels >= 0) & (labels < spec.num_classes)


def _cell_numbers(labels: tf.Tensor, predictions: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """(B, H, W): which of the C * C + 2 cells a pixel counts in."""
    classes = spec.num_classes
    counted, known = pixel_masks(labels, spec)
    # Two more cells: for pixels that don't count, and for labels that must not be.
    cell = tf.where(known, labels * classes + predictions, classes * classes + 1)
    return tf.where(counted, cell, classes * classes)


def image_cells(labels: tf.Tensor, predictions: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """`confusion_cells` of each image.

    Args:
      labels: int32 (B, H, W).
      predictions: int32 (B, H, W), class ids.
      spec: of the data set.

    Returns:
      int64 (B, C * C + 2).
    """
    size, images = spec.num_classes**2 + 2, tf.shape(labels)[0]
    cell = _cell_numbers(labels, predictions, spec) + size * tf.range(images)[:, None, None]
    cells = size * images
    counts = tf.math.bincount(tf.reshape(cell, [-1]), minlength=cells, maxlength=cells, dtype=tf.int64)
    return tf.reshape(counts, [-1, size])
