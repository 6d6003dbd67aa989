"""files: the one place that opens files."""

import errno
import os
import subprocess
import sys
import types
from typing import cast

import pytest

from fcn_tf.errors import UserError
from fcn_tf.io import files


def test_write_makes_folders_and_replaces(tmp_path):
    path = str(tmp_path / "a" / "b" / "file.bin")
    files.write_bytes(path, b"one")
    files.write_bytes(path, b"two")
    assert files.read_bytes(path) == b"two"
    assert files.size(path) == 3
    assert os.listdir(tmp_path / "a" / "b") == ["file.bin"]


def test_paths_that_lead_to_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert files.same("a", str(tmp_path / "a/")) and files.same("link/b", "./a//b") and not files.same("a", "b")
    assert files.same("gs://bucket/a/", "gs://bucket/a") and not files.same("gs://bucket/a", "a")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = str(tmp_path / "file.bin")
    files.write_bytes(path, b"old")
    with pytest.raises(TypeError):
        files.write_bytes(path, cast(bytes, "not bytes"))
    assert files.read_bytes(path) == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("字" * 84 + ".p")  # 254 bytes
    files.write_bytes(str(path), b"x")
    assert path.read_bytes() == b"x" and os.listdir(tmp_path) == [path.name]


def test_temporary_files_are_random_and_take_nobodys_place(tmp_path, monkeypatch):
    (tmp_path / "mine").write_bytes(b"mine")
    with files.replacing(str(tmp_path / "a")) as first, files.replacing(str(tmp_path / "b"), ending=".keras") as second:
        names = sorted(map(os.path.basename, (first, second)))
        assert first[:-4] != second[:-10] and second.endswith(".tmp.keras")
        assert sorted(os.listdir(tmp_path)) == sorted([*names, "mine"]) and files.list_dir(str(tmp_path)) == ["mine"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "mine"]
    monkeypatch.setattr(files.uuid, "uuid4", lambda: types.SimpleNamespace(hex="0123456789abcdef"))
    (tmp_path / ".0123456789ab.tmp").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError):
        files.write_bytes(str(tmp_path / "new"), b"new")
    assert (tmp_path / "mine").read_bytes() == b"mine" and (tmp_path / ".0123456789ab.tmp").is_symlink()


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("mine")
    files.write_bytes(str(tmp_path / "link"), b"new")
    assert (tmp_path / "mine").read_bytes() == b"mine" and (tmp_path / "link").read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


