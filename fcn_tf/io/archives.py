"""Compressed files that others made: how large they may become, and where what is in them may go. No TensorFlow."""

import os
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

# What reading damaged zip files raises, beside OSError: encrypted ones are a RuntimeError.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, LookupError)


def most_bytes(size: int) -> int:
    """How many bytes a compressed file of `size` bytes may become: bombs grow a thousandfold."""
    return (64 << 20) + 50 * size


def check_zip(stream: BinaryIO) -> None:
    """Looks at the table of a zip file; nothing is unpacked. Readers unpack no more of a file than the table says.

    Raises:
      zipfile.BadZipFile: if it is none, becomes more than `most_bytes`, or has a file that would land outside the
        folder it is unpacked to.
      OSError: if it cannot be read.
    """
    size = stream.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(stream) as opened:
            members = opened.infolist()
    except ZIP_ERRORS as error:
        raise zipfile.BadZipFile(str(error) or type(error).__name__) from None
    check_members(members, size)


def check_members(members: Iterable[zipfile.ZipInfo], size: int) -> None:
    """As `check_zip`, of the table of a zip file.

    Args:
      members: the table.
      size: of the file, in bytes.

    Raises:
      zipfile.BadZipFile: as `check_zip`.
    """
    members = list(members)
    total = sum(member.file_size for member in members)
    if total > most_bytes(size):
        raise zipfile.BadZipFile(f"{size:,} bytes would become {total:,}; at most {most_bytes(size):,} are unpacked")
    for member in members:
        if not is_inside(member.filename):
            raise zipfile.BadZipFile(f"a file in it would land outside: {member.filename!r}")
    if len({member.filename for member in members}) < len(members):
        raise zipfile.BadZipFile("two files in it have one name")


def is_inside(name: str) -> bool:
    """Whether a path, relative to a folder, stays in it; on every system."""
    return not (name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in name.split("/"))


def gunzip(data: bytes) -> bytes:
    """Inflates the bytes of a gzip file.

    Raises:
      ValueError: if they are damaged, or become more than `most_bytes`.
    """
    most = most_bytes(len(data))
    found = bytearray()
    while data:
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            found += inflate.decompress(data, most + 1 - len(found))
        except zlib.error as error:
            raise ValueError(f"not a whole gzip file: {error}") from None
        if len(found) > most:
            raise ValueError(f"{len(data):,} bytes would become more than {most:,}")
        if not inflate.eof:
            raise ValueError("the gzip file is cut short")
        data = inflate.unused_data.lstrip(b"\0")
    return bytes(found)
