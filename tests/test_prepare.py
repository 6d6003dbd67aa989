"""prepare: what is written, what is refused, and that half of it is never taken for the whole."""

import gzip
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import flags
import main
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.datasets import records, writer
from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from tests import prepared, tiny_training


@pytest.fixture
def folder(tmp_path):
    return prepared.write_folder(tmp_path / "data")


def manifest(out):
    return json.loads(files.read_bytes(files.join(out, records.MANIFEST)))


def examples_in(out, split):
    """The records of a split as TensorFlow's own reader sees them, {name: {feature: bytes}}, shard by shard."""
    found = []
    for shard in manifest(out)["splits"][split]["shards"]:
        part = {}
        for record in tf.data.TFRecordDataset(files.join(out, shard["file"])):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            values = {key: feature.bytes_list.value[0] for key, feature in features.items()}
            part[values["name"].decode()] = values
        found.append(part)
    return found


def test_a_warning_names_the_first_photo_that_its_sixteen_bits_leave_dark(folder, tmp_path, capsys):
    prepared.make("folder", folder, tmp_path / "plain")
    assert "16 bits" not in capsys.readouterr().err
    for number, highest in ((3, 1000), (5, 16383)):
        photo = Image.fromarray(np.full((20 + number, 33 - number), highest, np.uint16))
        photo.save(f"{folder}/images/p{number}.png")
        files.remove(f"{folder}/images/p{number}.jpg")
    prepared.make("folder", folder, tmp_path / "out")
    told = re.findall("warning: .*", capsys.readouterr().err)
    assert len(told) == 1 and told[0].endswith("; --mode=check names all such photos")
    dark = r"p3.png: 16 bits with no value above 1000 .* by 64|p5.png: 16 bits with no value above 16383 .* by 4;"
    assert re.search(dark, told[0])


def test_records_hold_the_bytes_of_the_files_and_other_tools_can_read_them(folder, tmp_path, capsys):
    out = prepared.make("folder", folder, tmp_path / "out")
    names = []
    for split in ("train", "validation"):
        source = datasets.load("folder", folder, split)
        shards = examples_in(out, split)
        for number, example in enumerate(source.examples):
            values = shards[number % len(shards)][example.name]
            assert values["image/encoded"] == files.read_bytes(example.image)
            assert values["label/encoded"] == files.read_bytes(example.label or "")
            assert values["image/filename"].decode() == f"images/{example.name}.jpg"
            assert values["label/filename"].decode() == f"masks/{example.name}.png"
            names.append(example.name)
    assert sorted(names) == sorted(f"p{number}" for number in range(10))
    said = capsys.readouterr().out
    assert "train: 9 examples in 9 shards" in said and f"--dataset=records --data_dir={out}" in said


def test_the_manifest_counts_and_its_index_is_plain_json(folder, tmp_path):
    out = prepared.make("folder", folder, tmp_path / "out")
    content = manifest(out)
    assert (
        content["version"] == 1
        and content["dataset"]["name"] == "folder"
        and list(content["splits"])
        == [
            "train",
            "validation",
        ]
    )
    train = content["splits"]["train"]
    assert train["examples"] == sum(shard["examples"] for shard in train["shards"]) == 9
    for shard in train["shards"]:
        assert files.size(files.join(out, shard["file"])) == shard["bytes"]
    lines = gzip.decompress(files.read_bytes(files.join(out, train["index"]["file"]))).splitlines()
    row = json.loads(lines[0])
    assert row["name"] == datasets.load("folder", folder, "train").examples[0].name
    data = files.read_range(files.join(out, train["shards"][0]["file"]), row["image"]["start"], row["image"]["length"])
    assert data == files.read_bytes(files.join(folder, row["image"]["name"]))


@pytest.mark.parametrize(
    ("megabytes", "examples", "shards"),
    [(1, 500, 16), (1, 6, 6), (2048, 9999, 16), (2049, 9999, 32), (4096, 9999, 32), (100_000, 10**6, 784)],
)
def test_the_number_of_shards(megabytes, examples, shards):
    assert writer.num_shards(megabytes << 20, examples) == shards


