"""--mode=predict: pictures and videos from anywhere to files; second runs, bad files, equal names, memory."""

import csv
import errno
import io
import os
import re
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fcn_tf import predict
from fcn_tf.data import palette
from fcn_tf.data.base import Dataset, Example
from fcn_tf.errors import UserError
from fcn_tf.inference import bulk, inputs, segmenter
from fcn_tf.inference.journal import Journal
from fcn_tf.io import files, images, videos
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import label_files
from fcn_tf.metrics.per_image import PerImageStats
from fcn_tf.models import build
from tests import disks, tiny_run

RATE = r"(at [\d.e+-]+ a second|in [\d.]+ s each)\n"


def save(path, classes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode_png(tiny_run.paint(classes)))


def read_labels(path):
    return images.decode_label(path.read_bytes(), name=str(path))


@pytest.fixture
def logs(tmp_path):
    tiny_run.write_run(tmp_path / "logs")
    return tmp_path / "logs"


def label_folder(tmp_path, logs, *, source="in", **changes):
    """Runs predict on a folder; returns the status and the folder of its results."""
    out = tmp_path / "out"
    values = {"input": str(tmp_path / source), "output_dir": str(out)} | changes
    return predict.run(tiny_run.config("predict", logs, **values)), out


def listed(folder):
    """The files in a folder and below, as paths relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


ONCE = ["areas.csv", "legend.png", "predict.json"]


def results(*names):
    return sorted([*ONCE, *(name + ending for name in names for ending in ("_label.png", "_overlay.png"))])


def areas(out):
    with open(out / "areas.csv", newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_rates_below_one_a_second_are_told_the_other_way_round():
    assert bulk.rate(6, 2.0) == "at 3 a second"
    assert (bulk.rate(2, 3.0), bulk.rate(1, 1.0)) == ("in 1.5 s each", "in 1 s each")


@pytest.mark.parametrize(
    ("source", "target", "among"), [("in", "in/", True), ("in/*.png", "in/sub/..", True), ("in", "in/out", False)]
)
def test_results_among_the_pictures_are_told(source, target, among, tmp_path, logs, capsys):
    save(tmp_path / "in/a.png", [[0, 1]])
    (tmp_path / "in/sub").mkdir()
    status, _ = label_folder(tmp_path, logs, source=source, output_dir=f"{tmp_path}/{target}")
    note = f"note: results go to {tmp_path}/{target}, among the pictures; another --output_dir keeps them apart\n"
    assert status == 0 and capsys.readouterr().out.count(note) == among


def test_folder_of_any_sizes(tmp_path, logs, capsys):
    wanted = {"a": [[0, 1, 2]], "b": [[2, 2], [1, 0]], "c": [[1]]}
    for name, classes in wanted.items():
        save(tmp_path / f"in/{name}.png", classes)
    status, out = label_folder(tmp_path, logs)
    assert status == 0 and listed(out) == results(*wanted)
    for name, classes in wanted.items():
        np.testing.assert_array_equal(read_labels(out / f"{name}_label.png"), classes)
        overlay = images.decode_image((out / f"{name}_overlay.png").read_bytes(), name=name)
        np.testing.assert_array_equal(overlay, tiny_run.paint(classes))  # exactly as large as the photo
    printed = capsys.readouterr().out
    assert "3 of 3 labelled; written to" in printed and re.search(rf"pictures: 3, {RATE}", printed)


def test_areas_and_legend_are_files_of_their_own(tmp_path, logs):
    save(tmp_path / "in/a.png", [[0, 1, 2, 2]])
    save(tmp_path / "in/sub/b.png", [[1]])
    _, out = label_folder(tmp_path, logs)
    assert areas(out) == [
        ("a.png", "", "0", "red", "1", "0.250000"),
        ("a.png", "", "1", "green", "1", "0.250000"),
        ("a.png", "", "2", "blue", "2", "0.500000"),
        ("sub/b.png", "", "1", "green", "1", "1.000000"),
    ]
    legend = images.decode_image((out / "legend.png").read_bytes(), name="legend")
    np.testing.assert_array_equal(legend, palette.legend(("red", "green", "blue"), tiny_run.COLORS))


def test_folders_are_kept_and_what_is_no_picture_is_counted(tmp_path, logs, capsys):
    for name in ("a.png", "x/a.png", "x/y/b.jpg"):
        save(tmp_path / "in" / name, [[1]])
    for name in ("x/c.heic", "x/d.HEIC", "notes.txt", ".hidden.png"):
        (tmp_path / "in" / name).touch()
    os.symlink(tmp_path / "in", tmp_path / "in/x/around")
    status, out = label_folder(tmp_path, logs)
    assert status == 0 and listed(out) == results("a", "x/a", "x/y/b")
    printed = capsys.readouterr().out
    assert "passed over 3 files that are no pictures to it (2 .heic, 1 .txt); 2 photos are .heic, which" in printed
    assert f"{tmp_path}/in/x/c.heic" in printed and "hidden" not in printed


def test_pictures_that_differ_in_extension_alone_keep_it_and_are_found_again(tmp_path, logs):
    for name, classes in (("a.jpg", [[0]]), ("a.png", [[1]]), ("b.png", [[2]]), ("x/b.png", [[1]])):
        save(tmp_path / "in" / name, classes)
    _, out = label_folder(tmp_path, logs)
    assert listed(out) == results("a.jpg", "a.png", "b", "x/b")
    photos = [str(tmp_path / "in" / name) for name in ("a.jpg", "a.png", "b.png", "x/b.png")]
    examples = [Example(f"example{i}", photo) for i, photo in enumerate(photos)]
    by_name = {example.name: label for example, label in zip(examples, ([[0]], [[1]], [[2]], [[1]]), strict=True)}
    data = Dataset(
        tiny_run.SPEC,
        "validation",
        tuple(examples),
        lambda example: (tiny_run.paint(by_name[example.name]), np.array(by_name[example.name], np.int32)),
    )
    stats = PerImageStats(data)
    label_files.score_files(data, str(out), stats)
    assert np.diag(stats.counts[:, :3]).sum() == 4


def test_outputs_choose_the_files(tmp_path, logs):
    save(tmp_path / "in/a.png", [[0, 1]])
    status, out = label_folder(tmp_path, logs, outputs="confidence,probabilities")
    assert status == 0 and listed(out) == ["a_confidence.png", "a_probabilities.npz", "predict.json"]
    sure, other = np.e / (np.e + 2), 1 / (np.e + 2)
    assert set(read_labels(out / "a_confidence.png").ravel()) == {round(255 * sure)}
    with np.load(out / "a_probabilities.npz") as saved:
        np.testing.assert_allclose(saved["probabilities"][0, 1], [other, sure, other], atol=1e-3)
        assert saved["probabilities"].dtype == np.float16
    with pytest.raises(
        UserError, match="--outputs must be some of labels, overlay, confidence, .*, got 'labels,masks'"
    ):
        label_folder(tmp_path, logs, outputs="labels,masks")


def test_a_second_run_skips_what_is_done(tmp_path, logs, capsys, monkeypatch):
    for name in "ab":
        save(tmp_path / f"in/{name}.png", [[0]])
    _, out = label_folder(tmp_path, logs)
    content = {name: (out / name).read_bytes() for name in listed(out)}

    def again(**changes):
        capsys.readouterr()
        for path in out.glob("*_label.png"):
            os.utime(path, (0, 0))
        assert label_folder(tmp_path, logs, **changes) == (0, out)
        return sorted(path.name[0] for path in out.glob("*_label.png") if path.stat().st_mtime > 0)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "Segmenter", None)  # no model is loaded
        assert again() == []
    assert "2 of 2 are done already (--overwrite does them again)" in capsys.readouterr().out
    assert {name: (out / name).read_bytes() for name in listed(out)} == content
    assert again(overwrite=True) == ["a", "b"]
    assert again(tta=True) == ["a", "b"] and again() == ["a", "b"]
    save(tmp_path / "in/b.png", [[0, 1]])
    save(tmp_path / "in/c.png", [[2]])
    assert again() == ["b", "c"]
    (out / "a_overlay.png").unlink()
    assert again() == ["a"]
    assert again(outputs="confidence") == [] and (out / "a_confidence.png").exists()
    os.utime(logs / "model.keras", (1, 1))  # trained on
    assert again() == ["a", "b", "c"]
    assert [row[0] for row in areas(out)] == ["a.png", "b.png", "b.png", "c.png"]


def test_parts_together_are_the_whole(tmp_path, logs, capsys, monkeypatch):
    wanted = {name: [[number % 3]] for number, name in enumerate(["a", "b", "c", "x/a", "x/d", "x/e", "x/f"])}
    for name, classes in wanted.items():
        save(tmp_path / f"in/{name}.png", classes)
    whole = label_folder(tmp_path, logs, output_dir=str(tmp_path / "whole")) and tmp_path / "whole"
    counts = []
    for part in ("1/3", "2/3", "3/3"):
        status, out = label_folder(tmp_path, logs, part=part)
        assert status == 0
        printed = capsys.readouterr().out
        counts.append(int(re.search(rf"part {part}: (\d+) of 7\n", printed)[1]))
        assert printed.endswith(
            "when all of --part=1/3 to 3/3 have run, the same command without --part labels what is still missing, "
            "and writes areas.csv of all pictures\n"
        )
    assert sum(counts) == 7 and max(counts) < 7
    once = [f"{stem}-{k}-of-3.{end}" for k in (1, 2, 3) for stem, end in (("areas", "csv"), ("predict", "json"))]
    assert listed(out) == sorted([*set(results(*wanted)) - set(ONCE), "legend.png", *once])
    rows = [line for k in (1, 2, 3) for line in (out / f"areas-{k}-of-3.csv").read_text().splitlines()[1:]]
    assert sorted(rows) == (whole / "areas.csv").read_text().splitlines()[1:]
    # Without --part nothing is left to do, and what is of all pictures is written.
    with monkeypatch.context() as patch:
        patch.setattr(predict, "Segmenter", None)
        assert label_folder(tmp_path, logs) == (0, out)
    printed = capsys.readouterr().out
    assert "7 of 7 are done already" in printed and "--part" not in printed
    for name in sorted(set(listed(whole)) - {"predict.json"}):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    # And a part knows of what the whole has done.
    with monkeypatch.context() as patch:
        patch.setattr(predict, "Segmenter", None)
        assert label_folder(tmp_path, logs, part="1/2") == (0, out)


def test_a_part_is_resumed_and_one_of_another_model_is_refused(tmp_path, logs, monkeypatch):
    for name in "abcdefg":
        save(tmp_path / f"in/{name}.png", [[0]])
    label_folder(tmp_path, logs, part="1/2")
    with monkeypatch.context() as patch:
        patch.setattr(predict, "Segmenter", None)
        assert label_folder(tmp_path, logs, part="1/2")[0] == 0
    for other in ({"part": "2/2"}, {}):
        with pytest.raises(UserError, match=r"predict-1-of-2.json is of another model, --palette, .* than this comm"):
            label_folder(tmp_path, logs, palette="voc", **other)
    (tmp_path / "out/predict-1-of-2.json").write_text("{}")
    with pytest.raises(UserError, match="predict-1-of-2.json is not what an earlier prediction left"):
        label_folder(tmp_path, logs, part="2/2")


def test_a_part_without_pictures_is_no_failure(tmp_path, logs, capsys):
    save(tmp_path / "in/a.png", [[0]])
    found = [label_folder(tmp_path, logs, part=f"{k}/4") for k in (1, 2, 3, 4)]
    assert [status for status, _ in found] == [0] * 4
    assert capsys.readouterr().out.count(": 0 of 1\n") == 3
    assert len([name for name in listed(found[0][1]) if name.startswith("predict-")]) == 1


def test_parts_into_the_folder_of_the_pictures(tmp_path, logs):
    for name in "abcd":
        save(tmp_path / f"in/{name}.png", [[0]])
    for part in ("1/2", "2/2"):
        assert label_folder(tmp_path, logs, output_dir=str(tmp_path / "in"), part=part)[0] == 0
    found = inputs.find(str(tmp_path / "in"), output_dir=str(tmp_path / "in"))
    assert len(found.found) == 4 and not found.passed_over


def test_what_a_killed_process_left_is_removed(tmp_path, logs):
    save(tmp_path / "in/x/a.png", [[0]])
    (tmp_path / "out/x").mkdir(parents=True)
    for name in ("0123456789ab", "ba9876543210"):
        (tmp_path / f"out/x/.{name}.tmp").touch()
    os.utime(tmp_path / "out/x/.0123456789ab.tmp", (0, 0))  # nobody writes to it any more
    _, out = label_folder(tmp_path, logs)
    assert listed(out) == sorted([*results("x/a"), "x/.ba9876543210.tmp"])


def test_a_file_of_the_users_is_not_replaced(tmp_path, logs):
    save(tmp_path / "in/a.png", [[0]])
    save(tmp_path / "in/legend.png", [[1]])
    photo = (tmp_path / "in/legend.png").read_bytes()
    with pytest.raises(UserError, match="in/legend.png is there already and would be replaced"):
        label_folder(tmp_path, logs, output_dir=str(tmp_path / "in"))
    assert (tmp_path / "in/legend.png").read_bytes() == photo
    assert label_folder(tmp_path, logs)[0] == 0 and (tmp_path / "out/legend_label.png").exists()
    (tmp_path / "out/predict.json").write_text("[]")
    with pytest.raises(UserError, match="predict.json is not what an earlier prediction left"):
        label_folder(tmp_path, logs)


def test_paths_on_standard_input(tmp_path, logs, monkeypatch):
    for name in ("in/a.png", "in/x/b c.png", "in/x/d.png"):
        save(tmp_path / name, [[1]])
    typed = f"{tmp_path}/in/a.png\n\n{tmp_path}/in/x/b c.png\r\n{tmp_path}/in/a.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
    status, out = label_folder(tmp_path, logs, input="-")
    assert status == 0 and listed(out) == results("a", "x/b c")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(UserError, match="--input=- names no picture"):
        label_folder(tmp_path, logs, input="-")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_are_no_utf_8(tmp_path, logs, monkeypatch):
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in (b"caf\xe9.png", b"\xff\n.png"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(images.encode_png(tiny_run.paint([[1]])))
    listed_in_bytes = b"".join(os.path.join(folder, name) + b"\0" for name in sorted(os.listdir(folder)))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed_in_bytes)))
    for source in ("-", str(tmp_path / "in")):
        out = tmp_path / ("out" + source[0].strip("/"))
        assert label_folder(tmp_path, logs, input=source, output_dir=str(out))[0] == 0
        assert {b"caf\xe9_label.png", b"\xff\n_label.png"} <= set(os.listdir(os.fsencode(out)))
        assert [row[0] for row in areas(out)] == [r"caf\udce9.png", "\\udcff\n.png"]
    assert label_folder(tmp_path, logs, output_dir=str(out))[0] == 0


def test_world_files_and_geotiff_tags_are_kept(tmp_path, logs, capsys):
    save(tmp_path / "in/a.png", [[1]])
    (tmp_path / "in/a.pgw").write_text("1\n0\n0\n-1\n5\n6\n")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33550], tags[33922] = (2.0, 4.0, 0.0), (0.0, 0.0, 0.0, 100.0, 200.0, 0.0)
    tags[34735] = (1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    Image.fromarray(tiny_run.paint([[2]])).save(tmp_path / "in/b.tif", tiffinfo=tags)
    _, out = label_folder(tmp_path, logs)
    for kind in ("label", "overlay"):
        assert (out / f"a_{kind}.pgw").read_text() == "1\n0\n0\n-1\n5\n6\n"
        assert (out / f"b_{kind}.pgw").read_text().split() == ["2.0", "0.0", "0.0", "-4.0", "101.0", "198.0"]
        assert "EPSG:32633" in (out / f"b_{kind}.png.aux.xml").read_text()
    assert not (out / "a_label.png.aux.xml").exists()
    assert "passed over" not in capsys.readouterr().out


def test_a_world_file_of_a_picture_that_is_turned_is_not_kept(tmp_path, logs, capsys):
    """Its numbers are of the pixels as they are stored."""
    turn = Image.Exif()
    turn[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(tiny_run.paint([[1, 2]])).save(tmp_path / "in/a.png", exif=turn)
    for name in ("a.pgw", "b.pgw"):
        (tmp_path / "in" / name).write_text("1\n0\n0\n-1\n5\n6\n")
    _, out = label_folder(tmp_path, logs)
    assert (out / "a_label.png").exists() and not (out / "a_label.pgw").exists()
    said = capsys.readouterr().out
    assert "in/a.png: turned by its EXIF data, so its georeference" in said
    assert "passed over 1 file that is no picture to it (1 .pgw)" in said  # b has no picture


def clip(path, frames, rate=5.0):
    """A video of plain frames of the given classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with videos.writing(str(path), rate=rate) as writer:
        for label in frames:
            writer.add(tiny_run.paint(np.full((32, 48), label)))