def test_sweep_takes_what_killed_processes_left_and_nothing_else(tmp_path):
    left = [".0123456789ab.tmp", ".0123456789ab.tmp.keras"]
    kept = [".0123456789ab.tmp.h5", "0123456789ab.tmp", ".0123456789a.tmp", ".0123456789ax.tmp", ".a.0123456789ab.tmp"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    (tmp_path / ".aaaaaaaaaaaa.tmp").symlink_to(kept[0])
    (tmp_path / ".bbbbbbbbbbbb.tmp").mkdir()
    kept += [".aaaaaaaaaaaa.tmp", ".bbbbbbbbbbbb.tmp"]
    files.sweep(str(tmp_path), idle_seconds=3600)  # somebody may be writing to them
    assert sorted(os.listdir(tmp_path)) == sorted([*left, *kept])
    os.utime(tmp_path / left[1], (0, 0))
    files.sweep(str(tmp_path), idle_seconds=3600)
    assert sorted(os.listdir(tmp_path)) == sorted([left[0], *kept])
    files.sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_write_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_bytes("here.bin", b"x")
    assert files.exists("here.bin")


def test_list_dir_is_sorted_and_without_hidden_files(tmp_path):
    for name in ("b.png", "a.png", ".DS_Store", "._a.png"):
        (tmp_path / name).touch()
    assert files.list_dir(str(tmp_path)) == ["a.png", "b.png"]
    assert files.list_dir(str(tmp_path), hidden=True) == sorted(os.listdir(tmp_path)) != ["a.png", "b.png"]


def test_glob_takes_a_name_with_brackets_for_the_file_it_is(tmp_path):
    for name in ("scene[1].png", "scene1.png", "scene2.png"):
        (tmp_path / name).touch()
    assert files.glob(str(tmp_path / "scene[1].png")) == [str(tmp_path / "scene[1].png")]
    assert files.glob(str(tmp_path / "scene?.png")) == [
        str(tmp_path / "scene1.png"),
        str(tmp_path / "scene2.png"),
    ]
    assert files.glob(str(tmp_path / "*.jpg")) == []


def test_matches_whatever_the_case():
    assert files.matches("A.JPG", ("*.png", "*.jpg"))
    assert not files.matches("A.txt", ("*.png", "*.jpg"))


def test_exists_and_is_dir(tmp_path):
    (tmp_path / "file").touch()
    assert files.exists(str(tmp_path / "file")) and not files.is_dir(str(tmp_path / "file"))
    assert files.is_dir(str(tmp_path)) and not files.exists(str(tmp_path / "none"))


def test_data_and_io_do_not_import_tensorflow():
    code = (
        "import sys; from fcn_tf.io import files, images; from fcn_tf.data import palette, datasets; "
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def pipe(tmp_path):
    """The path of a named pipe that nobody writes to: opening it plainly would wait for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    return str(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes among files here")
def test_only_regular_files_are_read(tmp_path, pipe):
    os.symlink(pipe, tmp_path / "link")
    os.symlink("/dev/zero", tmp_path / "zeros")
    for path, kind in ((pipe, "named pipe"), (tmp_path / "link", "named pipe"), (tmp_path / "zeros", "device")):
        for read in (files.read_bytes, lambda path: files.read_range(path, 0, 4)):
            with pytest.raises(files.NotRegularFile, match=f"is a {kind}; expected a regular file") as caught:
                read(str(path))
            assert caught.value.filename == str(path)
    with pytest.raises(IsADirectoryError):
        files.read_bytes(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes among files here")
def test_a_pipe_that_took_the_place_of_a_file_does_not_block(tmp_path, pipe, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    regular = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: regular)
    with pytest.raises(files.NotRegularFile):
        files.read_bytes(pipe)


def test_a_path_that_no_file_can_have():
    with pytest.raises(OSError, match="no file has a NUL character in its name"):
        files.read_bytes("a\0.jpg")


def test_links_to_regular_files_are_followed(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    os.symlink(tmp_path / "file", tmp_path / "link")
    assert files.read_bytes(str(tmp_path / "link")) == b"content"
    assert files.read_range(str(tmp_path / "link"), 3, 2) == b"te"


def test_whether_a_folder_can_be_written(tmp_path, monkeypatch):
    files.require_writable(str(tmp_path / "a/b"), flag="--logs_dir")
    assert os.listdir(tmp_path / "a/b") == []
    (tmp_path / "file").touch()
    os.symlink("gone", tmp_path / "link")
    nowhere = rf"{tmp_path}/link is a symbolic link to {tmp_path}/gone, which is not there"
    for name, reason in (("file", "it is no folder"), ("file/b", "Not a directory"), ("link", nowhere)):
        with pytest.raises(UserError, match=rf"{name} cannot be written \({reason}\); give another --output_dir"):
            files.require_writable(str(tmp_path / name), flag="--output_dir")

    def fails(path, data):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(files, "write_bytes", fails)
    with pytest.raises(UserError, match="Read-only file system"):
        files.require_writable(str(tmp_path), flag="--logs_dir")


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError(errno.ENOSPC, "no space"), "No space left on device"),
        (PermissionError(errno.EACCES, "denied"), "Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No space left on device"), None),
        (RuntimeError("train/events.v2; Read-only file system\n\tFailed to flush"), "Read-only file system"),
        (OSError("Unable to write (errno = 28, error message = 'No space left on device')"), "No space left on device"),
        (ValueError("something else"), None),
    ],
)
def test_what_a_disk_or_its_owner_refuses_is_known_from_other_errors(error, reason):
    assert files.refusal(error) == reason


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep/out"
    with files.replacing_folder(str(target)) as folder:
        files.write_bytes(files.join(folder, "sub/a"), b"1")
        assert not target.exists()
    assert (target / "sub/a").read_bytes() == b"1"
    with files.replacing_folder(f"{target}/") as folder:
        files.write_bytes(files.join(folder, "b"), b"22")
    assert os.listdir(target) == ["b"] and files.size_of_folder(str(target)) == 2
    with pytest.raises(RuntimeError), files.replacing_folder(str(target)) as folder:
        files.write_bytes(files.join(folder, "c"), b"3")
        raise RuntimeError
    assert os.listdir(target) == ["b"] and os.listdir(target.parent) == ["out"]


def test_a_remote_folder_is_written_file_by_file():
    with files.replacing_folder("ram://exports/out") as folder:
        assert not files.is_remote(folder)
        files.write_bytes(files.join(folder, "sub/a"), b"1")
    assert files.read_bytes("ram://exports/out/sub/a") == b"1"
    with files.replacing_folder("ram://exports/out") as folder:
        files.write_bytes(files.join(folder, "b"), b"2")
    assert not files.exists(folder)
    assert not files.exists("ram://exports/out/sub/a") and files.read_bytes("ram://exports/out/b") == b"2"


def test_a_temporary_folder_goes_again():
    with files.temporary_folder() as folder:
        files.write_bytes(files.join(folder, "a"), b"1")
    assert not files.exists(folder)
