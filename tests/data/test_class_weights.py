"""Class weights: balanced by the pixels of each class, or out of a file."""

import pytest

from fcn_tf.data import class_weights
from fcn_tf.data.base import DatasetSpec
from fcn_tf.errors import UserError

SPEC = DatasetSpec("two", ("a", "b"), ((0, 0, 0), (1, 1, 1)), ignore_label=255)


def test_balanced_weights_by_hand():
    # a: 30 of 40 pixels, b: 10 of 40; the median of .75 and .25 is .5.
    assert class_weights.balanced([{0: 30, 1: 10, 255: 999}], SPEC) == (0.6667, 2.0)
    assert class_weights.balanced([{255: 5}], SPEC) == (1.0, 1.0)


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "weights.csv"
    for text in ("a,1\nb,2.5\n", "b,2.5\na,1\n", "1\n2.5\n"):
        path.write_text(text)
        assert class_weights.read(str(path), SPEC) == (1.0, 2.5)
    for text in ("a,1\n", "a,1\nc,2\n", "a,1\nb,x\n", "a,0\nb,0\n", "a,1\nb,-1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"weights\.csv"):
            class_weights.read(str(path), SPEC)
    with pytest.raises(UserError, match="--class_weights"):
        class_weights.read(str(tmp_path / "none.csv"), SPEC)