def test_a_video_becomes_a_video(tmp_path, logs, capsys):
    clip(tmp_path / "in/x/clip.mp4", [0, 1, 2, 2])
    save(tmp_path / "in/a.png", [[1]])
    status, out = label_folder(tmp_path, logs)
    assert status == 0 and listed(out) == sorted([*results("a"), "x/clip_overlay.mp4"])
    with videos.reading(str(out / "x/clip_overlay.mp4")) as (video, frames):
        assert (video.frames, video.rate) == (4, 5.0)
        for frame, label in zip(frames, [0, 1, 2, 2], strict=True):
            np.testing.assert_allclose(frame, tiny_run.paint(np.full((32, 48), label)), atol=40)
    assert areas(out)[1:] == [
        ("x/clip.mp4", str(i), str(label), tiny_run.SPEC.class_names[label], str(32 * 48), "1.000000")
        for i, label in enumerate([0, 1, 2, 2])
    ]
    assert re.search(rf"clip.mp4: frames: 4, {RATE}", capsys.readouterr().out)
    status, out = label_folder(tmp_path, logs, outputs="labels")
    assert read_labels(out / "x/clip/000003_label.png").tolist() == np.full((32, 48), 2).tolist()
    assert len(list((out / "x/clip").iterdir())) == 4
    label_folder(tmp_path, logs, outputs="labels")
    assert "2 of 2 are done already" in capsys.readouterr().out


