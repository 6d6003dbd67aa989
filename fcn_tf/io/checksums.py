"""Checksums of files that are too large to be read in vain: a JSON file beside them says what they must be."""

import json
import os
import zlib
from collections.abc import Mapping

from fcn_tf.io import files, texts

_CHUNK = 1 << 22


def write(path: str, sources: Mapping[str, str]) -> None:
    """Writes the record of some files.

    Args:
      path: of the record.
      sources: {name beside the record: path to read it from now}.

    Raises:
      OSError: if one cannot be read, or the record not be written.
    """
    record = {name: {"bytes": files.size(source), "crc32": _crc32(source)} for name, source in sources.items()}
    files.write_bytes(path, (json.dumps({"files": record}, indent=1) + "\n").encode())


def problem(path: str) -> str | None:
    """What is wrong with the files that a record describes, naming the first; None where nothing is, or no record is.

    Args:
      path: of the record.

    Raises:
      OSError: if a file that is there cannot be read.
    """
    if not files.exists(path):
        return None  # of a version that wrote none
    try:
        record = texts.parse_json(files.read_bytes(path))["files"]
        expected = {str(name): (int(about["bytes"]), int(about["crc32"])) for name, about in record.items()}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return f"{path} is no record of checksums"
    for name, (count, checksum) in expected.items():
        source = files.join(os.path.dirname(path), os.path.basename(name))
        if not files.exists(source):
            return f"{name} is missing"
        if (size := files.size(source)) != count:
            return f"{name} has {size:,} bytes, expected {count:,}"
        if (found := _crc32(source)) != checksum:
            return f"{name} has the checksum {found:08x}, expected {checksum:08x}"
    return None


def _crc32(path: str) -> int:
    checksum, start = 0, 0
    while data := files.read_range(path, start, _CHUNK):
        checksum, start = zlib.crc32(data, checksum), start + len(data)
    return checksum
