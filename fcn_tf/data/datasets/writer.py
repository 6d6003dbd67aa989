"""Writes a data set of many small files as few large ones, the shards that `records.py` reads.

The files are copied as they are, so training meets the same pictures to the bit. The manifest is written last: what an
interrupted run leaves behind is no data set, and the next run removes it.
"""

import contextlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import tqdm

from fcn_tf.data.base import SPLITS, Dataset, Example
from fcn_tf.data.datasets import records
from fcn_tf.data.masks.read import WarnOnce, read_file
from fcn_tf.data.masks.rules import MaskRules
from fcn_tf.data.quality import scan, screening
from fcn_tf.errors import UserError
from fcn_tf.io import files, shards

_SHARD_BYTES = 128 << 20  # at most about this much in a shard
_SHARDS = 16  # the number of shards is a multiple of this, so that 2, 4, 8 or 16 workers get equal shares
_CHUNK = 64  # examples in memory at once
_OWN = re.compile(rf"({'|'.join(SPLITS)})-(\d+-of-\d+\.tfrecord|index\.jsonl\.gz)")
_FRAME = 12, 4  # bytes around a record in a TFRecord file: its length and that one's checksum; its own checksum


def require_free(folder: str) -> None:
    """Raises UserError if `folder` holds a prepared data set already, or another process is writing one there."""
    _require_unprepared(folder)
    if files.is_dir(folder):
        with _claimed(folder):
            pass


def _require_unprepared(folder: str) -> None:
    if files.exists(files.join(folder, records.MANIFEST)):
        raise UserError(f"{folder} holds a prepared data set already; remove it, or give another --output_dir.")


@contextlib.contextmanager
def _claimed(folder: str) -> Iterator[None]:
    """Keeps others out of a folder, as far as `files.locked` can."""
    with files.locked(folder) as free:
        if not free:
            raise UserError(
                f"another --mode=prepare is writing to --output_dir={folder}; wait for it or stop it, or give another "
                "--output_dir."
            )
        yield


def write(folder: str, splits: Mapping[str, Dataset], data_dir: str) -> dict[str, dict[str, Any]]:
    """Writes the shards, the indices and the manifest; imports TensorFlow.

    Args:
      folder: where to; what an interrupted call left there is removed first.
      splits: each split of the data set, by name.
      data_dir: of the files; names in the records are relative to it.

    Returns:
      What the manifest says about each split.

    Raises:
      UserError: if the folder cannot be written or is not free, or a file cannot be used.
    """
    import tensorflow as tf

    try:
        files.makedirs(folder)
        with _claimed(folder):
            _require_unprepared(folder)  # once more: another process may have finished one meanwhile
            _clear(folder)
            try:
                return _write(folder, splits, data_dir)
            except BaseException:
                with contextlib.suppress(OSError):
                    _clear(folder)
                raise
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(
            f"--output_dir={folder} cannot be written ({reason}); give another folder, or make room."
        ) from None


def _write(folder: str, splits: Mapping[str, Dataset], data_dir: str) -> dict[str, dict[str, Any]]:
    """As `write`, into a folder that is there, and this process's own."""
    written, say = {}, WarnOnce()
    with tqdm.tqdm(total=sum(map(len, splits.values())), unit="example", desc="prepare", disable=None) as bar:
        for split, dataset in splits.items():
            written[split] = _write_split(folder, split, dataset, data_dir, bar, say)
    first = next(iter(splits.values()))
    rules = first.rules if isinstance(first.rules, MaskRules) else None
    records.write_manifest(folder, first.spec, rules, written)
    return written


def num_shards(total_bytes: int, examples: int) -> int:
    """How many shards: each of some 64 to 128 MB, or 16 where there is less to share; no more than examples."""
    return min(_SHARDS * max(1, -(-total_bytes // (_SHARDS * _SHARD_BYTES))), examples)


def _write_split(
    folder: str, split: str, dataset: Dataset, data_dir: str, bar: tqdm.tqdm, say: Callable[[str], Any]
) -> dict[str, Any]:
    """Writes the shards and the index of a split, one shard after the other; `say` gets a line for each dark photo."""
    import tensorflow as tf

    with ThreadPoolExecutor() as pool:
        sizes = pool.map(_size, (path for example in dataset.examples for path in (example.image, example.label or "")))
        count = num_shards(sum(sizes), len(dataset))
        rows: dict[int, records.Row] = {}
        shard_bytes = []
        for shard in range(count):
            indices = range(shard, len(dataset), count)
            offset = 0
            with tf.io.TFRecordWriter(files.join(folder, records.shard_name(split, shard, count))) as writer:
                for index, packed in zip(indices, _packed(pool, dataset, indices), strict=True):
                    record = _encode(packed, data_dir)
                    writer.write(record)
                    rows[index] = _row(packed, record, offset + _FRAME[0], data_dir)
                    offset += sum(_FRAME) + len(record)
                    bar.update()
                    if packed.darkness:
                        say(f"{packed.example.image}: 16 bits with {packed.darkness}")
            shard_bytes.append(offset)
    return records.write_index(folder, split, [rows[index] for index in range(len(dataset))], shard_bytes)


@dataclass(frozen=True)
class _Packed:
    """An example, the bytes of its files, the pixels of each class, and what of its photo is dark ("": nothing)."""

    example: Example
    image: bytes
    label: bytes
    pixels: dict[int, int]
    darkness: str


def _packed(pool: ThreadPoolExecutor, dataset: Dataset, indices: range) -> Iterator[_Packed]:
    """Reads and checks examples, a bounded number of them ahead."""
    rules = screening.rules_of(dataset)

    def pack(index: int) -> _Packed:
        example = dataset.examples[index]
        path = example.label or ""
        image, label = read_file(example.image), read_file(path)
        photo, mask = scan.photo_in(image, name=example.image), scan.mask_in(label, name=path)
        why = screening.why_unusable(example, photo, mask)
        if why or mask.histogram is None:
            raise UserError(f"{why.rstrip('.')}. Fix it, or leave such files out: --on_bad_example=skip.")
        pixels = screening.class_pixels(mask.histogram, rules, name=path)
        return _Packed(example, image, label, pixels, photo.darkness)

    for start in range(0, len(indices), _CHUNK):
        yield from pool.map(pack, indices[start : start + _CHUNK])


def _encode(packed: _Packed, data_dir: str) -> bytes:
    """A tf.train.Example as bytes."""
    import tensorflow as tf

    values = {
        "name": packed.example.name.encode(),
        "image/encoded": packed.image,
        "image/filename": shards.name_below(packed.example.image, data_dir).encode(),
        "label/encoded": packed.label,
        "label/filename": shards.name_below(packed.example.label or "", data_dir).encode(),
    }
    features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _row(packed: _Packed, record: bytes, start: int, data_dir: str) -> records.Row:
    """The line of the index; `start` is where the record begins in its shard."""

    def piece(path: str, data: bytes) -> records.Piece:
        # Wherever these bytes stand in the record, they are the right ones.
        place = start + record.index(data)
        return records.Piece(shards.name_below(path, data_dir), place, len(data), zlib.crc32(data))

    example = packed.example
    image, label = piece(example.image, packed.image), piece(example.label or "", packed.label)
    return records.Row(example.name, image, label, packed.pixels)


def _size(path: str) -> int:
    try:
        return shards.size(path)
    except OSError:
        return 0  # reading it will say so


def _clear(folder: str) -> None:
    """Removes what an interrupted run has left."""
    for name in files.list_dir(folder):
        if _OWN.fullmatch(name):
            files.remove(files.join(folder, name))