def test_shards_differ_by_one_example_at_most(tmp_path):
    data = prepared.write_folder(tmp_path / "data", count=25)
    out = prepared.make("folder", data, tmp_path / "out")
    shards = manifest(out)["splits"]["train"]["shards"]
    counts = [len(part) for part in examples_in(out, "train")]
    assert len(shards) == 16 and counts == [shard["examples"] for shard in shards] == [2] * 6 + [1] * 10


def test_a_finished_set_is_not_overwritten(folder, tmp_path):
    out = prepared.make("folder", folder, tmp_path / "out")
    before = manifest(out)
    with pytest.raises(UserError, match="holds a prepared data set already; remove it, or give another --output_dir"):
        prepared.make("folder", folder, out)
    assert manifest(out) == before


def test_the_command_has_the_flags_of_the_training_and_not_those_of_the_files(folder, tmp_path, capsys):
    said = {"jitter": 0.5, "holdout": "p1", "max_steps": 700, "num_classes": 2, "mask_values": "0,255"}
    prepared.make("folder", folder, tmp_path / "out", **said)
    command = capsys.readouterr().out.splitlines()[-1]
    for flag in ("--jitter=0.5", "--max_steps=700", "--weights=vgg16"):
        assert f" {flag} " in command
    for decided in ("--num_classes", "--mask_values", "--ignore_label", "--holdout"):
        assert decided not in command


def test_a_second_one_into_the_same_folder_is_refused(folder, tmp_path, capsys, monkeypatch):
    """While the first writes; and where the first is done before the second comes to write."""
    out, logs = str(tmp_path / "out"), f"--logs_dir={tmp_path}/logs"
    command = ["main.py", "--mode=prepare", "--dataset=folder", f"--data_dir={folder}", f"--output_dir={out}", logs]
    write, told = writer._write, []

    def start_another(*arguments):
        monkeypatch.setattr(writer, "_write", write)
        assert main.main(command) == 2
        told.append(capsys.readouterr().err)
        return write(*arguments)

    monkeypatch.setattr(writer, "_write", start_another)
    assert main.main(command) == 0
    assert told[0].startswith(f"error: another --mode=prepare is writing to --output_dir={out}; wait for it or stop it")
    assert told[0].count("\n") == 1
    before = {name: files.read_bytes(files.join(out, name)) for name in files.list_dir(out)}
    monkeypatch.setattr(writer, "require_free", lambda folder: None)  # it was free when the second began
    assert main.main(command) == 2 and "holds a prepared data set already" in capsys.readouterr().err
    assert {name: files.read_bytes(files.join(out, name)) for name in files.list_dir(out)} == before
    assert len(datasets.load("records", out, "all")) == 10


