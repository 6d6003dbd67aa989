"""records: the same stream of examples as from files, each worker its own shards, and damage told by its shard."""

import gzip
import json
import os
import re
import zlib

import numpy as np
import pytest

from fcn_tf import check
from fcn_tf.config import Config
from fcn_tf.data import datasets, pipeline
from fcn_tf.data.datasets import records
from fcn_tf.data.masks.read import read_file
from fcn_tf.data.quality import screening
from fcn_tf.data.quality.findings import Commands
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.errors import UserError
from fcn_tf.io import files, shards
from tests import prepared
from tests.data.datasets.test_folder import voc_files


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Where a folder of 25 photos is, and the records made of it: 22 to train on, in 16 shards."""
    root = tmp_path_factory.mktemp("both")
    data = prepared.write_folder(root / "data", count=25)
    return data, prepared.make("folder", data, root / "out")


@pytest.fixture
def out(both, tmp_path):
    """A copy of the records that may be harmed."""
    for name in os.listdir(both[1]):
        (tmp_path / name).write_bytes(files.read_bytes(files.join(both[1], name)))
    return str(tmp_path)


def batches(dataset, steps, batch_size=3, **options):
    found = pipeline.training_batches(dataset, batch_size=batch_size, image_size=16, seed=3, num_steps=steps, **options)
    return [(images.numpy(), labels.numpy()) for images, labels in found]


def assert_same_examples(one, other):
    assert [example.name for example in one.examples] == [example.name for example in other.examples]
    assert one.spec == other.spec and one.rules == other.rules
    for left, right in zip(one.examples, other.examples, strict=True):
        for a, b in zip(one.read(left), other.read(right), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_one_worker_gets_the_batches_that_files_give(both):
    sets = [datasets.load(name, where, "train") for name, where in zip(("folder", "records"), both, strict=True)]
    one, other = (batches(dataset, 15) for dataset in sets)  # 45 examples: past the ends of two epochs
    assert len(one) == len(other) == 15
    for left, right in zip(one, other, strict=True):
        assert np.array_equal(left[0], right[0]) and np.array_equal(left[1], right[1])
    resumed = batches(sets[1], 5, start_step=10)
    assert all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(one[10:], resumed, strict=True)
    )


def test_check_names_what_lies_in_shards_and_says_no_flag_or_command_that_would_not_work(out, tmp_path, capsys):
    logs = str(tmp_path / "logs")
    shard = next(name for name in sorted(os.listdir(out)) if name.startswith("train-") and name.endswith(".tfrecord"))
    assert check.run(Config(mode="check", dataset="records", data_dir=out, logs_dir=logs)) == 0
    with open(files.join(logs, "check", "check.json")) as file:
        (note,) = [each for each in json.load(file)["findings"] if each["kind"] == "zero_255"]
    assert note["mend"] == ""
    path = shards.address(files.join(out, shard), "masks/p1.png", start=0, length=9, checksum=7)
    commands = Commands(logs)
    (listed,) = [word for word in commands.remove([path], name="empty").split() if word.endswith("empty.txt")]
    assert commands.lists == {listed: b"masks/p1.png\n"}


@pytest.mark.parametrize("split", ["train", "validation", "all"])
def test_every_example_reads_as_from_files(both, split):
    assert_same_examples(datasets.load("folder", both[0], split), datasets.load("records", both[1], split))


@pytest.mark.parametrize("mask", ["values", "colors"])
@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_masks_by_rules(tmp_path, mask, suffix):
    data = prepared.write_folder(tmp_path / "data", 4, mask, suffix)
    out = prepared.make("folder", data, tmp_path / "out")
    one, other = datasets.load("folder", data, "all"), datasets.load("records", out, "all")
    assert_same_examples(one, other)
    assert set(np.unique(other.read(other.examples[0])[1])) == {0, 1}


def test_voc_and_camvid(tmp_path):
    voc_files(tmp_path / "voc", {"train": ["a", "b"], "val": ["c"]})
    for folder, name in (("train", "x"), ("val", "y"), ("test", "z")):
        prepared.write(tmp_path / f"cam/{folder}/{name}.png", prepared.photo(1))
        prepared.write(tmp_path / f"cam/{folder}annot/{name}.png", np.full((24, 20), 11))
    for name, splits in (("voc", ("train", "validation")), ("camvid", ("train", "validation", "test"))):
        data = str(tmp_path / name[:3])
        out = prepared.make(name, data, tmp_path / f"out_{name}")
        assert tuple(json.loads(files.read_bytes(f"{out}/manifest.json"))["splits"]) == splits
        for split in (*splits, "all"):
            assert_same_examples(datasets.load(name, data, split), datasets.load("records", out, split))
    assert len(datasets.load("records", str(tmp_path / "out_camvid"), "all")) == 3


def test_another_ignored_label_is_refused_and_the_same_one_is_not(tmp_path):
    voc_files(tmp_path / "voc", {"train": ["a"], "val": ["c"]})
    out = prepared.make("voc", tmp_path / "voc", tmp_path / "out")
    assert datasets.load("records", out, "train", ignore_label="255").spec.ignore_label == 255
    with pytest.raises(UserError, match="--ignore_label=none, but that was decided when the records were prepared"):
        datasets.load("records", out, "train", ignore_label="none")
    with pytest.raises(UserError, match="--num_classes is for --dataset=folder"):
        datasets.load("records", out, "train", num_classes=3)


def test_masks_were_checked_and_their_pixels_are_known(both, monkeypatch):
    sets = [datasets.load(name, where, "train") for name, where in zip(("folder", "records"), both, strict=True)]
    expected = list(screening.check_masks(sets[0], FileScanCache()).values())
    monkeypatch.setattr(files, "read_range", lambda *_: pytest.fail("a shard was read"))
    assert list(screening.check_masks(sets[1], FileScanCache()).values()) == expected


# ---- several workers


def spying(dataset, seen):
    """The data set, noting (example, shard) of each read."""

    def read(example):
        seen.append((example.name, shards.shard_path(example.image)))
        return dataset.read(example)

    return type(dataset)(dataset.spec, dataset.split, dataset.examples, read, dataset.rules, dataset.shards)


@pytest.mark.parametrize("workers", [2, 3, 16])
def test_each_worker_reads_its_own_shards_and_together_they_read_everything_once_an_epoch(both, workers):
    dataset = datasets.load("records", both[1], "train")
    shards_of, names = [], []
    for worker in range(workers):
        own = pipeline.own_examples(dataset, (worker, workers))
        assert own is not None
        seen: list = []
        batches(spying(dataset, seen), 2 * len(own), 1, shard=(worker, workers), parallel_calls=1)
        first, second = ([name for name, _ in seen[k * len(own) : (k + 1) * len(own)]] for k in (0, 1))
        assert sorted(first) == sorted(second) and len(set(first)) == len(own)
        names += first
        shards_of.append({shard for _, shard in seen})
        numbers = {int(number) for shard in shards_of[-1] for number in re.findall(r"-(\d+)-of", shard)}
        assert numbers == set(range(worker, 16, workers))
    assert sorted(names) == sorted(example.name for example in dataset.examples)
    assert sum(map(len, shards_of)) == len(set().union(*shards_of)) == 16


def test_a_worker_resumes_exactly(both):
    dataset = datasets.load("records", both[1], "train")
    whole = batches(dataset, 9, shard=(1, 2))
    rest = batches(dataset, 4, shard=(1, 2), start_step=5)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(whole[5:], rest, strict=True))


def test_more_workers_than_shards_share_every_batch(both):
    dataset = datasets.load("records", both[1], "validation")  # 3 examples in 3 shards
    assert dataset.shards == 3 and pipeline.own_examples(dataset, (0, 6)) is None
    assert pipeline.own_examples(datasets.load("folder", both[0], "train"), (0, 2)) is None
    whole = batches(dataset, 2, 6)
    slices = [batches(dataset, 2, 1, shard=(worker, 6)) for worker in range(6)]
    for step in range(2):
        np.testing.assert_array_equal(np.concatenate([each[step][0] for each in slices]), whole[step][0])


# ---- damage


def first_shard(out):
    return files.join(out, records.shard_name("train", 0, 16))


def test_a_changed_byte_names_the_shard_and_the_file(out):
    dataset = datasets.load("records", out, "train")
    data = bytearray(files.read_bytes(first_shard(out)))
    place = data.index(b"\xff\xd8") + 300  # in the first photo
    data[place] ^= 1
    files.write_bytes(first_shard(out), bytes(data))
    with pytest.raises(
        UserError, match=r"train-00000-of-00016\.tfrecord: the shard is damaged.*images/p\d+\.jpg"
    ) as caught:
        dataset.read(dataset.examples[0])
    assert "\n" not in str(caught.value)
    dataset.read(dataset.examples[1])  # lies in another shard
    left = datasets.load("records", out, "train", on_bad_example="skip")
    assert len(left) == 21 and left.shards == 1


def test_a_short_or_missing_shard_is_told_at_once_and_in_between(out):
    dataset = datasets.load("records", out, "train")
    whole = files.read_bytes(first_shard(out))
    files.write_bytes(first_shard(out), whole[:100])
    with pytest.raises(UserError, match=rf"train-00000-of-00016\.tfrecord: has 100 bytes, expected {len(whole)}"):
        datasets.load("records", out, "train")
    with pytest.raises(UserError, match=r"train-00000-of-00016\.tfrecord: the shard is cut short within images"):
        dataset.read(dataset.examples[0])
    files.remove(first_shard(out))
    with pytest.raises(UserError, match=r"train-00000-of-00016\.tfrecord: cannot be read"):
        datasets.load("records", out, "train")
    with pytest.raises(UserError, match=r"train-00000-of-00016\.tfrecord: images/p\d+\.jpg in it cannot be read"):
        dataset.read(dataset.examples[0])
    assert len(datasets.load("records", out, "validation")) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: {**m, "version": 2}, "version 2, this program reads 1"),
        (lambda m: {**m, "format": "other"}, "no manifest"),
        (lambda m: [], "no manifest"),
        (lambda m: {**m, "splits": {}}, "no split 'train'"),
        (lambda m: {**m, "splits": 3}, "is damaged"),
        (lambda m: {**m, "dataset": {}}, "is damaged"),
        (lambda m: {**m, "dataset": {**m["dataset"], "colors": [[1, 2]]}}, "is damaged"),
        (lambda m: {**m, "rules": {"values": [0]}}, "is damaged"),
        (lambda m: {**m, "splits": {"train": {}}}, "is damaged"),
        (lambda m: {**m, "splits": {"train": {**m["splits"]["train"], "examples": 21}}}, "is damaged"),
        (lambda m: {**m, "splits": {"train": {**m["splits"]["train"], "shards": []}}}, "no shards of train"),
        (lambda m: with_shard(m, file="../train-00000-of-00016.tfrecord"), "a file '../train-00000-of-00016.tfrecord'"),
        (lambda m: with_shard(m, file="/etc/passwd"), "where train-00000-of-00016.tfrecord belongs"),
        (lambda m: with_shard(m, bytes=float("inf")), "has [0-9]+ bytes, expected inf"),
        (lambda m: {**m, "dataset": {**m["dataset"], "ignore_label": float("inf")}}, "is damaged"),
    ],
)
def test_a_manifest_that_is_not_as_it_should_be(out, change, said):
    path = files.join(out, "manifest.json")
    files.write_bytes(path, json.dumps(change(json.loads(files.read_bytes(path)))).encode())
    with pytest.raises(UserError, match=said) as caught:
        datasets.load("records", out, "train")
    assert "\n" not in str(caught.value)


def with_shard(manifest, **changes):
    """The manifest with other facts about the first shard of the training split."""
    train = manifest["splits"]["train"]
    shards_of = [{**train["shards"][0], **changes}, *train["shards"][1:]]
    return {**manifest, "splits": {"train": {**train, "shards": shards_of}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: {**row, "name": "../../outside"}, "an example called '../../outside'"),
        (lambda row: {**row, "name": 3}, "an example called 3"),
        (lambda row: {**row, "image": {**row["image"], "start": 10**30}}, "a piece"),
        (lambda row: {**row, "image": {**row["image"], "length": -1}}, "a piece"),
        (lambda row: {**row, "label": {**row["label"], "length": 1.5}}, "a piece"),
        (lambda row: {**row, "pixels": [[0]]}, "is damaged"),
        (lambda row: 3, "is damaged"),
    ],
)
def test_an_index_that_is_not_as_it_should_be(out, change, said):
    """Its checksum is right: whoever wrote it meant it."""
    path, index = files.join(out, "manifest.json"), files.join(out, "train-index.jsonl.gz")
    rows = [json.loads(line) for line in gzip.decompress(files.read_bytes(index)).splitlines()]
    data = gzip.compress("\n".join(json.dumps(row) for row in [change(rows[0]), *rows[1:]]).encode())
    files.write_bytes(index, data)
    manifest = json.loads(files.read_bytes(path))
    manifest["splits"]["train"]["index"] |= {"bytes": len(data), "crc32": zlib.crc32(data)}
    files.write_bytes(path, json.dumps(manifest).encode())
    with pytest.raises(UserError, match=said) as caught:
        datasets.load("records", out, "train")
    assert "\n" not in str(caught.value)


def test_deep_json_is_damage(out):
    files.write_bytes(files.join(out, "manifest.json"), b"[" * 100_000)
    with pytest.raises(UserError, match="nested too deeply"):
        datasets.load("records", out, "train")


def test_a_damaged_index_or_a_manifest_that_is_no_json(out):
    path = files.join(out, "train-index.jsonl.gz")
    data = bytearray(files.read_bytes(path))
    data[40] ^= 1
    files.write_bytes(path, bytes(data))
    with pytest.raises(UserError, match=r"train-index\.jsonl\.gz is damaged"):
        datasets.load("records", out, "train")
    files.write_bytes(files.join(out, "manifest.json"), b"{")
    with pytest.raises(UserError, match=r"manifest\.json cannot be read"):
        datasets.load("records", out, "train")


# ---- addresses


def test_an_address_is_read_back(tmp_path):
    shard = str(tmp_path / "a#b@1+2.tfrecord")
    files.write_bytes(shard, b"0123456789")
    path = shards.address(shard, "images/x#1@2.jpg", start=2, length=3, checksum=0x7B5C2D2C)
    assert shards.shard_path(path) == shard and shards.name_of(path) == "images/x#1@2.jpg" and shards.size(path) == 3
    with pytest.raises(UserError, match="damaged"):
        read_file(path)
    plain = str(tmp_path / "x.jpg")
    files.write_bytes(plain, b"12")
    assert shards.shard_path(plain) == plain == shards.name_of(plain)
    assert read_file(plain) == b"12" and shards.size(plain) == 2