def test_a_video_that_cannot_be_read_is_named_and_the_others_are_done(tmp_path, logs, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp4").write_bytes(b"no video" * 100)
    clip(tmp_path / "in/b.mp4", [1])
    status, out = label_folder(tmp_path, logs)
    assert status == 1 and listed(out) == sorted([*ONCE, "b_overlay.mp4"])
    captured = capfd.readouterr()
    assert (
        captured.err == f"skipped: {tmp_path}/in/a.mp4: not a video that OpenCV can read; convert it to MP4 (H.264), "
        "or copy it again.\n"
    )
    assert "1 of 2 labelled" in captured.out


def test_a_video_that_is_cut_short_is_told(tmp_path, logs, capsys):
    (tmp_path / "in").mkdir()
    whole = tmp_path / "in/a.avi"
    writer = cv2.VideoWriter(str(whole), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (48, 32))
    for label in (0, 1, 2) * 4:
        writer.write(tiny_run.paint(np.full((32, 48), label)))
    writer.release()
    assert label_folder(tmp_path, logs)[0] == 0 and "is it whole" not in capsys.readouterr().out
    data = whole.read_bytes()
    whole.write_bytes(data[: data.index(b"movi") + (len(data) - data.index(b"movi")) // 2])
    assert label_folder(tmp_path, logs)[0] == 0
    assert re.search(r"a.avi: \d frames could be read, though it says that it has about 12", capsys.readouterr().out)


def test_a_video_that_does_not_fit_on_the_disk_is_named_and_not_done(tmp_path, logs, capsys):
    clip(tmp_path / "in/a.mp4", [0, 1, 2] * 100)
    with disks.no_file_larger_than(8000):  # room for all else
        assert label_folder(tmp_path, logs, outputs="overlay") == (1, tmp_path / "out")
    assert listed(tmp_path / "out") == ["predict.json"]
    assert re.search("a.mp4: its results cannot be written: the video of 300 frames came", capsys.readouterr().err)
    assert label_folder(tmp_path, logs, outputs="overlay")[0] == 0
    assert (tmp_path / "out/a_overlay.mp4").stat().st_size > 8000


def test_another_palette_than_the_runs(tmp_path, logs):
    save(tmp_path / "photo.png", [[0, 1, 2]])
    shown = {}
    for name in ("auto", "voc"):
        config = tiny_run.config("predict", logs, input=str(tmp_path / "photo.png"), palette=name)
        assert predict.run(config) == 0
        shown[name] = images.decode_image((logs / "predict/photo_overlay.png").read_bytes(), name=name)[0, :3].astype(
            int
        )
    np.testing.assert_allclose(shown["auto"], tiny_run.paint([0, 1, 2]), atol=1)
    half = (tiny_run.paint([0, 1, 2]).astype(int) + [[0, 0, 0], [128, 0, 0], [0, 128, 0]]) / 2
    np.testing.assert_allclose(shown["voc"], half, atol=1)


def test_results_go_under_the_run_by_default(tmp_path, logs):
    save(tmp_path / "photo.png", [[1]])
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "photo.png"))) == 0
    assert read_labels(logs / "predict/photo_label.png").tolist() == [[1]]