def test_an_interrupted_run_leaves_nothing_that_loads_and_the_next_one_clears_it(folder, tmp_path, monkeypatch):
    out, calls = str(tmp_path / "out"), []
    encode = writer._encode

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(writer, "_encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared.make("folder", folder, out)
    assert files.list_dir(out) == []
    with pytest.raises(UserError, match=r"no .*manifest\.json"):
        datasets.load("records", out, "train")
    # As after a kill, which leaves no time to clean up; what is not a shard stays.
    for name in ("train-00000-of-00099.tfrecord", "train-index.jsonl.gz", "notes.txt"):
        files.write_bytes(files.join(out, name), b"half")
    with pytest.raises(UserError, match=r"no .*manifest\.json"):
        datasets.load("records", out, "train")
    prepared.make("folder", folder, out)
    assert "notes.txt" in files.list_dir(out) and "train-00000-of-00099.tfrecord" not in files.list_dir(out)
    assert len(datasets.load("records", out, "all")) == 10


def test_bad_examples_fail_or_are_skipped(folder, tmp_path, capsys):
    said = {"num_classes": 2, "mask_values": "0,255", "ignore_label": "none"}
    broken = tmp_path / "data/images/p3.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"p3\.jpg.*--on_bad_example=skip") as caught:
        prepared.make("folder", folder, tmp_path / "out", **said)
    assert "\n" not in str(caught.value)
    assert files.list_dir(str(tmp_path / "out")) == []
    out = prepared.make("folder", folder, tmp_path / "out", on_bad_example="skip", **said)
    assert "skipped 1 of" in capsys.readouterr().out
    names = {example.name for example in datasets.load("records", out, "all").examples}
    assert names == {f"p{number}" for number in range(10)} - {"p3"}


def test_a_mask_out_of_range_or_of_another_size_is_named(folder, tmp_path):
    said = {"num_classes": 2, "mask_values": "0,255", "ignore_label": "none"}
    prepared.write(tmp_path / "data/masks/p4.png", np.full((24, 29), 100))
    with pytest.raises(UserError, match=r"p4\.png: the mask holds 100 "):
        prepared.make("folder", folder, tmp_path / "out", **said)
    prepared.write(tmp_path / "data/masks/p4.png", np.zeros((3, 5)))
    with pytest.raises(UserError, match=r"p4\.png: the mask is 5x3"):
        prepared.make("folder", folder, tmp_path / "out", **said)


def test_what_cannot_be_prepared_is_told(tmp_path):
    with pytest.raises(UserError, match="shapes are generated"):
        prepared.make("shapes", "", tmp_path / "out")
    with pytest.raises(UserError, match="no folder"):
        prepared.make("camvid", tmp_path / "none", tmp_path / "out")
    with pytest.raises(UserError, match="--mode=prepare needs --output_dir"):
        Config(mode="prepare", dataset="folder")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output_dir=.*cannot be written"):
        prepared.make(
            "folder", prepared.write_folder(tmp_path / "data"), tmp_path / "file" / "out", logs_dir=str(tmp_path)
        )


def test_other_data_than_the_runs_is_looked_at_afresh(tmp_path):
    run = Run(str(tmp_path / "run"))
    run.write_config({"flags": Config(dataset="camvid", seed=5).to_json()})
    typed = ["main.py", "--mode=prepare", "--output_dir=out", f"--logs_dir={run.logs_dir}"]
    seeds = [getattr(flags.config_from_flags(each), "seed", None) for each in (typed, [*typed, "--dataset=folder"])]
    assert seeds == [5, 0]


def test_from_files_and_from_records_the_same_is_learned(tmp_path, capsys):
    tiny_training.write_weights(str(tmp_path))
    data = tiny_training.write_camvid(tmp_path / "data")

    def start(*arguments):
        return main.main(["main.py", f"--logs_dir={tmp_path}/none", *arguments])

    assert start("--mode=prepare", "--dataset=camvid", f"--data_dir={data}", f"--output_dir={tmp_path}/out") == 0
    shutil.move(f"{tmp_path}/out", f"{tmp_path}/moved")
    rows = []
    for name, where in (("camvid", data), ("records", f"{tmp_path}/moved")):
        logs = f"--logs_dir={tmp_path}/{name}"
        common = [f"--weights={tmp_path}/narrow.mat", "--image_size=32", "--batch_size=4", "--learning_rate=3e-3"]
        common += ["--max_steps=4", "--eval_every=4", "--save_every=2", "--log_every=1", "--class_weights=balanced"]
        assert start(logs, f"--dataset={name}", f"--data_dir={where}", *common) == 0
        assert start(logs, "--mode=evaluate") == start(logs, "--mode=visualize") == 0
        (row,) = Run(f"{tmp_path}/{name}").read_history()
        scores = json.loads(files.read_bytes(f"{tmp_path}/{name}/evaluation/metrics.json"))
        rows.append(
            [{k: v for k, v in row.items() if not re.search("second", k)}, scores["mean_iou"], scores["dataset"]]
        )
    assert rows[0] == rows[1]
    shutil.rmtree(data)
    capsys.readouterr()
    assert (
        start("--mode=check", "--dataset=records", f"--data_dir={tmp_path}/moved", f"--logs_dir={tmp_path}/check") == 0
    )
    assert "train: 6 pairs, 32x32 to 32x32" in capsys.readouterr().out
