"""annotations: masks drawn from LabelMe and COCO, by hand on grids of a few pixels."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from fcn_tf.data.masks import annotations
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.io import images


def labelme(path, shapes, size=(6, 8), image="a.png"):
    """Writes a file of LabelMe of (label, kind, points, further entries)."""
    made = [{"label": label, "shape_type": kind, "points": points, **more} for label, kind, points, more in shapes]
    content = {"shapes": made, "imagePath": image, "imageData": None, "imageHeight": size[0], "imageWidth": size[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def coco(path, segmentations, size=(4, 5), **more):
    """Writes a file of COCO whose image 7 shows (category, area, segmentation)."""
    found = [
        {"image_id": 7, "category_id": category, "area": area, "segmentation": segmentation}
        for category, area, segmentation in segmentations
    ]
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "car"}, {"id": 3, "name": "person"}],
        "annotations": found,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, **more}))
    return str(path)


def drawn(address):
    return images.decode_label(read_file(address), name="mask")


BOX = [[1, 1], [4, 1], [4, 3], [1, 3]]  # three pixels wide, two high


def test_a_polygon_takes_the_pixels_between_its_corners(tmp_path):
    path = labelme(tmp_path / "a.json", [("car", "polygon", BOX, {})])
    expected = np.zeros((6, 8), int)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(drawn(annotations.labelme_address(path, ["car"])), expected)


def test_the_shapes_of_labelme(tmp_path):
    png = base64.b64encode(images.encode_png(np.array([[255, 0], [255, 255]]))).decode()
    path = labelme(
        tmp_path / "a.json",
        [
            ("zebra, or donkey", "rectangle", [[5, 4], [2, 1]], {}),  # corners in any order
            ("_background_", "rectangle", [[3, 2], [4, 3]], {}),  # a hole
            ("__ignore__", "rectangle", [[0, 5], [2, 6]], {}),
            ("car", "mask", [[6, 0], [7, 1]], {"mask": png}),
        ],
    )
    np.testing.assert_array_equal(
        drawn(annotations.labelme_address(path, ["car", "zebra, or donkey"])),
        [
            [0, 0, 0, 0, 0, 0, 1, 0],
            [0, 0, 2, 2, 2, 0, 1, 1],
            [0, 0, 2, 0, 2, 0, 0, 0],
            [0, 0, 2, 2, 2, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [255, 255, 0, 0, 0, 0, 0, 0],
        ],
    )


@pytest.mark.parametrize(
    ("kind", "points", "pixels"),
    [("circle", [[20, 20], [30, 20]], 317), ("line", [[5, 20], [35, 20]], 410), ("point", [[20, 20]], 81)],
)
def test_round_and_thin_shapes(tmp_path, kind, points, pixels):
    path = labelme(tmp_path / "a.json", [("car", kind, points, {})], size=(40, 40))
    mask = drawn(annotations.labelme_address(path, ["car"]))
    assert mask[20, 20] == 1 and abs(int(mask.sum()) - pixels) < 0.15 * pixels


def test_instances_of_coco_smaller_ones_on_top(tmp_path):
    whole = [[0, 0, 5, 0, 5, 4, 0, 4]]
    box = [[1, 1, 3, 1, 3, 3, 1, 3]]
    path = coco(tmp_path / "instances.json", [(1, 4.0, box), (3, 20.0, whole)])
    expected = np.full((4, 5), 4)
    expected[1:3, 1:3] = 2
    np.testing.assert_array_equal(drawn(f"{path}#instances:7"), expected)


@pytest.mark.parametrize("counts", [[5, 2, 2, 2, 9], "52207"])
def test_run_lengths_of_coco(tmp_path, counts):
    """Down the columns of 4: 5 outside, 2 inside, 2 outside, ...; in text the fourth is 0 + 2, the last 7 + 2."""
    path = coco(tmp_path / "instances.json", [(1, 4.0, {"size": [4, 5], "counts": counts})])
    expected = np.zeros((4, 5), int)
    expected[1:3, 1] = expected[1:3, 2] = 2
    np.testing.assert_array_equal(drawn(f"{path}#instances:7"), expected)


def test_run_lengths_of_more_than_five_bits_and_negative_differences():
    # 40 = 8 + 32 * 1 -> two characters; the fourth is -3 + 10.
    text = "".join(chr(48 + value) for value in (8 | 32, 1, 10, 4, 29))
    assert annotations._unpack_runs(text) == [40, 10, 4, 7]


def test_run_lengths_that_do_not_fit_are_named(tmp_path):
    path = coco(tmp_path / "instances.json", [(1, 4.0, {"size": [4, 5], "counts": [5, 2]})])
    with pytest.raises(UserError, match=r"instances\.json: image a\.png has run lengths that do not fit"):
        drawn(f"{path}#instances:7")


def panoptic(folder, segments=((1000, 1), (70_000, 3))):
    """A file of panoptic segments and its PNG: 2x3 pixels, of no segment, of 1000 and of 70,000."""
    ids = np.array([[0, 1000, 70_000], [70_000, 0, 1000]])
    png = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    (folder / "panoptic_val").mkdir(parents=True, exist_ok=True)
    Image.fromarray(png).save(folder / "panoptic_val" / "a.png")
    infos = [{"id": number, "category_id": category} for number, category in segments]
    found = [{"image_id": 7, "file_name": "a.png", "segments_info": infos}]
    return coco(folder / "panoptic_val.json", [], (2, 3), annotations=found)


def test_panoptic_segments_of_coco(tmp_path):
    path = panoptic(tmp_path)
    np.testing.assert_array_equal(drawn(f"{path}#panoptic:7"), [[0, 2, 4], [4, 0, 2]])
    assert annotations.sources(f"{path}#panoptic:7") == (path, str(tmp_path / "panoptic_val" / "a.png"))
    path = panoptic(tmp_path, segments=((1000, 1),))
    with pytest.raises(UserError, match=r"a\.png: holds the segments \[70000\], which .*panoptic_val\.json does not"):
        drawn(f"{path}#panoptic:7")


def test_a_file_that_changes_is_parsed_again(tmp_path):
    path = labelme(tmp_path / "a.json", [("car", "polygon", BOX, {})])
    address = annotations.labelme_address(path, ["car"])
    assert drawn(address).sum() == 6
    labelme(tmp_path / "a.json", [])
    assert drawn(address).sum() == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "expected JSON"),
        ('{"shapes": [{"label": "car"}], "imagePath": "a"}', "no 'points'"),
        ('{"shapes": [], "imagePath": "a", "imageHeight": null, "imageWidth": 3}', "imageHeight and imageWidth"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "no 'file_name'"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, said):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError) as caught:
        annotations.read(str(tmp_path / "a.json"))
    assert "a.json: is damaged" in str(caught.value) and said in str(caught.value) and "\n" not in str(caught.value)


def test_other_mistakes_are_named(tmp_path):
    path = labelme(tmp_path / "a.json", [("car", "polygon", BOX[:2], {})])
    with pytest.raises(UserError, match=r"a\.json: a shape of 'car' is a polygon of 2 points"):
        drawn(annotations.labelme_address(path, ["car"]))
    with pytest.raises(UserError, match="the label 'car', which is new"):
        drawn(annotations.labelme_address(path, ["dog"]))
    path = coco(tmp_path / "coco.json", [(9, 1.0, [[0, 0, 1, 0, 1, 1]])])
    with pytest.raises(UserError, match=r"the categories \[9\] have no name"):
        annotations.read(path)
    (tmp_path / "other.json").write_text('{"version": 1}')
    assert annotations.read(str(tmp_path / "other.json")) is None
    assert annotations.is_address("b/a.json#labelme:car") and not annotations.is_address("b/a.json")
    with pytest.raises(UserError, match=r"gone\.json.*cannot be read"):
        read_file(f"{tmp_path}/gone.json#instances:3")
