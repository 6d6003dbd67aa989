"""Label images made by any program, scored against the ground truth."""

import pytest

from fcn_tf.errors import UserError
from fcn_tf.metrics import confusion, label_files
from fcn_tf.metrics.per_image import PerImageStats
from tests import tiny_run

PAIRS = [([[0, 1, 2]], [[0, 0, 3]]), ([[1, 1], [2, 2]], [[1, 2], [2, 2]])]


def score(folder):
    data = tiny_run.dataset(PAIRS)
    label_files.score_files(data, folder, PerImageStats(data))


def test_predictions_equal_to_the_ground_truth_are_perfect(tmp_path):
    data = tiny_run.dataset(PAIRS)
    folder = tiny_run.save_labels(tmp_path, {f"image{i}.png": label for i, (_, label) in enumerate(PAIRS)})
    total = PerImageStats(data)
    label_files.score_files(data, folder, total)
    assert confusion.pixel_accuracy(total.counts, 3) == confusion.mean_iou(total.counts, 3) == 1


def test_predictions_that_are_missing_are_named(tmp_path):
    folder = tiny_run.save_labels(tmp_path, {"image0.png": PAIRS[0][0], "stray.png": [[0]]})
    with pytest.raises(UserError, match="no label image for 1 of 2 images of tiny validation: image1;"):
        score(folder)
    with pytest.raises(UserError, match="is no folder"):
        score(str(tmp_path / "nowhere"))


def test_predictions_are_never_resized(tmp_path):
    folder = tiny_run.save_labels(tmp_path, {"image0.png": [[0, 1]], "image1.png": PAIRS[1][0]})
    with pytest.raises(UserError, match="image0.png: 2x1, but the label map of image0 is 3x1"):
        score(folder)