def test_bad_file_is_named_and_the_others_are_done(tmp_path, logs, capsys):
    save(tmp_path / "in/a.png", [[0]])
    save(tmp_path / "in/c.png", [[2]])
    (tmp_path / "in/b.jpg").write_bytes(b"\xff\xd8 cut short")
    out = tmp_path / "out"
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(out))) == 1
    assert listed(out) == results("a", "c")
    captured = capsys.readouterr()
    assert "b.jpg" in captured.err and "2 of 3 labelled" in captured.out


def test_a_picture_of_16_bits_that_becomes_black_is_told(tmp_path, logs, capsys):
    (tmp_path / "in").mkdir()
    for name, highest in (("a", 225), ("b", 65535)):
        Image.fromarray(np.array([[0, highest]], np.uint16)).save(tmp_path / f"in/{name}.png")
    assert label_folder(tmp_path, logs)[0] == 0
    notes = re.findall("note: .*", capsys.readouterr().out)
    assert len(notes) == 1 and "in/a.png: 16 bits with no value above 225 of 65535, so it becomes black" in notes[0]


def test_long_names_are_shortened_for_the_results_and_told(tmp_path, logs, capsys):
    room = 255 - len("_probabilities.npz")
    fits, long = "字" * (room // 3), "字" * 83
    for name, classes in ((fits, [[0]]), (long + "甲", [[1]]), (long + "乙", [[2]])):
        save(tmp_path / "in" / name, classes)  # without an extension there is more room
    pictures = sorted(os.listdir(tmp_path / "in"))
    names = inputs.output_names(pictures)
    assert names[pictures[0]] == fits
    assert all(len(os.fsencode(name)) <= room for name in names.values())
    assert len(set(names.values())) == 3 and inputs.output_names(pictures[::-1]) == names
    status, out = label_folder(tmp_path, logs, source="in/*")
    assert status == 0
    assert {read_labels(out / f"{names[name]}_label.png").item() for name in pictures} == {0, 1, 2}
    printed = capsys.readouterr().out
    assert printed.count("its results are called ") == 2 and all(names[name] in printed for name in pictures[1:])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["x/a.jpg", "y/a.png", "a.gif"], ["x/a", "y/a", "a"]),
        (["a.jpg", "A.JPG", "a.b.jpg"], ["a.jpg", "A.JPG_2", "a.b"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.png", "a.jpg_2"]),
    ],
)
def test_names_of_results(paths, names):
    assert list(inputs.output_names(paths).values()) == names


