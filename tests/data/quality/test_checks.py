"""The checks: each bad input is made here, found, named, and fixed by what is printed."""

import io

import numpy as np
import pytest
from PIL import Image

from fcn_tf import config, train
from fcn_tf.errors import UserError
from tests.checked import NAMES, ids, photos_and_masks, run, shell
from tests.mask_files import indexed, soft
from tests.prepared import write


@pytest.fixture
def data(tmp_path):
    return photos_and_masks(tmp_path / "data")


def test_unreadable_and_truncated_files(data):
    photo = data / "images/p0.png"
    photo.write_bytes(photo.read_bytes()[:-200])
    (data / "masks/p1.png").write_bytes(b"<html>")
    status, found, _ = run(data)
    assert status == 1 and "--on_bad_example=skip" in found["unreadable"]["mend"]
    assert sorted(path[-6:] for path in found["unreadable"]["files"]) == ["p0.png", "p1.png"]
    beginning = "These files are damaged, truncated or no pictures"
    assert found["unreadable"]["means"].startswith(f"{beginning}: training refuses them. The first: ")
    status, found, _ = run(data, on_bad_example="skip")
    assert status == 0 and found["unreadable"]["means"].startswith(f"{beginning}. The first: ")


def test_what_is_skipped_is_an_error_where_all_of_it_together_leaves_nothing(tmp_path):
    for split, names in (("train", "abc"), ("validation", "xy")):
        for name in names:
            write(tmp_path / f"data/{split}/images/{name}.png", np.zeros((8, 8, 3)))
            write(tmp_path / f"data/{split}/masks/{name}.png", np.arange(64).reshape(8, 8) % 2)
    (tmp_path / "data/validation/masks/x.png").write_bytes(b"<html>")
    write(tmp_path / "data/validation/masks/y.png", np.zeros((8, 9)))
    status, found, _ = run(tmp_path / "data", on_bad_example="skip")
    assert status == 1 and {found[kind]["severity"] for kind in ("unreadable", "size_mismatch")} == {"error"}


def test_palette_images_among_masks_in_colours(data):
    colors = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)])
    labels = np.repeat([[0] * 20 + [1] * 10 + [2] * 10], 32, axis=0)
    for name in NAMES:
        write(data / f"masks/{name}.png", colors[labels])
    (data / "masks/p1.png").write_bytes(indexed(labels, *colors))
    status, found, report = run(data)
    assert status == 0 and [path[-6:] for path in found["palette_masks"]["files"]] == ["p1.png"]
    assert not {"blended_edges", "one_class"} & set(found)
    assert [row["train"]["share"] for row in report["classes"]] == [0.5, 0.25, 0.25]
    (data / "masks/p1.png").write_bytes(indexed(labels))
    status, found, _ = run(data)
    assert status == 1 and "p1.png. Save them in the colours of the others" in found["classes"]["means"]
    status, found, _ = run(data, mask_colors="000000,ff0000,0000ff")
    assert status == 1 and [path[-6:] for path in found["out_of_range"]["files"]] == ["p1.png"]
    assert "palette_masks" not in found


def test_transparent_pixels_of_masks_in_colours(data, capsys):
    colors = np.array([(255, 255, 255, 0), (255, 0, 0, 255), (0, 0, 255, 255)])
    for name in NAMES:
        write(data / f"masks/{name}.png", colors[np.repeat([[0] * 20 + [1] * 10 + [2] * 10], 32, axis=0)])
    write(data / "masks/p1.png", np.broadcast_to(colors[0], (32, 40, 4)))  # nothing to see
    status, found, report = run(data)
    line = "58.3% of the pixels of masks are transparent: they count as black, (0, 0, 0)"
    assert status == 0 and found["transparent_masks"]["means"].startswith(line)
    assert len(found["transparent_masks"]["files"]) == len(NAMES) and len(report["classes"]) == 3
    flags = {"mode": "train", "dataset": "folder", "data_dir": str(data), "logs_dir": str(data.parent / "run")}
    with pytest.raises(UserError, match=r"no\.mat"):
        train.run(config.complete({**flags, "weights": str(data / "no.mat")}))
    assert f"{line}\n" in capsys.readouterr().out
    for name in NAMES:
        write(data / f"masks/{name}.png", colors[np.repeat([[1] * 20 + [2] * 20], 32, axis=0)])
    assert "transparent_masks" not in run(data)[1]


