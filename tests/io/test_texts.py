"""Text of whatever editor, JSON however deep, and names that would steer a terminal."""

import io
import sys

import pytest

from fcn_tf.command import terminal
from fcn_tf.errors import UserError
from fcn_tf.io import texts


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_in_every_coding_and_with_every_end_of_line(tmp_path, coding, end):
    (tmp_path / "a.txt").write_bytes(f"Straße{end}路{end}".encode(coding))
    assert texts.load(str(tmp_path / "a.txt")) == "Straße\n路\n"


def test_what_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"sky\n\xff\xd8")
    with pytest.raises(UserError, match=r"a.txt is no text in UTF-8 \(invalid start byte at byte 4\); save it"):
        texts.load(str(tmp_path / "a.txt"))


@pytest.mark.parametrize("data", [b"P3\n# drawn by hand\n2 1\n255\n1 1 1 0 0 0\n", b"P5 2 1 255\n\0\1", b"\x89PNG\r\n"])
def test_a_picture_in_place_of_text(tmp_path, data):
    (tmp_path / "classes.txt").write_bytes(data)
    with pytest.raises(UserError, match=r"classes.txt is a picture; expected a file of text in UTF-8\.$"):
        texts.load(str(tmp_path / "classes.txt"))
    (tmp_path / "classes.txt").write_text("P3\nP5 small\n")
    assert texts.load(str(tmp_path / "classes.txt")) == "P3\nP5 small\n"


def test_deep_json_is_an_error_of_its_content():
    with pytest.raises(ValueError, match="nested too deeply"):
        texts.parse_json(b"[" * 100_000)
    assert texts.parse_json('{"a": "路"}'.encode("utf-16")) == {"a": "路"}


def test_printable():
    assert texts.printable("a\x1b[31mb\n\x9b\u202e\udcff路") == "a\\x1b[31mb\\n\\x9b\\u202e\\udcff路"
    assert texts.printable("a\n\x07", keep="\n") == "a\n\\x07"
    assert texts.has_controls("a\n") and not texts.has_controls("Straße 路")


def test_the_nearest_choice():
    choices = ("train", "Traffic light", "light", "Route 66")
    assert texts.nearest("trian", choices) == "train" and texts.nearest("LIGTH", choices) == "light"
    assert texts.nearest("traf", choices) == "Traffic light", "what it begins"
    assert texts.nearest(" tr", choices) == "train", "the shortest of those"
    assert texts.nearest("sign", ["Sign symbol gantry", "signs"]) == "signs"
    assert texts.nearest("t", choices) == texts.nearest("xyz", choices) == texts.nearest("train", ()) == ""


def test_some_of_many_names():
    assert texts.some(("a", "b")) == "a, b" and texts.some(tuple("abcdefg")) == "a, b, c, d, e and 2 more"
    assert texts.some([]) == "" and texts.some(["a", "b", "c"], 1) == "a and 2 more"


def test_what_an_error_says():
    error = ValueError("\n  line  one\nline two\n")
    assert texts.reason(error) == "line one line two" and texts.first_line(error) == "line  one"
    assert texts.reason(RuntimeError()) == texts.first_line(RuntimeError("\n")) == "RuntimeError"


def test_what_is_printed_steers_no_terminal(monkeypatch):
    out, error = io.TextIOWrapper(io.BytesIO(), "ascii"), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    with terminal.escaped():
        print("a\x1b]0;title\x07", "路", "\udcff.jpg", sep="\t")
        sys.stderr.write("\r50%\n")
        sys.stderr.write("\x1b[A")  # a bar of tqdm's, above another
        assert not sys.stdout.isatty()
    out.seek(0)
    assert out.read() == "a\\x1b]0;title\\x07\t\\u8def\t\\udcff.jpg\n"
    assert error.getvalue() == "\r50%\n\x1b[A"
    assert sys.stdout is out
