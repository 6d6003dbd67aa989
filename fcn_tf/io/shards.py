"""A piece of a file, named by one line of text as a path names a whole file.

Prepared data sets keep many pictures in one shard. With an address for each, whatever takes the path of a picture
takes a picture in a shard as well, and what it says about it names the shard and the file that the picture was:

    prepared/train-00003-of-00016.tfrecord#images/a.jpg@81920+48211~9af3c2d1

The number before + is the first byte, that behind it how many there are, and that behind ~ their CRC-32.
"""

import re
import zlib

from fcn_tf.errors import UserError
from fcn_tf.io import files

# Nobody's path looks like this by chance.
_ADDRESS = re.compile(r"(.+\.tfrecord)#(.*)@(\d+)\+(\d+)~([0-9a-f]{8})", re.DOTALL)
_FIX = "restore the whole folder, or make it again with --mode=prepare"


def address(shard: str, name: str, *, start: int, length: int, checksum: int) -> str:
    """The address of a piece.

    Args:
      shard: path of the file that holds it, NAME.tfrecord.
      name: what the piece is called.
      start: its first byte.
      length: in bytes.
      checksum: its CRC-32.
    """
    return f"{shard}#{name}@{start}+{length}~{checksum:08x}"


def is_piece(path: str) -> bool:
    """Whether `path` is the address of a piece, not the path of a file."""
    return _ADDRESS.fullmatch(path) is not None


def shard_path(path: str) -> str:
    """The file that a piece lies in; of a whole file, its own path."""
    found = _ADDRESS.fullmatch(path)
    return found[1] if found else path


def name_of(path: str) -> str:
    """What a piece is called; the name of a whole file is its path."""
    found = _ADDRESS.fullmatch(path)
    return found[2] if found else path


def name_below(path: str, folder: str) -> str:
    """The name of a piece or a file, without `folder` where it lies in there."""
    return name_of(path).removeprefix(folder).lstrip("/\\")


def size(path: str) -> int:
    """The number of bytes of a piece, or of a whole file."""
    found = _ADDRESS.fullmatch(path)
    return int(found[4]) if found else files.size(path)


def read_piece(path: str) -> bytes:
    """The bytes of a piece.

    Raises:
      UserError: if the shard cannot be read, ends too early, or holds other bytes than were written to it.
      ValueError: if `path` is no address.
    """
    found = _ADDRESS.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} is no address of a piece")
    shard, name, start, length, checksum = found.groups()
    try:
        data = files.read_range(shard, int(start), int(length))
    except OSError as error:
        raise UserError(f"{shard}: {name} in it cannot be read ({error.strerror or error}); {_FIX}.") from None
    if len(data) < int(length):
        raise UserError(f"{shard}: the shard is cut short within {name}; {_FIX}.")
    if zlib.crc32(data) != int(checksum, 16):
        raise UserError(
            f"{shard}: the shard is damaged: checksum {zlib.crc32(data):08x} of {name}, expected {checksum}; {_FIX}."
        )
    return data
