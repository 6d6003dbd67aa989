"""annotated: folders whose masks are drawn from files of LabelMe or COCO, as check, prepare and train meet them."""

import json

import numpy as np
import pytest
from PIL import Image

import main
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from tests import prepared, tiny_training

SIDE = 32
LEFT, RIGHT = [[0, 0], [16, 0], [16, 32], [0, 32]], [[16, 0], [32, 0], [32, 32], [16, 32]]


def _photo(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, len(path.stem)]).integers(0, 256, (SIDE, SIDE, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _labelme(path, label, image="", polygon=LEFT):
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = [{"label": label, "points": polygon, "shape_type": "polygon"}]
    content = {"shapes": shapes, "imagePath": image or f"{path.stem}.png", "imageHeight": SIDE, "imageWidth": SIDE}
    path.write_text(json.dumps(content))


def _coco(path, names, *, ids=(1, 2), panoptic=False):
    """An instance of the first category on the left of every photo, one of the second on the right of the first."""
    images, found = [], []
    for number, name in enumerate(names):
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        shown = [(ids[0], LEFT)] + ([(ids[1], RIGHT)] if number == 0 else [])
        if panoptic:
            png = np.zeros((SIDE, SIDE, 3), np.uint8)
            png[:, :16, 0], png[:, 16:, 0] = 7, 9 * (number == 0)
            (path.parent / path.stem).mkdir(parents=True, exist_ok=True)
            Image.fromarray(png).save(path.parent / path.stem / f"{name[:-4]}.png")
            infos = [{"id": 7 + 2 * place, "category_id": category} for place, (category, _) in enumerate(shown)]
            found.append({"image_id": number, "file_name": f"{name[:-4]}.png", "segments_info": infos})
        else:
            for category, polygon in shown:
                flat = np.ravel(polygon).tolist()
                found.append({"image_id": number, "category_id": category, "area": 512, "segmentation": [flat]})
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": ids[0], "name": "car"}, {"id": ids[1], "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": found, "categories": categories}))


def write_labelme(root):
    for number in range(5):
        _photo(root / f"p{number}.png", number)
        _labelme(root / f"p{number}.json", "car" if number % 2 else "person")
    return str(root)


def write_coco(root, panoptic=False):
    kind = "panoptic" if panoptic else "instances"
    for split, names in (("train", ["a.jpg", "bb.jpg", "ccc.jpg"]), ("val", ["dddd.jpg", "eeeee.jpg"])):
        for number, name in enumerate(names):
            _photo(root / f"{split}2017" / name, number)
        _coco(root / f"annotations/{kind}_{split}2017.json", names, ids=(1, 44), panoptic=panoptic)
    (root / "annotations/captions_train2017.json").write_text("{}")
    return str(root)


def _first(dataset):
    return dataset.read(dataset.examples[0])[1]


# ---- LabelMe


def test_labelme_beside_its_photos(tmp_path):
    dataset = datasets.load("folder", write_labelme(tmp_path), "all")
    assert dataset.spec.class_names == ("background", "car", "person") and dataset.spec.ignore_label == 255
    assert len(dataset) == 5
    by_name = {example.name: dataset.read(example)[1] for example in dataset.examples}
    np.testing.assert_array_equal(by_name["p0"][0], [2] * 16 + [0] * 16)
    np.testing.assert_array_equal(by_name["p1"][0], [1] * 16 + [0] * 16)
    parts = [datasets.load("folder", str(tmp_path), split).examples for split in ("train", "validation")]
    assert all(parts) and len({example.name for part in parts for example in part}) == 5
    assert len(datasets.load("folder", str(tmp_path), "validation", holdout="p1,p2")) == 2


@pytest.mark.parametrize("image", ["a.png", "..\\images\\a.png"])
def test_labelme_in_a_folder_of_its_own_with_splits(tmp_path, image):
    for split in ("train", "val"):
        _photo(tmp_path / split / "images" / "a.png", len(split))
        _labelme(tmp_path / split / "annotations" / "a.json", "car", image="../images/a.png")
    _labelme(tmp_path / "train" / "annotations" / "a.json", "car", image="..\\images\\a.png")
    train, validation = (datasets.load("folder", str(tmp_path), split) for split in ("train", "validation"))
    assert len(train) == len(validation) == 1
    assert train.examples[0].image.endswith("train/images/a.png")
    assert validation.examples[0].image.endswith("val/images/a.png")


def test_photos_and_files_of_labelme_without_a_partner(tmp_path):
    write_labelme(tmp_path)
    _photo(tmp_path / "lonely.png")
    _labelme(tmp_path / "gone.json", "car")
    with pytest.raises(UserError, match=r"2 files have no partner.*gone\.json.*lonely\.png"):
        datasets.load("folder", str(tmp_path), "all")
    assert len(datasets.load("folder", str(tmp_path), "all", on_bad_example="skip")) == 5


def test_names_in_classes_txt_decide_the_order(tmp_path):
    write_labelme(tmp_path)
    (tmp_path / "classes.txt").write_text("__ignore__\n_background_\nperson\nbike\ncar\n")
    dataset = datasets.load("folder", str(tmp_path), "all")
    assert dataset.spec.class_names == ("_background_", "person", "bike", "car")
    by_name = {example.name: dataset.read(example)[1] for example in dataset.examples}
    np.testing.assert_array_equal(by_name["p0"][0], [1] * 16 + [0] * 16)
    np.testing.assert_array_equal(by_name["p1"][0], [3] * 16 + [0] * 16)
    (tmp_path / "classes.txt").write_text("background\ncar\n")
    with pytest.raises(UserError, match=r"classes\.txt: has no line for person"):
        datasets.load("folder", str(tmp_path), "all")


# ---- COCO


def test_instances_of_coco(tmp_path):
    write_coco(tmp_path)
    train, validation = (datasets.load("folder", str(tmp_path), split) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (3, 2)
    assert train.spec.class_names == ("background", "car", "person") and train.spec.ignore_label is None
    np.testing.assert_array_equal(_first(train)[0], [1] * 16 + [2] * 16)
    np.testing.assert_array_equal(train.read(train.examples[1])[1][0], [1] * 16 + [0] * 16)
    ignoring = datasets.load("folder", str(tmp_path), "train", ignore_label="0")
    assert ignoring.spec.ignore_label == 0


def test_panoptic_segments_of_coco_have_no_background(tmp_path):
    write_coco(tmp_path, panoptic=True)
    train = datasets.load("folder", str(tmp_path), "train")
    assert train.spec.class_names == ("car", "person") and train.spec.ignore_label == 255
    np.testing.assert_array_equal(_first(train)[0], [0] * 16 + [1] * 16)
    np.testing.assert_array_equal(train.read(train.examples[1])[1][0], [0] * 16 + [255] * 16)


def test_coco_with_photos_beside_the_file(tmp_path):
    for split in ("train", "valid"):
        _photo(tmp_path / split / "a.jpg", len(split))
        _coco(tmp_path / split / "_annotations.coco.json", ["a.jpg"])
    assert len(datasets.load("folder", str(tmp_path), "train")) == 1
    assert "valid" in datasets.load("folder", str(tmp_path), "validation").examples[0].image


def test_what_coco_leaves_open_is_no_guess(tmp_path):
    write_coco(tmp_path)
    _coco(tmp_path / "annotations/old_train2017.json", ["a.jpg"], ids=(1, 44))
    with pytest.raises(UserError, match=r"instances_train2017\.json and .*old_train2017\.json may both hold the masks"):
        datasets.load("folder", str(tmp_path), "train")
    (tmp_path / "annotations/old_train2017.json").unlink()
    _coco(tmp_path / "annotations/instances_val2017.json", ["dddd.jpg"], ids=(44, 1))
    with pytest.raises(UserError, match="the category 44 is 'car', but 'person' in"):
        datasets.load("folder", str(tmp_path), "train")


def test_flags_about_classes_are_the_annotations_business(tmp_path):
    write_coco(tmp_path)
    for flags in ({"num_classes": 5}, {"mask_values": "0,255"}, {"mask_colors": "000000,ff0000"}):
        with pytest.raises(UserError, match=f"--{next(iter(flags))}=.*3 classes of their own"):
            datasets.load("folder", str(tmp_path), "train", **flags)
    said = datasets.resolve("folder", str(tmp_path))
    assert said == {"num_classes": 3, "mask_values": "0,2,45", "mask_colors": "", "ignore_label": "none"}
    assert datasets.resolve("folder", str(tmp_path), **said) == said


# ---- the modes


@pytest.mark.parametrize("kind", ["labelme", "instances", "panoptic"])
def test_check_and_prepare(tmp_path, capsys, kind):
    data = tmp_path / "data"
    data_dir = write_labelme(data) if kind == "labelme" else write_coco(data, panoptic=kind == "panoptic")
    flags = ["--dataset=folder", f"--data_dir={data_dir}", f"--logs_dir={tmp_path / 'check'}"]
    for _ in range(2):  # then from the cache
        assert main.main(["main.py", "--mode=check", *flags]) == 0
        said = capsys.readouterr().out
        assert "car" in said and "Ready to train" in said
    assert list((tmp_path / "check/check").glob("class_1_mask.png"))
    out = prepared.make("folder", data_dir, tmp_path / "records")
    files, records = datasets.load("folder", data_dir, "train"), datasets.load("records", out, "train")
    assert records.spec.class_names == files.spec.class_names
    for one, other in zip(files.examples, records.examples, strict=True):
        np.testing.assert_array_equal(files.read(one)[1], records.read(other)[1])


def test_the_names_of_categories_are_those_of_the_model(tmp_path):
    data_dir, logs = write_coco(tmp_path / "data"), f"--logs_dir={tmp_path / 'run'}"
    weights = tiny_training.write_weights(str(tmp_path))
    flags = [f"--weights={weights}", "--image_size=32", "--batch_size=2", "--max_steps=1"]
    assert main.main(["main.py", "--mode=train", "--dataset=folder", f"--data_dir={data_dir}", *flags, logs]) == 0
    assert main.main(["main.py", "--mode=evaluate", logs]) == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["class_names"] == ["background", "car", "person"]


def test_check_names_the_file_that_is_wrong(tmp_path, capsys):
    write_labelme(tmp_path / "data")
    (tmp_path / "data/p3.json").write_text("{")
    flags = ["--mode=check", "--dataset=folder", f"--data_dir={tmp_path / 'data'}", f"--logs_dir={tmp_path / 'run'}"]
    assert main.main(["main.py", *flags]) == 1
    report = json.loads((tmp_path / "run/check/check.json").read_text())
    (finding,) = [each for each in report["findings"] if each["kind"] == "unreadable"]
    assert len(finding["files"]) == 1 and "p3.json: is damaged" in finding["means"]
    _labelme(tmp_path / "data/p3.json", "car", polygon=[[0, 0], [0, 0], [0, 0]])
    assert main.main(["main.py", *flags]) == 0
    report = json.loads((tmp_path / "run/check/check.json").read_text())
    (finding,) = [each for each in report["findings"] if each["kind"] == "one_class"]
    assert finding["commands"][0].startswith("# correct these in their annotation files: ")
