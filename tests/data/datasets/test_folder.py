"""folder and voc: layouts, splits, classes, and what is said about files that are not as they should be."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from fcn_tf import evaluate, export, prepare, train
from fcn_tf.config import complete
from fcn_tf.data import datasets
from fcn_tf.data.base import Options
from fcn_tf.data.datasets import folder, voc
from fcn_tf.data.quality import screening
from fcn_tf.errors import UserError
from fcn_tf.io import run_log


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def fill(root, photos, labels, *, names=("a", "b"), mask=((0, 255), (255, 0)), suffix=""):
    for name in names:
        write(root / photos / f"{name}.jpg", np.full((2, 2, 3), 90))
        write(root / labels / f"{name}{suffix}.png", mask)


def test_names_follow_their_colors(tmp_path):
    """Ids follow from the flags of a run, not from a classes.csv that was written later, in another order."""
    mask = np.zeros((8, 8, 3))
    mask[2:4], mask[5:7] = (0, 255, 0), (255, 0, 0)
    fill(tmp_path, "images", "masks", names=[f"{n}" for n in range(6)], mask=mask)
    (tmp_path / "classes.csv").write_text("background,0,0,0\ncar,255,0,0\ntree,0,255,0\n")
    flags = {"num_classes": 3, "mask_colors": "000000,00ff00,ff0000", "ignore_label": "none"}
    spec = datasets.load("folder", str(tmp_path), "all", **flags).spec
    assert spec.class_names == ("background", "tree", "car")
    assert spec.colors == ((0, 0, 0), (0, 255, 0), (255, 0, 0))
    assert datasets.load("folder", str(tmp_path), "all").spec.class_names == ("background", "car", "tree")


@pytest.mark.parametrize("labels", ["masks", "labels", "annotations"])
def test_images_and_masks_are_split(tmp_path, labels):
    fill(tmp_path, "images", labels, names=[f"{n}" for n in range(6)])
    sizes = {split: len(datasets.load("folder", str(tmp_path), split)) for split in ("train", "validation", "all")}
    assert sizes == {"train": 5, "validation": 1, "all": 6}
    again = datasets.load("folder", str(tmp_path), "validation").examples
    assert again == datasets.load("folder", str(tmp_path), "validation").examples
    seeds = {datasets.load("folder", str(tmp_path), "validation", seed=seed).examples[0].name for seed in range(9)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (("images/training", "annotations/training"), ("images/validation", "annotations/validation")),
        (("images/train", "masks/train"), ("images/val", "masks/val")),
        (("train/images", "train/masks"), ("val/images", "val/masks")),
        (("train", "trainannot"), ("val", "valannot")),
        (
            ("images_prepped_train", "annotations_prepped_train"),
            ("images_prepped_val", "annotations_prepped_val"),
        ),
    ],
)
def test_layouts_with_splits(tmp_path, train, validation):
    fill(tmp_path, *train, names=["a", "b", "c"])
    fill(tmp_path, *validation, names=["d"])
    assert [e.name for e in datasets.load("folder", str(tmp_path), "train").examples] == ["a", "b", "c"]
    assert [e.name for e in datasets.load("folder", str(tmp_path), "validation").examples] == ["d"]


def test_the_layout_of_the_keras_tutorial(tmp_path):
    fill(tmp_path, "images_prepped_train", "annotations_prepped_train", names=["a", "b", "c"])
    fill(tmp_path, "images_prepped_test", "annotations_prepped_test", names=["d"])
    sizes = {split: len(datasets.load("folder", str(tmp_path), split)) for split in ("train", "validation", "all")}
    assert sizes == {"train": 3, "validation": 1, "all": 4}
    with pytest.raises(UserError, match="no examples"):
        datasets.load("folder", str(tmp_path), "test")


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_classes_from_editors_of_every_system(tmp_path, coding, end):
    (tmp_path / "classes.txt").write_bytes(end.join(("sea", "Küste", "")).encode(coding))
    assert folder.read_classes(str(tmp_path)) == (("sea", "Küste"), ())
    (tmp_path / "classes.csv").write_bytes(end.join(("name;r;g;b", "sea;0;0;255", "land;0;255;0")).encode(coding))
    assert folder.read_classes(str(tmp_path)) == (("sea", "land"), ((0, 0, 255), (0, 255, 0)))


@pytest.mark.parametrize(
    "content", [b"sea\n\x89PNG\xff", b"a" * 200_000, b"sea\0\nland", b'"sea\nland', b"sea,1,2\n", b"\xff\xfe\0"]
)
def test_what_names_no_classes(tmp_path, content):
    fill(tmp_path, "images", "masks")
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        datasets.load("folder", str(tmp_path), "all")
    assert "\n" not in str(caught.value) and "class" in str(caught.value)


def test_class_names_steer_no_terminal(tmp_path):
    fill(tmp_path, "images", "masks")
    (tmp_path / "classes.txt").write_text("sea\n\x1b[31mland\n")
    with pytest.raises(UserError, match=r"the class name '\\\\x1b\[31mland' holds control characters"):
        datasets.load("folder", str(tmp_path), "all")


@pytest.mark.parametrize("parts", [("",), ("photos",), ("train", "val")])
def test_photos_and_masks_in_one_folder(tmp_path, parts):
    for part in parts:
        names = ["a", "b", "c"] if part != "val" else ["d"]
        fill(tmp_path, part, part, names=names, suffix="_mask")
    (tmp_path / "classes.txt").write_text("sea\nland\n")
    train = datasets.load("folder", str(tmp_path), "train")
    if parts == ("train", "val"):
        assert [e.name for e in train.examples] == ["a", "b", "c"]
        assert [e.name for e in datasets.load("folder", str(tmp_path), "validation").examples] == ["d"]
    else:
        assert len(train) == 2 and len(datasets.load("folder", str(tmp_path), "all")) == 3
    np.testing.assert_array_equal(train.read(train.examples[0])[1], [[0, 1], [1, 0]])
    write(tmp_path / parts[0] / "lonely.jpg", np.zeros((2, 2, 3)))
    with pytest.raises(UserError, match=r"lonely\.jpg"):
        datasets.load("folder", str(tmp_path), "train")


def test_name_and_name_msk(tmp_path):
    fill(tmp_path, "bag_data", "bag_data_msk")
    dataset = datasets.load("folder", str(tmp_path), "all", num_classes=2)
    assert len(dataset) == 2 and dataset.spec.num_classes == 2
    image, label = dataset.read(dataset.examples[0])
    assert image.shape == (2, 2, 3)
    np.testing.assert_array_equal(label, [[0, 1], [1, 0]])


def test_photos_that_sixteen_bits_leave_black_are_told_once_a_split(tmp_path, capsys):
    fill(tmp_path, "images", "masks")
    for photo in (tmp_path / "images").iterdir():
        photo.unlink()
        Image.fromarray(np.full((2, 2), 4095, np.uint16)).save(photo.with_suffix(".png"))
    dataset = datasets.load("folder", str(tmp_path), "all", num_classes=2)
    for example in 2 * dataset.examples:
        assert dataset.read(example)[0].max() == 15
    assert re.fullmatch(r"warning: \S+ 16 bits with no value above 4095 .* by 16; .*\n", capsys.readouterr().err)


def test_masks_with_a_suffix(tmp_path):
    fill(tmp_path, "images", "masks", suffix="_mask")
    assert len(datasets.load("folder", str(tmp_path), "all")) == 2


def test_classes_in_files(tmp_path):
    fill(tmp_path, "images", "masks", mask=((0, 1), (1, 0)))
    (tmp_path / "classes.txt").write_text("sea\nland\n")
    assert datasets.load("folder", str(tmp_path), "all").spec.class_names == ("sea", "land")
    (tmp_path / "classes.csv").write_text("name,r,g,b\nsea,0,0,255\nland,0,255,0\n")
    assert datasets.load("folder", str(tmp_path), "all").spec.colors == ((0, 0, 255), (0, 255, 0))
    fill(tmp_path, "images", "masks", mask=[[[0, 0, 255], [0, 255, 0]], [[0, 0, 255], [0, 0, 255]]])
    dataset = datasets.load("folder", str(tmp_path), "all")
    np.testing.assert_array_equal(dataset.read(dataset.examples[0])[1], [[0, 1], [0, 0]])
    (tmp_path / "classes.csv").write_text("sea,0,0\n")
    with pytest.raises(UserError, match="NAME,R,G,B"):
        datasets.load("folder", str(tmp_path), "all")


def test_unpaired_files_are_named_or_left_out(tmp_path):
    fill(tmp_path, "images", "masks", names=["a", "b"])
    write(tmp_path / "images" / "lonely.jpg", np.zeros((2, 2, 3)))
    with pytest.raises(UserError, match=r": 1 file has no partner.*lonely\.jpg.*--on_bad_example=skip"):
        datasets.load("folder", str(tmp_path), "all")
    assert len(datasets.load("folder", str(tmp_path), "all", on_bad_example="skip")) == 2


def test_files_without_a_partner_are_named_by_every_mode_that_skips(tmp_path, capsys):
    data, names = tmp_path / "data", [f"{number}" for number in range(10)]
    fill(data, "images", "masks", names=names, mask=[[0, 1], [1, 0]])
    for number in range(7):
        write(data / "images" / f"ohne Maske {number}.jpg", np.zeros((2, 2, 3)))
    (data / "masks/0.png").write_bytes(b"<html>")
    flags = {"dataset": "folder", "data_dir": str(data), "on_bad_example": "skip", "logs_dir": str(tmp_path / "logs")}

    def fail_late():
        with pytest.raises(UserError, match=r"no\.mat"):
            train.run(complete({"mode": "train", **flags, "weights": str(tmp_path / "no.mat")}))

    scoring = {"mode": "evaluate", **flags, "predictions": str(data / "masks")}
    packing = {"mode": "prepare", **flags, "output_dir": str(tmp_path / "out")}
    exporting = complete({"mode": "train", **flags})
    for number, mode in enumerate((
        fail_late,
        lambda: evaluate.run(complete({**scoring, "split": "all"})),
        lambda: prepare.run(complete(packing)),
        lambda: export._examples(dataclasses.replace(exporting, split="all"), exporting.data_flags()),
    )):  # fmt: skip
        logs = tmp_path / f"logs{number}"
        with run_log.kept(str(logs), "command", verbose=False, ending=False):
            mode()
            run_log.attach(make=True)
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "without a partner" in line]
        assert line.startswith("skipped 7 files without a partner of the same name: ")
        assert line.count("ohne Maske") == 5 and line.endswith(" and 2 more")
        told = (logs / "run.log").read_text()
        assert told.count("ohne Maske") == 7 and "0.png: not a readable image" in told, "also before there is a folder"


def test_bad_examples_are_skipped_and_named(tmp_path, capsys):
    fill(tmp_path, "images", "masks", names=["a", "b", "c"])
    (tmp_path / "images" / "b.jpg").write_bytes(b"\xff\xd8 broken")
    write(tmp_path / "masks" / "c.png", [[0, 255, 0]])
    dataset = datasets.load("folder", str(tmp_path), "all", on_bad_example="skip")
    assert [e.name for e in dataset.examples] == ["a"]
    said = capsys.readouterr().out
    assert "skipped 2 of 3" in said and "b.jpg" in said and "c.png" in said


def test_a_folder_without_pictures_is_told_to_be_named_first(tmp_path):
    (tmp_path / "README.md").touch()
    with pytest.raises(
        UserError, match=r"\(found README\.md\); name the folder that holds yours, --data_dir=DIR, in .*annot"
    ):
        datasets.load("folder", str(tmp_path), "train")


@pytest.mark.parametrize("content", [("photos",), ("a", "b")])
def test_no_layout_says_which_are_known(tmp_path, content):
    for name in content:
        write(tmp_path / name / "x.png", [[0]])
    with pytest.raises(UserError, match="trainannot.*--data_dir"):
        folder.load(str(tmp_path), "train")


@pytest.mark.parametrize("below", ["images", "masks"])
def test_half_of_the_data_leads_to_the_folder_around_it(tmp_path, monkeypatch, below):
    fill(tmp_path / "data", "images", "masks")
    for data_dir in (f"{tmp_path}/data/{below}", f"{tmp_path}/data/{below}/"):
        with pytest.raises(UserError, match=rf"or set --data_dir={tmp_path}/data\.$"):
            datasets.load("folder", data_dir, "train")
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(UserError, match=r"or set --data_dir=\.\.$"):
        datasets.load("folder", below, "train")


def test_masks_that_are_no_pictures_are_told_by_their_kind(tmp_path):
    fill(tmp_path, "images", "masks")
    for name in "ab":
        (tmp_path / f"masks/{name}.png").rename(tmp_path / f"masks/{name}.txt")
    with pytest.raises(UserError, match=r"found images; masks holds \.txt, no pictures\).*or set --data_dir\.$"):
        datasets.load("folder", str(tmp_path), "train")


def test_names_that_do_not_match_are_shown(tmp_path):
    for number in range(3):
        write(tmp_path / f"images/IMG_000{number}.jpg", np.zeros((2, 2, 3)))
        write(tmp_path / f"masks/{number}.png", [[0, 255]])
    expected = r"such as images/IMG_0000\.jpg and masks/0\.png; expected a mask .* photo, IMG_0000\.png here, or"
    with pytest.raises(UserError, match=f"no file pairs in images and masks, {expected}.* Rename the ones"):
        datasets.load("folder", str(tmp_path), "train")


@pytest.mark.parametrize("called", ["ground_truth", "Ground Truth", "train/ground-truth"])
def test_ground_truth_is_a_folder_of_masks(tmp_path, called):
    fill(tmp_path, "train/photos" if "/" in called else "photos", called)
    assert len(datasets.load("folder", str(tmp_path), "all")) == 2


def test_a_folder_that_no_word_tells_is_to_be_renamed(tmp_path):
    fill(tmp_path, "photos", "drawn")
    with pytest.raises(UserError, match=r"\(found drawn, photos\).*; if drawn holds the masks, rename it to masks\.$"):
        datasets.load("folder", str(tmp_path), "train")
    (tmp_path / "drawn").rename(tmp_path / "masks")
    assert len(datasets.load("folder", str(tmp_path), "all")) == 2


def test_photos_in_formats_that_are_not_read_are_named(tmp_path):
    fill(tmp_path, "images", "masks", names=["a", "b"])
    write(tmp_path / "masks/c.png", [[0, 255]])
    (tmp_path / "images/c.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UserError, match=r"masks/c\.png; 1 photo is \.heic, which is not read: save it as JPEG; add"):
        datasets.load("folder", str(tmp_path), "all")
    listing = folder.list_files(str(tmp_path), Options())
    assert listing.unread == (str(tmp_path / "images/c.HEIC"),)
    for name in "ab":
        (tmp_path / f"images/{name}.jpg").rename(tmp_path / f"images/{name}.heic")
    with pytest.raises(UserError, match=r"\(found masks; 3 photos are \.heic, which is not read: save them as JPEG\)"):
        datasets.load("folder", str(tmp_path), "all")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("headline", ["", "name,r,g,b\n"])
def test_classes_csv_with_commas_semicolons_or_tabs(tmp_path, delimiter, headline):
    fill(tmp_path, "images", "masks")
    text = f"{headline}sea,0,0,255\nland,0,255,0\n"
    (tmp_path / "classes.csv").write_text(text.replace(",", delimiter))
    spec = datasets.load("folder", str(tmp_path), "all").spec
    assert spec.class_names == ("sea", "land") and spec.colors == ((0, 0, 255), (0, 255, 0))


def test_a_file_of_too_many_names_is_named_and_not_a_flag(tmp_path):
    fill(tmp_path, "images", "masks")
    (tmp_path / "classes.csv").write_text("sea\nland\nsky\n")
    with pytest.raises(UserError, match=r"classes\.csv names 3 classes") as caught:
        datasets.load("folder", str(tmp_path), "all")
    assert "but --num_classes" not in str(caught.value)


def test_options_are_resolved_once(tmp_path):
    fill(tmp_path, "images", "masks")
    said = datasets.resolve("folder", str(tmp_path), num_classes=2)
    assert said == {"num_classes": 2, "mask_values": "0,255", "mask_colors": "", "ignore_label": "none"}
    assert datasets.resolve("folder", str(tmp_path), **said) == said
    with pytest.raises(UserError, match="--num_classes is for --dataset=folder"):
        datasets.load("camvid", str(tmp_path), "train", num_classes=2)


def test_real_folders_as_they_are(shared):
    for name, stored in (("bag", (0, 255)), ("isbi", (0, 255))):
        root = shared / "data" / name
        if not root.is_dir():
            pytest.skip(f"needs {root}")
        # Resolved before: scanning five hundred masks takes seconds.
        said = {"num_classes": 2, "mask_values": "0,255", "ignore_label": "none"}
        dataset = datasets.load("folder", str(root), "validation", **said)
        assert screening.rules_of(dataset).values == stored
        image, label = dataset.read(dataset.examples[0])
        assert image.shape[:2] == label.shape and set(np.unique(label)) == {0, 1}


# ---- VOC


def voc_files(root, lists, augmented=False):
    for name, stems in lists.items():
        path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            write(root / "JPEGImages" / f"{stem}.jpg", np.zeros((1, 3, 3)))
            for masks_dir in ("SegmentationClass", "SegmentationClassAug")[: 1 + augmented]:
                write(root / masks_dir / f"{stem}.png", [[0, 15, 255]])


def test_voc(tmp_path):
    voc_files(tmp_path / "VOCdevkit" / "VOC2012", {"train": ["a", "b"], "val": ["c"]})
    dataset = voc.load(str(tmp_path), "train")
    assert [e.name for e in dataset.examples] == ["a", "b"] and len(voc.load(str(tmp_path), "all")) == 3
    np.testing.assert_array_equal(dataset.read(dataset.examples[0])[1], [[0, 15, 255]])
    assert dataset.spec.class_names[15] == "person" and dataset.spec.colors[15] == (192, 128, 128)
    assert dataset.spec.ignore_label == 255
    with pytest.raises(UserError, match=r"test\.txt"):
        voc.load(str(tmp_path), "test")


def test_voc_with_the_augmented_list_never_trains_on_validation(tmp_path):
    voc_files(tmp_path, {"train": ["a"], "val": ["c"], "train_aug": ["a", "b", "c"]}, augmented=True)
    examples = voc.load(str(tmp_path), "train").examples
    assert [e.name for e in examples] == ["a", "b"] and "SegmentationClassAug" in str(examples[0].label)
    assert "SegmentationClass/" in str(voc.load(str(tmp_path), "validation").examples[0].label)


def test_voc_with_colors_in_masks(tmp_path):
    voc_files(tmp_path, {"train": ["a"], "val": ["b"]})
    write(tmp_path / "SegmentationClass" / "a.png", [[[0, 0, 0], [192, 128, 128], [224, 224, 192]]])
    dataset = voc.load(str(tmp_path), "train")
    np.testing.assert_array_equal(dataset.read(dataset.examples[0])[1], [[0, 15, 255]])


def test_voc_missing(tmp_path):
    with pytest.raises(UserError, match="--data_dir"):
        voc.load(str(tmp_path), "train")
    voc_files(tmp_path, {"train": ["a"], "val": ["b"]})
    (tmp_path / "SegmentationClass" / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png is listed but not there"):
        voc.load(str(tmp_path), "train")
