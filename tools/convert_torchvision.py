"""Turns a state dict of PyTorch, such as torchvision's VGG16, into a .safetensors file; needs no PyTorch.

    python tools/convert_torchvision.py --input=vgg16-397923af.pth --output=vgg16.safetensors

Reads the zip files that torch.save writes since 1.6, and what it wrote before: five pickles (a magic number, a version,
the machine, the object, the keys of its storages), then each storage, the number of its elements first. A pickle can
run any program when it is read; here it may name ordered dicts and float tensors, and anything else is refused.
"""

import argparse
import io
import json
import math
import os
import pickle  # nosec B403  # see _Unpickler
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fcn_tf.errors import UserError
from fcn_tf.io import archives, files, texts

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_ZIP = b"PK\x03\x04"
_KINDS = {"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"}
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # NumPy has no bfloat16: its bits


class _Storage(NamedTuple):
    kind: str
    key: str
    elements: int
    start: int  # of a view


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def rebuild(cls, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> "_Tensor":
        return cls(storage, offset, tuple(shape), tuple(strides))


class _OrderedDict(dict):
    def __setitem__(self, name: Any, value: Any) -> None:
        if not isinstance(name, str):  # of others, hashing alone may take for ever
            raise ValueError(f"it names something by a {type(name).__name__}; expected text")
        super().__setitem__(name, value)

    def __setstate__(self, state: Any) -> None:
        """Leaves out `_metadata`, the versions of the layers."""


class _Function:
    """What a pickle may call, and not change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a function")


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Function(_Tensor.rebuild),  # before 0.4, as in torchvision's oldest files
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_Tensor.rebuild),
    ("torch._utils", "_rebuild_parameter"): _Function(lambda tensor, *_: tensor),
    **{("torch", storage): kind for storage, kind in _KINDS.items()},
}


class _Unpickler(pickle.Unpickler):
    """Knows the names above and no others.

    Attributes:
      storages: those that were named, by key.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for."""
        if (module, name) not in _NAMES:
            raise ValueError(f"it names {module}.{name}, which is not read; expected float tensors by name")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """What a storage is written as: ("storage", type, key, device, elements), before 1.6 the part of a view."""
        _, kind, key, _, elements, *view = pid
        start = view[0][1] if view and view[0] else 0
        return self.storages.setdefault(key, _Storage(kind, key, elements, 0))._replace(start=start)


def read(path: str) -> dict[str, tuple[str, np.ndarray]]:
    """{name: (safetensors' name of its type, array)} of a state dict.

    Raises:
      UserError: if the file is missing, damaged, or holds anything else.
    """
    try:
        with files.open_regular(path) as stream:
            zipped = stream.read(len(_ZIP)) == _ZIP
            stream.seek(0)
            tensors, storages = _read_zip(stream) if zipped else _read_parts(stream)
        arrays = {name: (tensor.storage.kind, _array(tensor, storages)) for name, tensor in tensors.items()}
        if (total := sum(array.nbytes for _, array in arrays.values())) > archives.most_bytes(files.size(path)):
            raise ValueError(f"its tensors, which share their numbers, would become {total:,} bytes")
        return arrays
    except OSError as error:
        raise UserError(f"{path}: {files.refusal(error) or error}; give a file that can be read.") from None
    except Exception as error:  # of damaged bytes whatever comes
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{path}: no state dict of PyTorch, or damaged ({reason}). Give a whole .pth file.") from None


def _tensors(unpickler: _Unpickler) -> dict[str, _Tensor]:
    """What a pickle holds, if it is a state dict."""
    found = unpickler.load()
    if not isinstance(found, dict) or not found:
        raise ValueError(f"it holds {'nothing' if found == {} else type(found).__name__}; expected tensors by name")
    for name, tensor in found.items():
        if not (isinstance(name, str) and isinstance(tensor, _Tensor)):
            what = repr(name) if isinstance(name, str) else f"entry named by a {type(name).__name__}"
            raise ValueError(f"its {what} is {type(tensor).__name__}; expected a tensor")
    return found


def _read_zip(stream: BinaryIO) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
    """The tensors of a zip file, and the bytes of their storages."""
    archives.check_zip(stream)
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        (root,) = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        unpickler = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl")))
        return _tensors(unpickler), {key: archive.read(f"{root}data/{key}") for key in unpickler.storages}


def _read_parts(stream: BinaryIO) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
    """As `_read_zip`, of a file of before 1.6."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    magic, version, system = (_Unpickler(stream).load() for _ in range(3))
    if (magic, version, system["little_endian"]) != (_MAGIC, _VERSION, True):
        raise ValueError("it begins otherwise, or its numbers are big-endian")
    unpickler = _Unpickler(stream)
    tensors, keys, storages = _tensors(unpickler), _Unpickler(stream).load(), {}
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        length = count * np.dtype(_DTYPES[unpickler.storages[key].kind]).itemsize
        if not 0 <= length <= size - stream.tell():
            raise ValueError(f"cut short: {count:,} numbers at byte {stream.tell():,} of {size:,}")
        storages[key] = stream.read(length)
    return tensors, storages


def _array(tensor: _Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    """A tensor, as a view of its storage."""
    storage, first = tensor.storage, tensor.storage.start + tensor.offset
    flat = np.frombuffer(storages[storage.key], _DTYPES[storage.kind])
    last = first + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    whole = all(type(number) is int and number >= 0 for number in (first, *tensor.shape, *tensor.strides))
    if not whole or max(last + 1, math.prod(tensor.shape), storage.elements) > flat.size:
        raise ValueError(f"a tensor {tensor.shape} from {first} on in {flat.size} numbers of {storage.elements}")
    return np.lib.stride_tricks.as_strided(
        flat[first:], tensor.shape, [stride * flat.itemsize for stride in tensor.strides], writeable=False
    )


def safetensors(tensors: Mapping[str, tuple[str, np.ndarray]]) -> bytes:
    """The bytes of a .safetensors file of {name: (type, array)}."""
    header, end = {}, 0
    for name, (kind, array) in tensors.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays begin at a multiple of 8
    return b"".join([struct.pack("<Q", len(text)), text, *(array.tobytes() for _, array in tensors.values())])


def main(argv: list[str] | None = None) -> int:
    """Parses the command line and writes the file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True, help="the .pth or .pt file to read")
    parser.add_argument("--output", required=True, help="the .safetensors file to write")
    args = parser.parse_args(argv)
    try:
        if not args.output.endswith(".safetensors"):
            raise UserError(f"--output={args.output} is no name of a .safetensors file; give one.")
        tensors = read(args.input)
        data = safetensors(tensors)
        try:
            files.write_bytes(args.output, data)
        except OSError as error:
            raise UserError(f"{args.output}: {files.refusal(error) or error}; give another --output.") from None
    except UserError as error:
        print(f"error: {texts.printable(str(error))}", file=sys.stderr)
        return error.status
    print(f"{args.output}: {len(tensors)} arrays, {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