def test_numbers_fit_as_well():
    same = inputs.output_names([f"{'x' * 240}.{extension}" for extension in ("Jpg", "jPg", "jpG")])
    assert len({name.lower() for name in same.values()}) == 3 and {len(name) for name in same.values()} == {237}


def test_results_that_cannot_be_written_are_named_and_the_others_are_done(tmp_path, logs, capsys):
    for name in "abc":
        save(tmp_path / f"in/{name}.png", [[1]])
    out = tmp_path / "out"
    (out / "b_label.png").mkdir(parents=True)
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(out))) == 1
    assert {"a_label.png", "a_overlay.png", "c_label.png", "c_overlay.png"} <= set(os.listdir(out))
    captured = capsys.readouterr()
    assert "b.png: its results cannot be written: Is a directory" in captured.err and "2 of 3 labelled" in captured.out
    assert not [name for name in os.listdir(out) if name.startswith(".")]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_takes_nothing_ends_it(tmp_path, logs, monkeypatch, reason):
    def refuse(path, data):
        if not path.endswith("_label.png"):
            return write(path, data)
        tried.append(path)
        raise OSError(reason, os.strerror(reason), path)

    write = files.write_bytes
    tried: list[str] = []
    for number in range(20):
        save(tmp_path / f"in/{number}.png", [[1]])
    monkeypatch.setattr(files, "write_bytes", refuse)
    with pytest.raises(OSError) as caught:
        predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in")))
    assert caught.value.errno == reason and len(tried) < 10  # those that were under way


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes among files here")
def test_a_pipe_is_named_and_not_waited_for(tmp_path, logs, capsys):
    save(tmp_path / "in/b.png", [[0]])
    os.mkfifo(tmp_path / "in/a.png")
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in"))) == 1
    captured = capsys.readouterr()
    assert "a.png: cannot be read (is a named pipe; expected a regular file)" in captured.err
    assert "1 of 2 labelled" in captured.out


