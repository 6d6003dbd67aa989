"""--mode=predict: any picture to labels and an overlay; bad files and equal names."""

import dataclasses
import errno
import os
import re

import numpy as np
import pytest

from fcn_tf import predict
from fcn_tf.errors import UserError
from fcn_tf.inference import inputs
from fcn_tf.io import files, images
from tests import tiny_run


def save(path, classes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode_png(tiny_run.paint(classes)))


def read_labels(path):
    return images.decode_label(path.read_bytes(), name=str(path))


@pytest.fixture
def logs(tmp_path):
    tiny_run.write_run(tmp_path / "logs")
    return tmp_path / "logs"


def test_folder_of_any_sizes(tmp_path, logs, capsys):
    wanted = {"a": [[0, 1, 2]], "b": [[2, 2], [1, 0]]}
    for name, classes in wanted.items():
        save(tmp_path / f"in/{name}.png", classes)
    (tmp_path / "in/notes.txt").write_text("no picture")
    out = tmp_path / "out"
    config = tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(out))
    assert predict.run(config) == 0
    assert sorted(os.listdir(out)) == ["a_label.png", "a_overlay.png", "b_label.png", "b_overlay.png"]
    for name, classes in wanted.items():
        np.testing.assert_array_equal(read_labels(out / f"{name}_label.png"), classes)
    overlay = images.decode_image((out / "a_overlay.png").read_bytes(), name="a")
    assert overlay.shape[0] > 1 and overlay.shape[1] >= 3  # the legend stands below it
    assert overlay[0, 0].argmax() == 0 and overlay[0, 1].argmax() == 1 and overlay[0, 2].argmax() == 2
    assert "2 of 2 pictures labelled" in capsys.readouterr().out


def test_results_go_under_the_run_by_default(tmp_path, logs):
    save(tmp_path / "photo.png", [[1]])
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "photo.png"))) == 0
    assert read_labels(logs / "predict/photo_label.png").tolist() == [[1]]


def test_bad_file_is_named_and_the_others_are_done(tmp_path, logs, capsys):
    save(tmp_path / "in/a.png", [[0]])
    save(tmp_path / "in/c.png", [[2]])
    (tmp_path / "in/b.jpg").write_bytes(b"\xff\xd8 cut short")
    out = tmp_path / "out"
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(out))) == 2
    assert sorted(os.listdir(out)) == ["a_label.png", "a_overlay.png", "c_label.png", "c_overlay.png"]
    captured = capsys.readouterr()
    assert "b.jpg" in captured.err and "2 of 3 pictures labelled" in captured.out


def test_long_names_are_shortened_for_the_results_and_told(tmp_path, logs, capsys):
    fits, long = "字" * 78, "字" * 83  # 234 and 249 bytes
    for name, classes in ((fits, [[0]]), (long + "甲", [[1]]), (long + "乙", [[2]])):
        save(tmp_path / "in" / name, classes)  # without an extension there is more room
    pictures = [str(tmp_path / "in" / name) for name in sorted(os.listdir(tmp_path / "in"))]
    names = inputs.output_names(pictures)
    assert names[pictures[0]] == fits
    assert all(len(os.fsencode(name)) <= 255 - len("_overlay.png") for name in names.values())
    assert len(set(names.values())) == 3 and inputs.output_names(pictures[::-1]) == names
    out = tmp_path / "out"
    config = tiny_run.config("predict", logs, input=str(tmp_path / "in" / "*"), output_dir=str(out))
    assert predict.run(config) == 0
    assert {read_labels(out / f"{names[path]}_label.png").item() for path in pictures} == {0, 1, 2}
    printed = capsys.readouterr().out
    assert printed.count("note: ") == 2 and all(names[path] in printed for path in pictures[1:])


def test_numbers_fit_as_well():
    same = inputs.output_names([f"{folder}/{'x' * 250}.png" for folder in "abc"])
    assert len(set(same.values())) == 3 and {len(name) for name in same.values()} == {243}


