"""The one place that opens files: plain Python for local paths, `tf.io.gfile` for those with "://"."""

import contextlib
import fnmatch
import glob as local_glob
import os
import uuid


def _gfile():
    """TensorFlow's file layer (gs://, s3://, ...), imported on first use because it takes seconds."""
    import tensorflow as tf

    return tf.io.gfile


def is_remote(path: str) -> bool:
    """Whether `path` is a URL-like one, such as gs://bucket/name."""
    return "://" in str(path)


def join(path: str, *parts: str) -> str:
    """Joins path components; works for remote paths as well."""
    return os.path.join(path, *parts)


def exists(path: str) -> bool:
    """Whether there is a file or folder at `path`."""
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def is_dir(path: str) -> bool:
    """Whether `path` is a folder."""
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def size(path: str) -> int:
    """The number of bytes in the file at `path`."""
    return _gfile().stat(path).length if is_remote(path) else os.path.getsize(path)


def stamp(path: str) -> tuple[int, int]:
    """(bytes, nanoseconds of the last change): another stamp, another content."""
    if is_remote(path):
        facts = _gfile().stat(path)
        return facts.length, facts.mtime_nsec
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns


def list_dir(path: str) -> list[str]:
    """The sorted names in the folder `path`, without hidden ones (.DS_Store, ._copies from a Mac)."""
    # gfile ends the names of remote folders with a slash.
    names = _gfile().listdir(path) if is_remote(path) else os.listdir(path)
    return sorted(name.rstrip("/") for name in names if not name.startswith("."))


def glob(pattern: str) -> list[str]:
    """The sorted paths that match `pattern`, which may be just the path of a file."""
    if is_remote(pattern):
        return sorted(_gfile().glob(pattern))
    # A name such as "scene[1].png" is a pattern as well as a file: the file wins.
    return [pattern] if os.path.exists(pattern) else sorted(local_glob.glob(pattern, recursive=True))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether `name` matches one of the patterns, whatever its case."""
    return any(fnmatch.fnmatch(name.lower(), pattern) for pattern in patterns)


def makedirs(path: str) -> None:
    """Makes the folder `path` and its parents where missing."""
    if is_remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def read_bytes(path: str) -> bytes:
    """The whole content of a file.

    Raises:
      OSError: if it cannot be read (local paths).
    """
    opened = _gfile().GFile(path, "rb") if is_remote(path) else open(path, "rb")
    with opened as file:
        return file.read()


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file whole or not at all: a reader, or a crash, never meets half of it. Makes its folder."""
    makedirs(os.path.dirname(path) or ".")
    if is_remote(path):
        # Object stores show a file only once it is closed.
        with _gfile().GFile(path, "wb") as file:
            file.write(data)
        return
    # Hidden, so that one that a killed process left behind is not listed.
    temporary = join(os.path.dirname(path), f".{os.path.basename(path)}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove(path: str) -> None:
    """Removes a file."""
    if is_remote(path):
        _gfile().remove(path)
    else:
        os.remove(path)


def replace(source: str, target: str) -> None:
    """Moves a file over another one in one step."""
    if is_remote(target):
        _gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)