def test_a_picture_beyond_the_memory_is_labelled_in_tiles(tmp_path, logs, capsys, monkeypatch):
    classes = np.random.default_rng(0).integers(0, 3, (300, 400))
    save(tmp_path / "in/large.png", classes)
    save(tmp_path / "in/small.png", [[0] * 40] * 30)
    monkeypatch.setattr(segmenter.system, "memory_left", lambda: 5_000_000)
    status, out = label_folder(tmp_path, logs)
    assert status == 0
    np.testing.assert_array_equal(read_labels(out / "large_label.png"), classes)
    printed = capsys.readouterr().out
    assert re.search(r"note: \S+large.png: labelled in tiles of (128|256|384) pixels", printed)
    assert "small.png" not in printed
    # Tiles that were asked for are not made smaller; the line says which would do.
    monkeypatch.setattr(segmenter.system, "memory_left", lambda: 3_000_000)
    assert label_folder(tmp_path, logs, sliding_window=390)[0] == 1
    captured = capsys.readouterr()
    assert "large.png: labelling 400x300 pixels in tiles of 390 takes about 0.0 GB" in captured.err
    assert re.search(r"add --sliding_window=\d+\.$", captured.err, re.MULTILINE) and "1 of 2 labelled" in captured.out


def test_a_picture_beyond_the_memory_is_made_smaller_for_a_model_that_resizes(tmp_path, logs, capsys, monkeypatch):
    run = Run(str(logs))
    build.build_model("light", num_classes=3, longest_side=64).save(run.model)
    save(tmp_path / "in/large.png", np.zeros((600, 800), int))
    monkeypatch.setattr(segmenter.system, "memory_left", lambda: 15_000_000)
    status, out = label_folder(tmp_path, logs)
    assert status == 0 and read_labels(out / "large_label.png").shape == (600, 800)
    assert re.search(r"note: \S+large.png: made smaller to (128|256|384|512|640) pixels, for", capsys.readouterr().out)


