"""`--mode=prepare`: writes a data set of many small files as few large ones, to be trained on with --dataset=records.

The files are copied as they are, so training meets the same pictures to the bit. The manifest is written last: what an
interrupted run leaves behind is no data set, and the next run clears it away.
"""

import contextlib
import dataclasses
import re
import shlex
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import tqdm

from fcn_tf.config import Config
from fcn_tf.data import datasets
from fcn_tf.data.base import Dataset, Example
from fcn_tf.data.datasets import pairs, records
from fcn_tf.data.masks import rules as masks
from fcn_tf.data.quality import scan, screening
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import files, shards, startup
from fcn_tf.io.run_dir import Run

_SHARD_BYTES = 128 << 20  # at most about this much in a shard
_SHARDS = 16  # the number of shards is a multiple of this, so that 2, 4, 8 or 16 workers get equal shares
_CHUNK = 64  # examples in memory at once
_OWN = re.compile(rf"({'|'.join(records.SPLITS)})-(\d+-of-\d+\.tfrecord|index\.jsonl\.gz)")
_FRAME = 12, 4  # bytes around a record in a TFRecord file: its length and that one's checksum; its own checksum


def run(config: Config) -> int:
    """Writes every split that the data set has to --output_dir.

    Args:
      config: uses dataset, data_dir, output_dir, logs_dir and what the flags say about classes and bad examples.

    Returns:
      The exit status, 0.

    Raises:
      UserError: if there is no data set, a file of it cannot be used, or the folder holds a prepared one or cannot be
        written.
    """
    if config.dataset == "shapes":
        raise UserError(
            "--mode=prepare packs files; shapes are generated. Give --dataset=folder --data_dir=DIR, for one."
        )
    folder = config.output_dir
    if files.exists(files.join(folder, records.MANIFEST)):
        raise UserError(f"{folder} holds a prepared data set already; remove it, or give another --output_dir.")
    loaded = _load(config)
    # Here, because it takes seconds and mistakes should show at once.
    startup.load_tensorflow()
    import tensorflow as tf

    try:
        files.makedirs(folder)
        _clear(folder)
        total = sum(map(len, loaded.values()))
        splits = {}
        try:
            with tqdm.tqdm(total=total, unit="example", desc="prepare", disable=None) as bar:
                for split, dataset in loaded.items():
                    splits[split] = _write_split(folder, split, dataset, config.data_dir, bar)
            first = next(iter(loaded.values()))
            rules = first.rules if isinstance(first.rules, masks.MaskRules) else None
            records.write_manifest(folder, first.spec, rules, splits)
        except BaseException:
            with contextlib.suppress(OSError):
                _clear(folder)
            raise
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(
            f"--output_dir={folder} cannot be written ({reason}); give another folder, or make room."
        ) from None
    for split, found in splits.items():
        size = sum(shard["bytes"] for shard in found["shards"])
        print(f"{split}: {found['examples']} examples in {len(found['shards'])} shards, {size / 1e6:.1f} MB")
    print(f"written to {folder}; train on it as on the files with:\n{_command(config)}")
    return 0


def _load(config: Config) -> dict[str, Dataset]:
    """Every split that there is."""
    cache = Run(config.logs_dir).facts
    said = datasets.resolve(config.dataset, config.data_dir, **config.data_flags(), cache=cache)
    config = dataclasses.replace(config, **said)
    loaded: dict[str, Dataset] = {}
    missing: list[MissingSplit] = []
    for split in records.SPLITS:
        try:
            loaded[split] = datasets.load(config.dataset, config.data_dir, split, **config.data_flags(), cache=cache)
        except MissingSplit as error:
            missing.append(error)
    if not loaded:
        raise missing[0]
    return loaded


def num_shards(total_bytes: int, examples: int) -> int:
    """How many shards: each of some 64 to 128 MB, or 16 where there is less to share; no more than examples."""
    return min(_SHARDS * max(1, -(-total_bytes // (_SHARDS * _SHARD_BYTES))), examples)


def _write_split(folder: str, split: str, dataset: Dataset, data_dir: str, bar: Any) -> dict[str, Any]:
    """Writes the shards and the index of a split, one shard after the other."""
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
            shard_bytes.append(offset)
    return records.write_index(folder, split, [rows[index] for index in range(len(dataset))], shard_bytes)


@dataclass(frozen=True)
class _Packed:
    """An example and the bytes of its files."""

    example: Example
    image: bytes
    label: bytes
    pixels: dict[int, int]


def _packed(pool: ThreadPoolExecutor, dataset: Dataset, indices: range) -> Iterator[_Packed]:
    """Reads and checks examples, a bounded number of them ahead."""
    rules = screening.rules_of(dataset)

    def pack(index: int) -> _Packed:
        example = dataset.examples[index]
        path = example.label or ""
        image, label = pairs.read_bytes(example.image), pairs.read_bytes(path)
        mask = scan.mask_in(label, name=path)
        why = screening.why_unusable(example, scan.photo_in(image, name=example.image), mask)
        if why or mask.histogram is None:
            raise UserError(f"{why.rstrip('.')}. Mend it, or leave such files out: --on_bad_example=skip.")
        return _Packed(example, image, label, screening.class_pixels(mask.histogram, rules, name=path))

    for start in range(0, len(indices), _CHUNK):
        yield from pool.map(pack, indices[start : start + _CHUNK])


def _encode(packed: _Packed, data_dir: str) -> bytes:
    """A tf.train.Example as bytes."""
    import tensorflow as tf

    values = {
        "name": packed.example.name.encode(),
        "image/encoded": packed.image,
        "image/filename": _file_name(packed.example.image, data_dir).encode(),
        "label/encoded": packed.label,
        "label/filename": _file_name(packed.example.label or "", data_dir).encode(),
    }
    features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _row(packed: _Packed, record: bytes, start: int, data_dir: str) -> records.Row:
    """The line of the index; `start` is where the record begins in its shard."""

    def piece(path: str, data: bytes) -> records.Piece:
        # Wherever these bytes stand in the record, they are the right ones.
        place = start + record.index(data)
        return records.Piece(_file_name(path, data_dir), place, len(data), zlib.crc32(data))

    example = packed.example
    image, label = piece(example.image, packed.image), piece(example.label or "", packed.label)
    return records.Row(example.name, image, label, packed.pixels)


def _file_name(path: str, data_dir: str) -> str:
    """What a file is called in the records: its path below the data set's folder."""
    return shards.name_of(path).removeprefix(data_dir).lstrip("/\\")


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


def _command(config: Config) -> str:
    """The command that trains on the records as the same flags would on the files."""
    words = ["python", "main.py", "--mode=train", "--dataset=records", f"--data_dir={config.output_dir}"]
    usual = Config(dataset="records")
    for name in ("image_size", "batch_size", "max_steps", "eval_every", "save_every", "weights", "seed"):
        if getattr(config, name) != getattr(usual, name):
            words.append(f"--{name}={getattr(config, name)}")
    logs_dir = files.join(config.logs_dir, "records") if Run(config.logs_dir).exists() else config.logs_dir
    return shlex.join([*words, f"--logs_dir={logs_dir}"])
