"""The one place that opens files: plain Python for local paths, `tf.io.gfile` for those with "://"."""

import contextlib
import errno
import fnmatch
import glob as local_glob
import io
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

from fcn_tf.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.tmp(\.keras|\.mp4)?")  # the names that `replacing` makes


_KINDS = {
    stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


class NotRegularFile(OSError):
    """A named pipe, a device or a socket where a file is expected: reading one may block, or never end."""


# What a disk, its owner, its file system or a wrong path causes.
_LOSSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_REFUSALS = (
    *_LOSSES,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EXDEV,
)


def refusal(error: Exception) -> str | None:
    """Why a file could not be opened or written, as far as a user can fix it, such as "No space left on device".

    Args:
      error: an OSError, or an error of another library that says in its text what the system said.

    Returns:
      None where the disk, its owner and the path are not to blame.
    """
    if isinstance(error, NotRegularFile):
        return error.strerror
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno in _REFUSALS else None
    return next((reason for reason in map(os.strerror, _REFUSALS) if reason in str(error)), None)


@contextlib.contextmanager
def _remote(path: str) -> Iterator[Any]:
    """TensorFlow's file layer (gs://, s3://, ...), imported on first use because it takes seconds.

    What goes wrong in it is raised as for local paths.

    Raises:
      OSError: FileNotFoundError if there is no such file.
      UserError: if TensorFlow knows no such file system.
    """
    import tensorflow as tf

    try:
        yield tf.io.gfile
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such file", path) from None
    except tf.errors.UnimplementedError as error:
        raise UserError(
            f"{path}: {error.message}; expected a local path or one that TensorFlow knows, as gs://."
        ) from None
    except tf.errors.OpError as error:
        raise OSError(" ".join(error.message.split()) or type(error).__name__) from None


def is_remote(path: str) -> bool:
    """Whether `path` is a URL-like one, such as gs://bucket/name."""
    return "://" in str(path)


def join(path: str, *parts: str) -> str:
    """Joins path components; works for remote paths as well."""
    return os.path.join(path, *parts)


def exists(path: str) -> bool:
    """Whether there is a file or folder at `path`."""
    if is_remote(path):
        with _remote(path) as gfile:
            return gfile.exists(path)
    return os.path.exists(path)


def is_dir(path: str) -> bool:
    """Whether `path` is a folder."""
    if is_remote(path):
        with _remote(path) as gfile:
            return gfile.isdir(path)
    return os.path.isdir(path)


def is_link(path: str) -> bool:
    """Whether `path` is a symbolic link, which remote storage does not have."""
    return not is_remote(path) and os.path.islink(path)


def same(one: str, other: str) -> bool:
    """Whether two paths lead to the same file or folder, there or not; remote ones are compared as text."""
    if is_remote(one) or is_remote(other):
        return one.rstrip("/") == other.rstrip("/")
    return os.path.realpath(one) == os.path.realpath(other)


def dangling(path: str) -> str:
    """The symbolic link on the way to `path`, itself included, that leads to nothing, and where to; "" if none does."""
    path = "" if is_remote(path) else path.rstrip("/")  # with a slash at its end, a link is no link
    while path and not os.path.exists(path):
        if os.path.islink(path):
            return f"{path} is a symbolic link to {os.path.realpath(path)}, which is not there"
        path = os.path.dirname(path)
    return ""


def size(path: str) -> int:
    """The number of bytes in the file at `path`."""
    return stamp(path)[0]


def stamp(path: str) -> tuple[int, int]:
    """(bytes, nanoseconds of the last change): another stamp, another content."""
    if is_remote(path):
        with _remote(path) as gfile:
            found = gfile.stat(path)
        return found.length, found.mtime_nsec
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def stamp_if_there(path: str) -> list[int] | None:
    """`stamp` as JSON has it; None where there is no file, or none that may be read."""
    try:
        return list(stamp(path))
    except OSError:
        return None


def list_dir(path: str, *, hidden: bool = False) -> list[str]:
    """The sorted names in the folder `path`, without hidden ones (.DS_Store, ._copies from a Mac) unless asked for."""
    if is_remote(path):
        with _remote(path) as gfile:
            names = gfile.listdir(path)
    else:
        names = os.listdir(path)
    # gfile ends the names of remote folders with a slash.
    return sorted(name.rstrip("/") for name in names if hidden or not name.startswith("."))


def glob(pattern: str) -> list[str]:
    """The sorted paths that match `pattern`, which may be just the path of a file."""
    if is_remote(pattern):
        with _remote(pattern) as gfile:
            return sorted(gfile.glob(pattern))
    # A name such as "scene[1].png" is a pattern as well as a file: the file wins.
    return [pattern] if os.path.exists(pattern) else sorted(local_glob.glob(pattern, recursive=True))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether `name` matches one of the patterns, whatever its case."""
    return any(fnmatch.fnmatch(name.lower(), pattern) for pattern in patterns)


def makedirs(path: str) -> None:
    """Makes the folder `path` and its parents where missing."""
    if is_remote(path):
        with _remote(path) as gfile:
            gfile.makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


@contextlib.contextmanager
def made(path: str) -> Iterator[None]:
    """Makes the local folder `path` and its parents; removes those it made if they are empty in the end."""
    new = []
    while path and not os.path.exists(path):
        new.append(path)
        path = os.path.dirname(path)
    try:
        if new:
            os.makedirs(new[0], exist_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in new:
                os.rmdir(folder)  # fails unless it is empty, and then its parents are not


def open_regular(path: str, *, buffering: int = -1) -> BinaryIO:
    """Opens a local file for reading; never waits for what is none.

    Args:
      path: of a file, or of a link to one.
      buffering: as for `open`.

    Raises:
      NotRegularFile: if there is something else.
      OSError: if it cannot be opened.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no file has a NUL character in its name", path)
    _require_regular(os.stat(path), path)  # before it is opened: opening is enough to make some devices act
    # Something else may have come in its place since, and opening a named pipe waits for its writer.
    file = open(path, "rb", buffering=buffering, opener=lambda name, how: os.open(name, how | _NO_WAIT))
    try:
        _require_regular(os.fstat(file.fileno()), path)
    except BaseException:
        file.close()
        raise
    return file


_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # Windows has none, and no named pipes among files


def open_seekable(path: str) -> BinaryIO:
    """Opens a file for reading here and there in it; a remote one is read whole.

    Args:
      path: local or remote.

    Raises:
      OSError: as `open_regular` and `read_bytes`.
    """
    return io.BytesIO(read_bytes(path)) if is_remote(path) else open_regular(path)


def _require_regular(status: os.stat_result, path: str) -> None:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind:
        raise NotRegularFile(errno.EINVAL, f"is {kind}; expected a regular file", path)


def open_log(path: str) -> int:
    """Opens a local file to add to, a new one if there is none; several processes may.

    Returns:
      A file descriptor, for `cut_log` and `os.write`.

    Raises:
      OSError: if it cannot be written, or is no regular file: links are not followed, for they lead out of the folder.
    """
    how = os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_WAIT | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, how, 0o666)
    try:
        _require_regular(os.fstat(handle), path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def cut_log(handle: int, most: int, kept: int) -> None:
    """Cuts a file of text of more than `most` bytes down to its last `kept` ones, in place, from a whole line on.

    Raises:
      OSError: if it cannot be written.
    """
    length = os.fstat(handle).st_size
    if length <= most:
        return
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(length - kept)
        _, _, tail = file.read(kept).partition(b"\n")
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)  # where it was not opened to add to
    os.write(handle, b"[older lines are left out]\n" + tail)