def test_results_that_cannot_be_written_are_named_and_the_others_are_done(tmp_path, logs, capsys):
    for name in "abc":
        save(tmp_path / f"in/{name}.png", [[1]])
    out = tmp_path / "out"
    (out / "b_label.png").mkdir(parents=True)
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(out))) == 2
    assert {"a_label.png", "a_overlay.png", "c_label.png", "c_overlay.png"} <= set(os.listdir(out))
    captured = capsys.readouterr()
    assert "b.png: its results cannot be written: Is a directory" in captured.err and "2 of 3 pictures" in captured.out
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
    for name in "ab":
        save(tmp_path / f"in/{name}.png", [[1]])
    monkeypatch.setattr(files, "write_bytes", refuse)
    with pytest.raises(OSError) as caught:
        predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in")))
    assert caught.value.errno == reason and len(tried) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes among files here")
def test_a_pipe_is_named_and_not_waited_for(tmp_path, logs, capsys):
    save(tmp_path / "in/b.png", [[0]])
    os.mkfifo(tmp_path / "in/a.png")
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "in"))) == 2
    captured = capsys.readouterr()
    assert "a.png: cannot be read (is a named pipe; expected a regular file)" in captured.err
    assert "1 of 2 pictures labelled" in captured.out


def test_a_picture_beyond_the_memory_is_named_and_the_others_are_done(tmp_path, logs, capsys, monkeypatch):
    save(tmp_path / "in/large.png", [[0] * 400] * 300)
    save(tmp_path / "in/small.png", [[0] * 40] * 30)
    config = tiny_run.config("predict", logs, input=str(tmp_path / "in"))
    monkeypatch.setattr(predict.system, "memory_left", lambda: 5_000_000)
    assert predict.run(config) == 2
    captured = capsys.readouterr()
    assert "large.png: labelling 400x300 pixels at once takes about 0.0 GB" in captured.err
    assert "1 of 2 pictures labelled" in captured.out
    (advice,) = re.findall(r"add --sliding_window=(\d+)\.$", captured.err, re.MULTILINE)
    config = dataclasses.replace(config, sliding_window=int(advice))
    assert predict.run(config) == 0


def test_memory_that_runs_out_all_the_same_is_one_line(tmp_path, logs, capsys, monkeypatch):
    import tensorflow as tf

    from fcn_tf.inference import evaluator

    def fails(self, images):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    save(tmp_path / "a.png", [[0]])
    monkeypatch.setattr(evaluator.Predictor, "labels", fails)
    assert predict.run(tiny_run.config("predict", logs, input=str(tmp_path / "a.png"))) == 2
    assert "a.png: there is not enough memory to label 1x1 pixels; " in capsys.readouterr().err


def test_labelling_a_folder_into_itself_twice_finds_the_same_pictures(tmp_path, logs):
    save(tmp_path / "in/a.png", [[0]])
    config = tiny_run.config("predict", logs, input=str(tmp_path / "in"), output_dir=str(tmp_path / "in"))
    for _ in range(2):
        assert predict.run(config) == 0
        assert sorted(os.listdir(tmp_path / "in")) == ["a.png", "a_label.png", "a_overlay.png"]


def test_pictures_of_the_same_name_do_not_overwrite_each_other():
    names = inputs.output_names(["x/a.jpg", "x/a.png", "x/a_2.png", "y/A.jpg", "y/b.jpg"])
    assert list(names.values()) == ["a", "a_2", "a_2_2", "A_3", "b"]


def test_glob(tmp_path):
    for name in ("x/1.png", "y/2.png", "y/3.jpg"):
        save(tmp_path / name, [[0]])
    found = inputs.find_pictures(str(tmp_path / "*/*.png"))
    assert [os.path.relpath(path, tmp_path) for path in found] == ["x/1.png", "y/2.png"]


def test_nothing_to_do_is_an_error(tmp_path, logs):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "*.jpg", "missing.png"):
        with pytest.raises(UserError, match="names no picture"):
            predict.run(tiny_run.config("predict", logs, input=str(tmp_path / source)))
    with pytest.raises(UserError, match="needs --input"):
        predict.run(tiny_run.config("predict", logs))


def test_untrained_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is no run: no config.json"):
        predict.run(tiny_run.config("predict", tmp_path, input="photo.png"))
