"""What --mode=prepare makes: photos and masks as they were in their files, many to a shard.

A folder holds for each split SPLIT-00000-of-00016.tfrecord, ... and SPLIT-index.jsonl.gz, and one manifest.json. A
shard is a TFRecord file of tf.train.Example records with the features image/encoded, image/filename, label/encoded,
label/filename and name, so other tools can read it. Example i of N shards is the (i // N)th record of shard i % N.

A line of the index is one example in order: its name, where the bytes of its photo and of its mask lie in the shard,
with their CRC-32, and the pixels of each class. So any example is read on its own, without TensorFlow, and by the code
that reads it from files: all that differs is that `Example.image` and `Example.label` are addresses (see io/shards.py).
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fcn_tf.data.base import SPLITS, Dataset, DatasetEntry, DatasetSpec, Example, require_split
from fcn_tf.data.masks.read import reader
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.data.palette import Color
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import archives, files, shards, texts

MANIFEST = "manifest.json"
_MOST_MANIFEST = 64 << 20  # bytes
_FORMAT, _VERSION = "fcn_tf records", 1
_FIX = "Restore the whole folder, or make it again with --mode=prepare."


@dataclass(frozen=True)
class Piece:
    """A file in a shard.

    Attributes:
      name: of the file that it was.
      start: its first byte in the shard.
      length: in bytes.
      checksum: CRC-32 of its bytes.
    """

    name: str
    start: int
    length: int
    checksum: int


@dataclass(frozen=True)
class Row:
    """A line of the index.

    Attributes:
      name: of the example.
      image, label: where they lie.
      pixels: {class id or ignored label: pixels} of the mask.
    """

    name: str
    image: Piece
    label: Piece
    pixels: Mapping[int, int]


def shard_name(split: str, number: int, count: int) -> str:
    """The file name of a shard."""
    return f"{split}-{number:05d}-of-{count:05d}.tfrecord"


def index_name(split: str) -> str:
    """The file name of the index of a split."""
    return f"{split}-index.jsonl.gz"


def write_index(folder: str, split: str, rows: Sequence[Row], shard_bytes: Sequence[int]) -> dict[str, Any]:
    """Writes the index of a split.

    Args:
      folder: of the shards.
      split: "train", "validation" or "test".
      rows: of the examples in order.
      shard_bytes: the size of each shard.

    Returns:
      What the manifest says about the split.
    """
    lines = [json.dumps({**asdict(row), "pixels": sorted(row.pixels.items())}) for row in rows]
    data = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
    files.write_bytes(files.join(folder, index_name(split)), data)
    count = len(shard_bytes)
    return {
        "examples": len(rows),
        "index": {"file": index_name(split), "bytes": len(data), "crc32": zlib.crc32(data)},
        "shards": [
            {"file": shard_name(split, k, count), "examples": len(range(k, len(rows), count)), "bytes": size}
            for k, size in enumerate(shard_bytes)
        ],
    }


def write_manifest(
    folder: str, spec: DatasetSpec, rules: MaskRules | None, splits: Mapping[str, dict[str, Any]]
) -> None:
    """Writes the manifest, which makes a data set of the files that are there.

    Args:
      folder: of the shards.
      spec: of the data set.
      rules: what its masks mean; None where they hold class ids as they are.
      splits: from `write_index`, by split.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "dataset": asdict(spec),
        "rules": None if rules is None else asdict(rules),
        "splits": splits,
    }
    files.write_bytes(files.join(folder, MANIFEST), (json.dumps(content, indent=2) + "\n").encode())


def load(data_dir: str, split: str) -> Dataset:
    """Lists one split.

    Args:
      data_dir: what --mode=prepare wrote.
      split: "train", "validation", "test" or "all".

    Raises:
      MissingSplit: if it has no such split.
      UserError: if there is no manifest, it is damaged or of a newer version, or a shard is missing or cut short.
    """
    require_split("records", split)
    path = files.join(data_dir, MANIFEST)
    manifest = _read_manifest(path)
    try:
        spec, rules = _spec(manifest["dataset"]), _rules(manifest["rules"])
        present = {name: manifest["splits"][name] for name in SPLITS if name in manifest["splits"]}
        wanted = [name for name in present if split in (name, "all")]
        rows = {name: _read_rows(data_dir, name, present[name]) for name in wanted}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}). {_FIX}") from None
    if not wanted:
        raise MissingSplit(
            f"records: {data_dir} has no split {split!r}; it has {', '.join(present) or 'none'} (--split).",
            lacks=f"{data_dir} was prepared without one",
        )
    examples = tuple(example for name in wanted for example, _ in rows[name])
    # Splits one after the other do not lie in turn.
    count = len(present[wanted[0]]["shards"]) if len(wanted) == 1 else 1
    read = reader(spec, rules)
    checked = {example.label or "": pixels for name in wanted for example, pixels in rows[name]}
    return Dataset(spec, split, examples, read, rules, count, checked)


