"""Confusion cells in a graph against counts in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.data.base import DatasetSpec
from fcn_tf.metrics import confusion, in_graph


@pytest.mark.parametrize("ignore", [None, 1, 9])
def test_cells_equal_the_confusion_matrix_and_count_the_rest(ignore):
    rng = np.random.default_rng(0)
    spec = DatasetSpec("three", tuple("abc"), ((0, 0, 0),) * 3, ignore)
    labels = rng.choice([0, 1, 2] + ([] if ignore is None else [ignore]), (2, 4, 5)).astype(np.int32)
    logits = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    predictions = logits.argmax(-1)
    wanted = confusion.confusion(labels, predictions, num_classes=3, ignore_label=ignore)[:, :3]
    cells = tf.function(lambda *batch: in_graph.confusion_cells(*batch, spec))(logits, labels)
    np.testing.assert_array_equal(in_graph.counts_from_cells(cells, spec), wanted)
    assert cells[-2] == (labels == ignore).sum() and cells[-1] == 0
    each = in_graph.image_cells(tf.constant(labels), tf.constant(predictions, tf.int32), spec)
    assert each.shape == (2, 11)
    np.testing.assert_array_equal(tf.reduce_sum(each, axis=0), cells)


def test_labels_that_are_no_class_are_counted_apart():
    spec = DatasetSpec("two", tuple("ab"), ((0, 0, 0),) * 2, 9)
    cells = in_graph.confusion_cells(tf.zeros((1, 1, 4, 2)), tf.constant([[[0, 9, 5, -1]]]), spec)
    np.testing.assert_array_equal(cells, [1, 0, 0, 0, 1, 2])