def test_labelling_a_folder_into_itself_twice_finds_the_same_pictures(tmp_path, logs):
    save(tmp_path / "in/a.png", [[0]])
    config = tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(tmp_path / "in"))
    for _ in range(2):
        assert predict.run(config) == 0
        assert listed(tmp_path / "in") == ["a.png", *results("a")]


def test_a_pattern_keeps_the_folders_it_spans(tmp_path, logs):
    for name in ("x/1.png", "y/2.png", "y/3.jpg"):
        save(tmp_path / name, [[0]])
    _, out = label_folder(tmp_path, logs, source="[xy]/*.png")
    assert listed(out) == results("x/1", "y/2")


def test_nothing_to_do_is_an_error(tmp_path, logs):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "*.jpg", "missing.png"):
        with pytest.raises(UserError, match="names no picture"):
            predict.run(tiny_run.config("predict", logs, input=str(tmp_path / source)))
    (tmp_path / "empty/a.heic").touch()
    with pytest.raises(UserError, match="names no picture, only .heic; 1 photo is .heic, which is not read: save"):
        label_folder(tmp_path, logs, source="empty")
    with pytest.raises(UserError, match="needs --input"):
        predict.run(tiny_run.config("predict", logs))


def test_untrained_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is no run: no config.json"):
        predict.run(tiny_run.config("predict", tmp_path, input="photo.png"))