def _read_manifest(path: str) -> dict[str, Any]:
    if not files.exists(path):
        raise UserError(
            f"records: there is no {path}; --data_dir names the --output_dir of a --mode=prepare that ran to its end."
        )
    try:
        manifest = texts.parse_json(files.read_bytes(path, most=_MOST_MANIFEST))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}). {_FIX}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise UserError(f"{path} is no manifest of prepared records; expected the one that --mode=prepare wrote.")
    if manifest.get("version") != _VERSION:
        raise UserError(
            f"{path} has version {manifest.get('version')!r}, this program reads {_VERSION}; use the release "
            "that wrote it, or prepare the data set again."
        )
    return manifest


def _spec(fields: dict[str, Any]) -> DatasetSpec:
    return DatasetSpec(
        str(fields["name"]),
        tuple(map(str, fields["class_names"])),
        tuple(map(_color, fields["colors"])),
        _number(fields["ignore_label"]),
    )


def _rules(fields: dict[str, Any] | None) -> MaskRules | None:
    if fields is None:
        return None
    ignore_color = fields["ignore_color"]
    return MaskRules(
        tuple(map(int, fields["values"])),
        tuple(map(_color, fields["colors"])),
        _number(fields["ignore"]),
        None if ignore_color is None else _color(ignore_color),
    )


def _color(channels: Sequence[int]) -> Color:
    red, green, blue = map(int, channels)
    return red, green, blue


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _read_rows(data_dir: str, split: str, listed: dict[str, Any]) -> list[tuple[Example, dict[int, int]]]:
    """The examples of a split and the pixels of their classes, once its files are known to be there and whole."""
    count = len(listed["shards"])
    if not count:
        raise ValueError(f"no shards of {split}")
    paths = []
    for number, shard in enumerate(listed["shards"]):
        paths.append(_path(data_dir, shard, shard_name(split, number, count)))
    path = _path(data_dir, listed["index"], index_name(split))
    data = files.read_bytes(path)
    if zlib.crc32(data) != listed["index"]["crc32"]:
        raise UserError(f"{path} is damaged: its checksum is another one. {_FIX}")
    rows = []
    for number, line in enumerate(archives.gunzip(data).splitlines()):
        row = texts.parse_json(line)
        shard = listed["shards"][number % count]
        image, label = (_address(paths[number % count], row[kind], shard["bytes"]) for kind in ("image", "label"))
        if not isinstance(row["name"], str) or not archives.is_inside(row["name"]):
            raise ValueError(f"an example called {row['name']!r}")
        rows.append((Example(row["name"], image, label), {int(label): int(pixels) for label, pixels in row["pixels"]}))
    if len(rows) != listed["examples"] or len(rows) < len(paths):
        raise ValueError(f"{len(rows)} examples of {split} are listed, expected {listed['examples']}")
    return rows


def _path(data_dir: str, listed: dict[str, Any], name: str) -> str:
    """The path of a file that the manifest lists, which has the one name that is written, and is whole."""
    if listed["file"] != name:
        raise ValueError(f"a file {listed['file']!r} where {name} belongs")
    path = files.join(data_dir, name)
    _check_size(path, listed["bytes"])
    return path


def _address(shard: str, piece: dict[str, Any], size: int) -> str:
    whole = all(type(piece[key]) is int and piece[key] >= 0 for key in ("start", "length", "checksum"))
    if not whole or piece["start"] + piece["length"] > size or not isinstance(piece["name"], str):
        raise ValueError(f"a piece {piece!r} in a shard of {size} bytes")
    return shards.address(
        shard, piece["name"], start=piece["start"], length=piece["length"], checksum=piece["checksum"]
    )


def _check_size(path: str, expected: int) -> None:
    try:
        found = files.size(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}). {_FIX}") from None
    if found != expected:
        raise UserError(f"{path}: has {found} bytes, expected {expected}. {_FIX}")


ENTRY = DatasetEntry(load)