def test_unpaired(data):
    (data / "masks/p3.png").unlink()
    status, found, _ = run(data)
    assert status == 1 and found["unpaired"]["files"][0].endswith("images/p3.png")


def test_sizes_that_differ_and_exif_turns(data):
    write(data / "masks/p0.png", np.full((8, 8), 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    write(data / "images/p1.png", np.random.default_rng(9).integers(0, 256, (32, 40, 3)), exif=exif)
    status, found, _ = run(data)
    assert status == 1
    assert [path[-6:] for path in found["size_mismatch"]["files"]] == ["p0.png"]
    assert [path[-6:] for path in found["exif_turned"]["files"]] == ["p1.png"]
    assert np.asarray(Image.open(data / "masks/p1.png")).shape == (32, 40)
    (command,) = found["exif_turned"]["commands"]
    shell(command)
    turned = np.asarray(Image.open(data / "masks/p1.png"))  # 6: a quarter to the right, so what was left is on top
    np.testing.assert_array_equal(turned, np.repeat([[0]] * 20 + [[255]] * 20, 32, axis=1))
    assert "exif_turned" not in run(data)[1]


def turn(path, orientation):
    picture = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_exif_turns_that_leave_the_size_are_shown_both_ways(data, orientation):
    turn(data / "images/p1.png", orientation)
    status, found, _ = run(data)
    finding = found["exif_unsure"]
    assert status == 0 and finding["severity"] == "warning"
    assert [path[-6:] for path in finding["files"]] == ["p1.png"]
    place = list(found).index("exif_unsure")
    shown = [np.asarray(Image.open(data.parent / f"logs/check/finding_{place}_{each}.png")) for each in (0, 1)]
    # The same photo under two masks; in a mask whose halves are above each other, mirroring changes nothing.
    assert (shown[0] != shown[1]).any() == (orientation != 4)
    page = (data.parent / "logs/check/index.html").read_text()
    assert "p1: mask as it is" in page and "p1: mask turned" in page
    shell(finding["commands"][0])
    swapped = orientation != 4
    assert (np.asarray(Image.open(data / "masks/p1.png"))[0, 0] == 255) == swapped


def test_square_photos_turned_by_exif_are_unsure_and_unturned_ones_are_not(data):
    for name in NAMES:
        write(data / "images" / f"{name}.png", np.random.default_rng(int(name[1])).integers(0, 256, (32, 32, 3)))
        write(data / "masks" / f"{name}.png", np.resize([0, 255], (32, 32)))
    for name in NAMES[:5]:
        turn(data / "images" / f"{name}.png", 8)
    turn(data / "images/p5.png", 1)
    _, found, _ = run(data)
    assert sorted(path[-6:] for path in found["exif_unsure"]["files"]) == [f"{name}.png" for name in NAMES[:5]]
    assert found["exif_unsure"]["commands"][0].endswith("exif_unsure_8.txt")  # more than a few: a list


def test_photos_of_sixteen_bits_that_become_black(data, capsys):
    for number, highest in enumerate((1000, 65535, 4000, 300)):
        photo = np.random.default_rng(number).integers(0, highest + 1, (32, 40)).astype(np.uint16)
        photo[0, 0] = highest
        (data / f"images/p{number}.png").unlink()
        Image.fromarray(photo).save(data / f"images/p{number}.{'tif' if number else 'png'}")
    status, found, _ = run(data)
    finding = found["dark_photos"]
    assert status == 0 and finding["severity"] == "warning"
    assert sorted(path[-6:] for path in finding["files"]) == ["p0.png", "p2.tif", "p3.tif"]
    # One number for all of them: that of the brightest, which has 12 bits.
    told = "p2.tif, has no value above 4000 of 65535, so it becomes nearly black (15 of 255); multiply "
    assert f"{told}values of 12 bits by 16." in finding["means"] and "multiply all of them" in finding["mend"]
    assert "warning [dark_photos] " in capsys.readouterr().out
    assert run(data)[1]["dark_photos"] == finding  # from the cache
    for name in ("p0.png", "p2.tif", "p3.tif"):
        path = data / "images" / name
        Image.fromarray(np.asarray(Image.open(path)) * np.uint16(16)).save(path)
    assert "dark_photos" not in run(data)[1]


@pytest.mark.parametrize("lowest", [1000, 5000])
def test_photos_of_fourteen_bits_are_dim(lowest, data):
    """One photo may be of dim light; what none of them exceeds is worth saying, and of 12 bits they are not."""
    values = [*np.linspace(lowest, 16382, len(NAMES)).astype(int)]
    for name, highest in zip(NAMES, values, strict=True):
        Image.fromarray(np.full((32, 40), highest, np.uint16)).save(data / f"images/{name}.png")
    found = run(data)[1]
    finding = found["dim_photos"]
    assert finding["severity"] == ("note" if lowest > 4095 else "warning") and "dark_photos" not in found
    assert len(finding["files"]) == len(NAMES)
    assert "No photo of 16 bits has a value above 16382 of 65535" in finding["means"]
    assert "no more than 63 of 255" in finding["means"]
    assert "if they are of 14 bits, multiply all of them, and photos that are labelled later, by 4" in finding["mend"]
    # The white of 14 bits is told by itself, also where other photos are brighter.
    for name, highest in ((NAMES[0], 16383), (NAMES[1], 65535)):
        Image.fromarray(np.full((32, 40), highest, np.uint16)).save(data / f"images/{name}.png")
    found = run(data)[1]
    assert "dim_photos" not in found and "values of 14 bits by 4." in found["dark_photos"]["means"]
    assert found["dark_photos"]["files"] == [str(data / f"images/{NAMES[0]}.png")]


def test_out_of_range(data):
    ids(data, [0, 1, 2])
    write(data / "masks/p4.png", np.resize([0, 1, 9], (32, 40)))
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and [path[-6:] for path in found["out_of_range"]["files"]] == ["p4.png"]
    assert found["out_of_range"]["mend"] == "Add --ignore_label=9; or --num_classes=4 --mask_values=0-2,9"
    assert run(data, num_classes=4, mask_values="0-2,9")[0] == 0
    assert run(data, num_classes=3, ignore_label="9")[0] == 0
    write(data / "masks/p5.png", np.resize([0, 1, 12], (32, 40)))
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and len(found["out_of_range"]["files"]) == 2
    assert found["out_of_range"]["mend"] == "Add --num_classes=5 --mask_values=0-2,9,12"  # for both of them
    assert run(data, num_classes=5, mask_values="0-2,9,12")[0] == 0


def test_off_by_one(data):
    ids(data, [1, 2, 3])
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and "--mask_values=1-3" in found["off_by_one"]["mend"]
    assert run(data, num_classes=3, mask_values="1-3")[0] == 0
    status, found, _ = run(data)
    assert status == 0 and found["off_by_one"]["mend"] == "--num_classes=3 --mask_values=1-3"


def test_colors_without_that_of_class_0_are_not_counted_from_1(data):
    for place in range(6):
        write(data / f"masks/p{place}.png", np.full((32, 40, 3), [(255, 0, 0), (0, 0, 255)][place % 2], np.uint8))
    status, found, _ = run(data, num_classes=3, mask_colors="000000,ff0000,0000ff")
    assert status == 0 and "off_by_one" not in found
    assert "--mask_colors=000000,ff0000,0000ff" in found["color_masks"]["mend"]


def test_a_path_with_a_colon_does_not_shorten_the_reason(tmp_path):
    data = photos_and_masks(tmp_path / "bags: final")
    ids(data, [0, 1, 2])
    write(data / "masks/p4.png", np.resize([0, 1, 9], (32, 40)))
    status, found, _ = run(data, num_classes=3)
    assert status == 1 and "The first: the mask holds 9 in " in found["out_of_range"]["means"]


def test_jpeg_color_and_empty_masks(data):
    (data / "masks/p0.png").unlink()
    write(data / "masks/p0.jpg", np.repeat([[0] * 20 + [255] * 20], 32, axis=0))
    write(data / "masks/p1.png", np.zeros((32, 40)))
    status, found, _ = run(data)
    assert status == 0 and found["jpeg_masks"]["files"][0].endswith("p0.jpg")
    assert found["one_class"]["files"][0].endswith("p1.png")
    for name in NAMES[1:]:
        write(data / "masks" / f"{name}.png", np.resize([0, 0, 0, 255, 0, 0], (32, 40, 3)))
    (data / "masks/p0.jpg").unlink()
    (data / "images/p0.png").unlink()
    status, found, report = run(data)
    assert status == 0 and len(found["color_masks"]["files"]) == 5
    assert "--mask_colors=" in report["command"]
    assert found["color_masks"]["mend"].endswith("--mask_colors=000000,ff0000")


def test_jpegs_that_tell_no_classes_are_not_said_to_need_nothing(data):
    for name in NAMES:
        write(data / f"masks/{name}.jpg", np.repeat([[0] * 16 + [1] * 12 + [2] * 12], 32, axis=0))
        (data / f"masks/{name}.png").unlink()
    status, found, _ = run(data)
    assert status == 1 and "save them as PNG" in found["classes"]["means"]
    assert found["jpeg_masks"]["mend"] == "Save them as PNG"


def test_ignored_masks_and_missing_classes(tmp_path):
    for split, values in (("train", [0, 1, 2]), ("val", [0, 1, 255])):
        for number in range(2):
            rng = np.random.default_rng([number, len(split)])
            write(tmp_path / f"data/images/{split}/{number}.png", rng.integers(0, 256, (32, 40, 3)))
            write(tmp_path / f"data/masks/{split}/{number}.png", np.resize(values, (32, 40)))
    write(tmp_path / "data/masks/train/1.png", np.full((32, 40), 255))
    status, found, _ = run(tmp_path / "data")
    assert status == 0 and "2" in found["missing_class"]["means"] and "validation" in found["missing_class"]["means"]
    assert found["empty"]["files"][0].endswith("train/1.png")


def test_the_same_picture_in_train_and_validation(data):
    picture = Image.open(data / "images/p0.png").resize((400, 320), Image.Resampling.BICUBIC)
    for name in NAMES:
        picture.save(data / "images" / f"{name}.png")
        write(data / "masks" / f"{name}.png", np.resize([0, 255], (320, 400)))
    picture.resize((200, 160)).save(data / "images/p5.png")
    write(data / "masks/p5.png", np.resize([0, 255], (160, 200)))
    status, found, _ = run(data)
    (command,) = found["duplicates"]["commands"]
    (held,) = {path for path in found["duplicates"]["files"][1::2]}
    assert status == 0 and command == f"rm -- {held} {held.replace('images', 'masks')}"


@pytest.mark.parametrize(("colors", "named"), [("RGB", "--mask_colors=000000,ff0000"), ("L", "--mask_values=0,255")])
def test_blended_edges_are_told_with_the_flag_that_keeps_their_reading(data, colors, named):
    for place, name in enumerate(NAMES):
        mask = Image.open(io.BytesIO(soft(((0, 0, 0), (255, 0, 0)), seed=place, size=(32, 40))))
        (mask if colors == "RGB" else mask.getchannel(0)).save(data / "masks" / f"{name}.png")
    status, found, report = run(data)
    finding = found["blended_edges"]
    assert status == 0 and finding["severity"] == "warning" and len(finding["files"]) == 6
    assert finding["mend"].endswith(f"; to keep this reading, add --num_classes=2 {named}")
    assert f"--num_classes=2 {named} " in report["command"] and len(report["classes"]) == 2
    assert run(data, num_classes=2, **{named[2:].partition("=")[0]: named.partition("=")[2]})[0] == 0  # as it says
    if colors == "L":
        assert found["zero_255"]["means"].endswith("and so on; values between go to the nearest.")
    assert "blended_edges" not in run(photos_and_masks(data))[1]