def read_bytes(path: str, *, most: int | None = None) -> bytes:
    """The whole content of a file.

    Args:
      path: of the file.
      most: refuse one of more bytes.

    Raises:
      OSError: if it cannot be read, is no regular file, or too large.
    """
    if most is not None and size(path) > most:
        raise OSError(errno.EFBIG, f"{os.strerror(errno.EFBIG)}: more than {most:,} bytes", path)
    if is_remote(path):
        with _remote(path) as gfile, gfile.GFile(path, "rb") as file:
            return file.read()
    with open_regular(path) as file:
        return file.read()


def read_range(path: str, start: int, length: int) -> bytes:
    """A piece of a file: `length` bytes from byte `start` on, fewer where the file ends before.

    Raises:
      OSError: if it cannot be read, or is no regular file.
    """
    if is_remote(path):
        with _remote(path) as gfile, gfile.GFile(path, "rb") as file:
            file.seek(start)
            return file.read(length)
    with open_regular(path, buffering=0) as file:  # a read-ahead would be thrown away
        file.seek(start)
        pieces = []
        while length and (piece := file.read(length)):  # one read may give less than was asked for
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)


@contextlib.contextmanager
def replacing(path: str, *, ending: str = "") -> Iterator[str]:
    """Writes a file whole or not at all: a reader, or a crash, never meets half of it. Makes its folder.

    Args:
      path: the file; a link of that name is replaced, not followed.
      ending: of the temporary name, where a library asks for one: "", ".keras" or ".mp4".

    Yields:
      The path of a file beside it, to write to; it is moved to `path` when the block ends, removed when it fails.

    Raises:
      OSError: if it cannot be written.
    """
    makedirs(os.path.dirname(path) or ".")
    # Hidden, so that one that a killed process left behind is not listed; short, however long the name of the file.
    temporary = join(os.path.dirname(path), f".{uuid.uuid4().hex[:12]}.tmp{ending}")
    if not is_remote(path):
        open(temporary, "xb").close()  # refuses what is there already, links too
    try:
        yield temporary
        flush(temporary)
        replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(temporary)
        raise
    flush(os.path.dirname(path) or ".")


