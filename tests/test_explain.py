"""--mode=explain: its pages, its pictures, and what can be mistyped."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import main
from fcn_tf import explain
from fcn_tf.errors import UserError
from fcn_tf.inference import explanations
from fcn_tf.io import images
from fcn_tf.io.run_dir import Run
from fcn_tf.models import build
from tests import tiny_run

SEEN = [[0, 0, 2, 2], [0, 2, 2, 2], [2, 2, 2, 1]]


@pytest.fixture
def logs(tmp_path):
    tiny_run.write_run(tmp_path / "logs")
    (tmp_path / "a b.png").write_bytes(images.encode_png(tiny_run.paint(SEEN)))
    return tmp_path / "logs"


def start(logs, **changes):
    values = {"input": str(logs.parent / "a b.png"), **changes}
    return explain.run(tiny_run.config("explain", logs, **values))


def picture(path):
    return images.decode_image(path.read_bytes(), name=str(path))


def test_the_page_and_its_pictures(logs, capsys):
    assert start(logs, class_="red") == 0
    folder = logs / "explain"
    page = (folder / "index.html").read_text()
    linked = set(re.findall(r'src="([^"]+)"', page))
    drawn = {"photo.png", "prediction.png", "region.png", "gradcam_pick.png", "field_pick.png", "scale.png"}
    assert linked == drawn and {path.name for path in folder.iterdir()} == drawn | {"panel.png", "index.html"}
    assert "red in a b.png" in page and "3 pixels explained (25.0 % of the picture)" in page
    cam = picture(folder / "gradcam_pick.png").astype(int)
    warm = cam[..., 0] > cam[..., 2] + 50  # the scale goes from blue to red
    np.testing.assert_array_equal(warm, np.array(SEEN) == 0)
    assert "pick: receptive field 1x1 pixels, 1x1 measured" in capsys.readouterr().out


@pytest.mark.parametrize("several", [False, True])
def test_a_picture_is_read_once(logs, tmp_path, several, monkeypatch):
    read = []
    monkeypatch.setattr(explain, "read_file", lambda path, **_: read.append(path) or Path(path).read_bytes())
    assert start(logs, class_="red", **({"input": f"{tmp_path}/*.png"} if several else {})) == 0
    assert read == [str(tmp_path / "a b.png")]


def test_another_palette_than_the_runs(logs):
    assert start(logs, class_="red") == 0
    before = picture(logs / "explain/prediction.png")
    assert start(logs, class_="red", palette="voc") == 0
    assert (picture(logs / "explain/prediction.png") != before).any()


@pytest.mark.parametrize("pattern", ["", "/**/*.png", "/*.png"])
def test_several_pictures_get_a_page_each(logs, tmp_path, pattern, capsys):
    (tmp_path / "in/x").mkdir(parents=True)
    for name in ("in/a.png", "in/b c.png", "in/x/a.png"):
        (tmp_path / name).write_bytes(images.encode_png(tiny_run.paint(SEEN)))
    wanted = {"a", "b c"} | ({"x/a"} if pattern != "/*.png" else set())
    assert start(logs, class_="red", input=f"{tmp_path}/in{pattern}") == 0
    folder = logs / "explain"
    assert {str(path.parent.relative_to(folder)) for path in folder.glob("**/panel.png")} == wanted
    page = (folder / "index.html").read_text()
    links = set(re.findall(r'(?:href|src)="([^"#]+)"', page))
    assert links == {f"{name.replace(' ', '%20')}/{file}" for name in wanted for file in ("index.html", "panel.png")}
    assert "red in b c.png" in (folder / "b c/index.html").read_text()
    assert f"{len(wanted)} of {len(wanted)} explained; open {folder}/index.html" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_utf_8_is_linked(logs, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", os.fsdecode(b"caf\xe9.png")):
        (tmp_path / "in" / name).write_bytes(images.encode_png(tiny_run.paint(SEEN)))
    assert start(logs, class_="red", input=f"{tmp_path}/in") == 0
    assert 'href="caf%E9/index.html"' in (logs / "explain/index.html").read_text()
    assert os.path.exists(os.fsencode(logs) + b"/explain/caf\xe9/index.html")


def test_of_several_a_bad_one_is_named_and_the_others_are_explained(logs, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no picture")
    (tmp_path / "in/b.png").write_bytes(images.encode_png(tiny_run.paint(SEEN)))
    (tmp_path / "in/c.png").write_bytes(images.encode_png(tiny_run.paint([[0]])))
    (tmp_path / "in/d.heic").touch()
    assert start(logs, point="2,1", input=f"{tmp_path}/in") == 1
    printed = capsys.readouterr()
    assert re.search("skipped: .*a.png.*\nskipped: --point=2,1 lies outside .*c.png", printed.err)
    assert "1 of 3 explained" in printed.out and "passed over 1 file " in printed.out
    assert (logs / "explain/b/index.html").exists() and not (logs / "explain/c").exists()


def test_a_folder_without_pictures(logs, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="names no picture"):
        start(logs, class_="red", input=f"{tmp_path}/in")
    (tmp_path / "in/a.mp4").touch()
    with pytest.raises(UserError, match="names videos only"):
        start(logs, class_="red", input=f"{tmp_path}/in")


@pytest.mark.parametrize("typed", ["GREEN", "1"])
def test_a_class_by_name_or_id(logs, typed, capsys):
    assert start(logs, class_=typed) == 0
    assert "green at column 3, row 2: probability 0.576" in capsys.readouterr().out


def test_a_point_is_a_column_and_a_row(logs, capsys):
    assert start(logs, point="0,1") == 0
    assert "red at column 0, row 1" in capsys.readouterr().out


def test_a_model_that_resizes_is_explained_at_its_size(logs, capsys):
    """A point of the photo is the place in it that the network sees there."""
    build.build_model("light", num_classes=3, longest_side=32).save(Run(str(logs)).model)
    (logs.parent / "a b.png").write_bytes(images.encode_png(tiny_run.paint(np.ones((128, 64), int))))
    assert start(logs, point="60,100") == 0
    printed = capsys.readouterr().out
    assert "shown as the network sees them: 32 pixels on their longer side" in printed
    assert "at column 15, row 25, of the photo 60, 100: probability" in printed
    assert picture(logs / "explain/photo.png").shape == (32, 16, 3)
    assert (
        "model.keras, which sees pictures as here, with 32 pixels on their longer side"
        in (logs / "explain/index.html").read_text()
    )
    with pytest.raises(UserError, match="--point=64,100 lies outside"):
        start(logs, point="64,100")


def test_a_class_that_is_nowhere_is_said_so(logs, capsys):
    (logs.parent / "a b.png").write_bytes(images.encode_png(tiny_run.paint([[0, 2]])))
    assert start(logs, class_="green") == 0
    assert "green is predicted nowhere" in capsys.readouterr().out


def test_another_explanation_leaves_nothing_of_the_first(logs):
    (logs / "explain").mkdir()
    (logs / "explain/field_pool9.png").touch()
    assert start(logs, class_="red", layers="pick") == 0
    assert not (logs / "explain/field_pool9.png").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_": "gren"}, "--class=gren is none of the run's 3 classes .* did you mean green"),
        ({"class_": "car"}, "give one of red, green, blue, or an id"),
        ({"class_": "3"}, "--class=3 is none"),
        ({}, "needs --class=NAME or --point=x,y"),
        ({"point": "4,0"}, "--point=4,0 lies outside .* from 0,0 to 3,2"),
        ({"class_": "red", "layers": "pikc"}, "has no layer pikc; did you mean pick"),
        ({"class_": "red", "layers": "xx"}, "has no layer xx; it has pick"),
        ({"class_": "red", "input": "none.png"}, "none.png: cannot be read .* one picture with --input"),
    ],
)
def test_mistakes(logs, changes, message):
    with pytest.raises(UserError, match=message):
        start(logs, **changes)


@pytest.mark.parametrize("point", ["5", "a,b", "-1,2", "1,2,3"])
def test_a_point_that_is_none(point, capsys):
    assert main.main(["main.py", "--mode=explain", "--input=x", f"--point={point}", "--logs_dir=none"]) == 2
    assert "--point must be x,y" in capsys.readouterr().err


def test_no_input(capsys):
    assert main.main(["main.py", "--mode=explain", "--class=red", "--logs_dir=none"]) == 2
    assert "--mode=explain needs --input: an image, a folder, a quoted pattern such as" in capsys.readouterr().err


def test_a_video(logs, tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match="a.mp4 is a video; videos are not explained: give pictures"):
        start(logs, class_="red", input=str(tmp_path / "a.mp4"))


def test_a_picture_too_large_for_the_memory_is_refused_before(logs, monkeypatch):
    monkeypatch.setattr(explain.system, "memory_left", lambda: 100)
    monkeypatch.setattr(explanations, "explain", None)  # calling it would fail
    with pytest.raises(UserError, match="explaining 4x3 pixels takes about .* GB are free; give a smaller picture"):
        start(logs, class_="red")
