"""What is checked before the first step: which examples can be used, and what their masks hold."""

import functools

import numpy as np
import pytest

from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.data.masks.read import read_pair
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.data.quality import screening
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.errors import UserError
from tests.prepared import photo, write

SPEC = DatasetSpec("toy", ("a", "b"), ((0, 0, 0), (255, 0, 0)), ignore_label=255)


@pytest.fixture
def dataset(tmp_path):
    """Three photos of 20x24; mask n has n columns of 1 and one that is ignored."""
    examples = []
    for number in range(3):
        label = np.zeros((24, 20))
        label[:, :number], label[:, 19] = 1, 255
        write(tmp_path / f"{number}.jpg", photo(number))
        write(tmp_path / f"{number}.png", label)
        examples.append(Example(str(number), str(tmp_path / f"{number}.jpg"), str(tmp_path / f"{number}.png")))
    return Dataset(SPEC, "train", tuple(examples), functools.partial(read_pair, SPEC, None), shards=3)


def test_the_pixels_of_each_class_by_hand(dataset):
    found = list(screening.check_masks(dataset, FileScanCache()).values())
    assert found == [{0: 24 * 19, 255: 24}, {0: 24 * 18, 1: 24, 255: 24}, {0: 24 * 17, 1: 48, 255: 24}]


def test_values_by_the_data_sets_own_rules(dataset, tmp_path):
    write(tmp_path / "0.png", np.full((24, 20), 200))
    rules = MaskRules(values=(0, 200))
    only = Dataset(SPEC, "train", dataset.examples[:1], dataset.read, rules)
    assert screening.rules_of(only) is rules
    assert list(screening.check_masks(only, FileScanCache()).values()) == [{1: 480}]


def test_a_mask_that_cannot_be_used_stops_before_training(dataset, tmp_path):
    write(tmp_path / "1.png", np.full((24, 20), 7))
    with pytest.raises(UserError, match=r"1\.png: the mask holds 7 "):
        screening.check_masks(dataset, FileScanCache())
    (tmp_path / "1.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"1\.png: not a readable .* leave such files out: --on_bad_example=skip\.$"):
        screening.check_masks(dataset, FileScanCache())


def test_what_was_checked_when_it_was_written_is_not_read(dataset):
    example = Example("x", "none.jpg", "none.png")  # reading it would fail
    checked = Dataset(SPEC, "train", (example,), dataset.read, checked={"none.png": {0: 5}})
    assert screening.check_masks(checked, FileScanCache()) == {"none.png": {0: 5}}


def test_unusable_examples_are_left_out_and_named(dataset, tmp_path, capsys):
    assert screening.skip_unusable(dataset, FileScanCache()) is dataset
    (tmp_path / "0.jpg").write_bytes(b"\xff\xd8 broken")
    write(tmp_path / "2.png", np.zeros((24, 24)))
    left = screening.skip_unusable(dataset, FileScanCache())
    assert [example.name for example in left.examples] == ["1"] and left.shards == 1
    said = capsys.readouterr().out
    assert said.startswith("skipped 2 of 3 examples of toy train: ")
    assert "0.jpg" in said and "24x24, its photo 20x24" in said
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(UserError, match="toy train: no example is left after skipping; --mode=check says why"):
        screening.skip_unusable(dataset, FileScanCache())


def test_generated_examples_are_in_no_files():
    empty = Dataset(SPEC, "train", (), lambda example: (np.zeros(0), np.zeros(0)))
    generated = Dataset(SPEC, "train", (Example("scene"),), empty.read)
    assert not screening.in_files(empty) and not screening.in_files(generated)