def flush(path: str) -> None:
    """Waits until a file, or what a folder lists, is on the disk, so that a loss of power leaves it as it is.

    Raises:
      OSError: if it cannot be written there; not where the file system or the machine knows nothing of it.
    """
    if is_remote(path):
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # a folder that may be written to, but not listed; or of Windows
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _LOSSES:
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing_folder(path: str) -> Iterator[str]:
    """Writes a folder whole or not at all, as `replacing` does a file.

    Args:
      path: the folder; one of that name is replaced.

    Yields:
      The path of an empty local folder to write to. It is moved to `path` when the block ends (copied file by file, if
      that is remote), removed when it fails.

    Raises:
      OSError: if it cannot be written.
    """
    parent = tempfile.gettempdir() if is_remote(path) else os.path.dirname(path.rstrip("/")) or "."
    makedirs(parent)
    temporary, old = (join(parent, f".{uuid.uuid4().hex[:12]}.tmp") for _ in range(2))
    os.mkdir(temporary)
    try:
        yield temporary
        if is_remote(path):
            if exists(path):
                remove_tree(path)
            for folder, _, names in os.walk(temporary):
                for name in names:
                    source = join(folder, name)
                    write_bytes(join(path, os.path.relpath(source, temporary)), read_bytes(source))
            remove_tree(temporary)
            return
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in names:
                flush(join(folder, name))
            flush(folder)
        # Two renames, because a folder cannot be renamed over one that holds something.
        if exists(path):
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except BaseException:
            if exists(old):
                os.replace(old, path)
            raise
        flush(parent)
        if exists(old):
            remove_tree(old)
    except BaseException:
        with contextlib.suppress(OSError):
            remove_tree(temporary)
        raise


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """An empty local folder, for libraries that take paths alone; it is removed when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def size_of_folder(path: str) -> int:
    """The number of bytes in the files of a local folder and those below it."""
    return sum(size(join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file as `replacing` does, which makes its folder.

    Raises:
      OSError: if it cannot be written.
    """
    with replacing(path) as temporary:
        if is_remote(path):
            with _remote(path) as gfile, gfile.GFile(temporary, "wb") as file:
                file.write(data)
        else:
            with open(temporary, "wb") as file:
                file.write(data)


def sweep(folder: str, *, idle_seconds: float = 0, folders: bool = False) -> None:
    """Removes the temporary files that killed processes left in `folder`: no link, no other name.

    Args:
      folder: one that exists.
      idle_seconds: leave alone what was written to since, where another process may be at work.
      folders: whether to remove those that `replacing_folder` makes, in place of files.
    """
    for name in list_dir(folder, hidden=True):
        path = join(folder, name)
        if _TEMPORARY.fullmatch(name) and not is_link(path) and is_dir(path) == folders:
            with contextlib.suppress(FileNotFoundError):  # put in place meanwhile
                if stamp(path)[1] <= time.time_ns() - idle_seconds * 1e9:
                    (remove_tree if folders else remove)(path)


def require_writable(folder: str, *, flag: str) -> None:
    """Makes a folder and tries to write into it: before long work, of which nothing should be lost.

    Args:
      folder: where files will be written.
      flag: what names another one, such as --logs_dir.

    Raises:
      UserError: if they cannot be.
    """
    trial = join(folder, f".{uuid.uuid4().hex[:12]}.tmp")
    try:
        write_bytes(trial, b"trial")
        remove(trial)
    except OSError as error:
        reason = "it is no folder" if isinstance(error, FileExistsError) else error.strerror or error
        reason = dangling(folder) or reason
        raise UserError(f"{folder} cannot be written ({reason}); give another {flag}, or make room.") from None


@contextlib.contextmanager
def locked(folder: str) -> Iterator[bool]:
    """Keeps a folder to this process, as far as others ask for the same; the system lets go when the process ends.

    Args:
      folder: one that exists.

    Yields:
      False if another process has it. True also where nobody can tell: remote folders, file systems without locks.
    """
    if fcntl is None or is_remote(folder):
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        free = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        except OSError:
            pass  # no locks here, as on some network disks
        yield free
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Removes a file."""
    if is_remote(path):
        with _remote(path) as gfile:
            gfile.remove(path)
    else:
        os.remove(path)


def remove_tree(path: str) -> None:
    """Removes a folder and what is in it; links in it are removed, not followed."""
    if is_remote(path):
        with _remote(path) as gfile:
            gfile.rmtree(path)
    else:
        shutil.rmtree(path)


def replace(source: str, target: str) -> None:
    """Moves a file over another one in one step."""
    if is_remote(target):
        with _remote(source) as gfile:
            gfile.rename(source, target, overwrite=True)
    else:
        os.replace(source, target)
