"""--input: the names of results, whatever the paths look like."""

import io
import re

import pytest

from fcn_tf.errors import UserError
from fcn_tf.inference import inputs


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder to stand in, with photos in it, beside it and below it."""
    for name in ("top.jpg", "here/b.jpg", "here/photos/a.jpg", "here/photos/x/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def listed(monkeypatch, *paths):
    """What a list on standard input names: {path: name of its results}."""
    return found_in("".join(path + "\n" for path in paths).encode(), monkeypatch)


def found_in(data, monkeypatch):
    """What the bytes on standard input name: {path: name of its results}."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
    return {item.path: item.name for item in inputs.find(inputs.STDIN, output_dir="out").found}


def test_typescript_in_a_folder_of_photos_is_passed_over_and_a_transport_stream_is_not(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "index.ts").write_text("import { Graph } from './graph'\n" * 20)
    (tmp_path / "film.ts").write_bytes(2 * (b"\x47" + bytes(187)))
    found = inputs.find(str(tmp_path), output_dir="out")
    assert [(item.shown, item.video) for item in found.found] == [("a.jpg", False), ("film.ts", True)]
    said = "passed over 1 file that is no picture to it (1 .ts): "
    assert found.describe_passed_over() == f"{said}{tmp_path}/index.ts"


@pytest.mark.parametrize("before", ["", "./", ".//", "photos/../", "../here/", "{}/here/", "{}/here/./"])
def test_patterns_name_results_below_the_folder_that_all_share(photos, before):
    found = inputs.find(f"{before.format(photos)}photos/*.jpg", output_dir="out").found
    assert [(item.shown, item.name) for item in found] == [("a.jpg", "a")]
    found = inputs.find(f"{before.format(photos)}photos/**/*.jpg", output_dir="out").found
    assert [item.name for item in found] == ["a", "x/c"]


@pytest.mark.parametrize("folder", [".", "./", "../here", "photos/.."])
def test_folders_name_results_below_them(photos, folder):
    found = inputs.find(folder, output_dir="out").found
    assert [item.name for item in found] == ["b", "photos/a", "photos/x/c"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["./photos/a.jpg", "./photos/x/c.jpg"], ["a", "x/c"]),
        (["../top.jpg", "photos/a.jpg"], ["top", "here/photos/a"]),
        (["{}/top.jpg", "photos/a.jpg"], ["top", "here/photos/a"]),
        (["photos/a.jpg", "//photos/a.jpg"], ["{}/here/photos/a", "photos/a"]),
        (["photos/../b.jpg", "./photos/a.jpg"], ["b", "photos/a"]),
        (["photos/a.jpg"], ["a"]),
        (["../../../../../../../../../../a.jpg", "/b.jpg"], ["a", "b"]),
        (["gs://bucket/photos/a.jpg", "gs://bucket/photos/x/c.jpg"], ["a", "x/c"]),
        (["gs://one/a.jpg", "gs://two/c.jpg"], ["one/a", "two/c"]),
        (["gs://one/../../../a.jpg", "gs://two/x/c.jpg"], ["a", "gs/two/x/c"]),
        (["gs://one/a.jpg", "{}/top.jpg"], ["gs/one/a", "{}/top"]),
    ],
)
def test_lists_name_results_below_the_folder_that_all_share(photos, monkeypatch, paths, names):
    root = str(photos).lstrip("/")
    wanted = {path.format(photos): name.format(root) for path, name in zip(paths, names, strict=True)}
    assert listed(monkeypatch, *wanted) == wanted


def test_a_file_that_is_listed_twice_is_taken_once(photos, monkeypatch):
    assert listed(monkeypatch, "./b.jpg", "b.jpg", "photos/../b.jpg", str(photos / "here/b.jpg")) == {"./b.jpg": "b"}


def test_beyond_a_link_two_dots_lead_where_the_disk_says(photos, monkeypatch):
    (photos / "here/link").symlink_to(photos / "here/photos/x")
    assert listed(monkeypatch, "link/../a.jpg", "a.jpg") == {"link/../a.jpg": "photos/a", "a.jpg": "a"}
    for name in ("c.jpg", "d.jpg"):  # a file that is a link has a name of its own
        (photos / "here/photos" / name).symlink_to(photos / "here/a.jpg")
    assert list(listed(monkeypatch, "link/../c.jpg", "link/../d.jpg").values()) == ["c", "d"]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.jpg\r\n\n \nb c.jpg", ["a", "b c"]),
        (b"./a.jpg\0./b\nc.jpg\0./ d.jpg\0", ["a", "b\nc", " d"]),
        (b"a.jpg\0", ["a"]),
        (b"caf\xe9.jpg\n\xff\xfd.jpg\n", ["caf\udce9", "\udcff\udcfd"]),
        ("a.jpg\r\nb.jpg\r\n".encode("utf-16"), ["a", "b"]),
    ],
    ids=["lines", "NULs", "one NUL", "no UTF-8", "UTF-16"],
)
def test_lists_hold_lines_or_names_with_nul_after_each_in_any_bytes(monkeypatch, data, names):
    assert list(found_in(data, monkeypatch).values()) == names


def test_photos_that_are_not_read_are_told_what_to_do(tmp_path):
    (tmp_path / "a.HEIC").touch()
    with pytest.raises(UserError, match=r"names no picture, only \.heic; 1 photo is \.heic, which is not read"):
        inputs.find(str(tmp_path), output_dir="out")


@pytest.mark.parametrize(("name", "said"), [("no.jpg", "; there is no such file or folder"), ("*.jpg", "")])
def test_what_is_not_there_is_said_to_be_missing(name, said, tmp_path):
    with pytest.raises(UserError, match=re.escape(f"{name} names no picture{said}; expected a picture")):
        inputs.find(str(tmp_path / name), output_dir="out")