@pytest.fixture
def runtime(monkeypatch):
    tiny_run.replace_onnxruntime(monkeypatch)


def test_another_runtime_labels_with_the_runs_export(tmp_path, logs, runtime):
    save(tmp_path / "in/a.png", [[0, 1, 2]])
    tiny_run.write_export(logs)
    status, out = label_folder(tmp_path, logs)
    assert status == 0 and read_labels(out / "a_label.png").tolist() == [[0, 1, 2]]
    status, out = label_folder(tmp_path, logs, runtime="onnxruntime", quantize="int8", palette="voc")
    assert status == 0 and read_labels(out / "a_label.png").tolist() == [[1, 0, 2]]  # done again
    overlay = images.decode_image((out / "a_overlay.png").read_bytes(), name="a")
    assert overlay[0, 0].tolist() != overlay[0, 1].tolist()


def test_an_export_that_is_missing_or_of_another_model_is_told(tmp_path, logs, runtime):
    save(tmp_path / "in/a.png", [[0]])
    choice = {"runtime": "onnxruntime", "quantize": "int8"}
    with pytest.raises(UserError, match="onnx-int8, which is not there; write it: --mode=export .* --format=onnx"):
        label_folder(tmp_path, logs, **choice)
    tiny_run.write_export(logs)
    for changes in ({"tta": True}, {"inference_precision": "bfloat16"}):
        with pytest.raises(UserError, match="leave out --inference_precision and --tta, or --runtime"):
            label_folder(tmp_path, logs, **choice, **changes)
    os.utime(logs / "model.keras", (1, 1))
    with pytest.raises(UserError, match="is not of the run's present model, .*; write it anew: --mode=export"):
        label_folder(tmp_path, logs, **choice)


def test_what_is_remembered_of_a_picture_is_small(tmp_path):
    """A million pictures are a third of a GB; as dictionaries they were more than one."""
    journal = Journal(str(tmp_path), {})
    tracemalloc.start()
    try:
        for number in range(1000):
            item = inputs.Input(str(tmp_path / "a.jpg"), f"{number:04d}.jpg", f"{number:04d}", False)
            journal.add(item, ["_label.png", "_overlay.png", "_legend.png"], [{0: 3000 + number, 1: number, 3: 1}])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 600 * 1000
    journal.save()
    assert Journal(str(tmp_path), {}).frames(item) == [{0: 3999, 1: 999, 3: 1}]


def test_weights_of_8_bits_are_those_of_an_export(tmp_path, logs):
    save(tmp_path / "in/a.png", [[0]])
    with pytest.raises(
        UserError, match="--quantize=int8 is of exports; add --runtime=openvino or --runtime=onnxruntime"
    ):
        label_folder(tmp_path, logs, quantize="int8")
