"""Reads MATLAB 5 to 7 files: arrays of numbers, text, cells and structs, and no byte more than a file can hold.

Every length that a file states is held against what is left of the element around it before anything is reserved, so
damaged and hostile files end in `Damaged`. SciPy's compiled reader trusts these lengths: single flipped bits end the
process. The format is described in "MAT-File Format" (MathWorks, level 5). NumPy only.
"""

import math
import os
import zlib
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np

from fcn_tf.io import archives

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_COMPLEX = 0x800
_CHUNK = 1 << 16
_DEEPEST = 16  # a bias lies four deep in MatConvNet's files
_MOST_ELEMENTS = 100_000  # each becomes a Python object, however few bytes it has
_MOST_BYTES = 2 << 30
_LONGEST_NAME = 63  # of a variable in MATLAB


class Damaged(ValueError):
    """The bytes are not what the format asks for, or more than a file of this size may become."""


def read(stream: BinaryIO, names: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Reads variables.

    A file takes at most `most_bytes` of its size in memory.

    Args:
      stream: a file that can be sought, with the header of MATLAB 5 to 7.
      names: of the variables to read; others are passed over unread.

    Returns:
      {name: value} of those that are there, and the names of all variables. A value is an array of numbers, as they are
      stored, in Fortran order; a str; a tuple for a cell; a dict for a struct, and a list of dicts for an array of
      structs; None for what else MATLAB has (complex or sparse numbers, functions, objects, text of several rows).

    Raises:
      Damaged: if it is no such file.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(_HEADER - 2)
    order = {b"IM": "<", b"MI": ">"}.get(stream.read(2))
    if order is None:
        raise Damaged("no byte order in its header")
    reader = _Reader(order, most_bytes(size))
    found: dict[str, Any] = {}
    all_names = []
    position = _HEADER
    while position < size:
        stream.seek(position)
        kind, length = np.frombuffer(_exactly(stream, 8), order + "u4").tolist()
        position += 8 + length
        if position > size:
            raise Damaged(f"{length} bytes announced, {size - position + length} are left")
        source = _Inflated(stream, length) if kind == _COMPRESSED else _Plain(stream, length)
        if kind == _COMPRESSED:
            kind, length = reader.tag(source)
        if kind != _MATRIX:
            raise Damaged(f"a variable of type {kind}")
        name, value = reader.variable(source, length, names)
        all_names.append(name)
        if name in names:
            source.finish()
            found[name] = value
    return found, all_names


def most_bytes(size: int) -> int:
    """How many bytes a file of `size` bytes may become."""
    return max(size, min(_MOST_BYTES, archives.most_bytes(size)))


class _Plain:
    """The bytes of a variable as they stand in the file."""

    def __init__(self, stream: BinaryIO, length: int):
        self._stream, self._left = stream, length

    def fill(self, buffer: memoryview) -> None:
        self._left -= len(buffer)
        if self._left < 0:
            raise Damaged("a variable ends too early")
        while buffer:
            count = self._stream.readinto(buffer)  # type: ignore[attr-defined]
            if not count:
                raise Damaged("the file ends too early")
            buffer = buffer[count:]

    def finish(self) -> None:
        pass


class _Inflated:
    """The bytes of a compressed variable, inflated as they are asked for and no further."""

    def __init__(self, stream: BinaryIO, length: int):
        self._stream, self._left = stream, length
        self._zlib, self._ready = zlib.decompressobj(), memoryview(b"")

    def fill(self, buffer: memoryview) -> None:
        while buffer:
            if not self._ready:
                self._ready = memoryview(self._inflate())
            count = min(len(buffer), len(self._ready))
            if not count:
                raise Damaged("compressed data end too early")
            buffer[:count] = self._ready[:count]
            buffer, self._ready = buffer[count:], self._ready[count:]

    def finish(self) -> None:
        """Makes zlib compare its checksum."""
        if self._ready or self._inflate():
            raise Damaged("compressed data go on after the variable")
        if not self._zlib.eof:
            raise Damaged("compressed data end too early")

    def _inflate(self) -> bytes:
        """At most `_CHUNK` bytes more; none at the end."""
        while not self._zlib.eof:
            data = self._zlib.unconsumed_tail
            if not data:
                data = self._stream.read(min(_CHUNK, self._left))
                self._left -= len(data)
            try:
                piece = self._zlib.decompress(data, _CHUNK)
            except zlib.error as error:
                raise Damaged(f"compressed data: {error}") from None
            if piece or not data:
                return piece
        return b""


class _Reader:
    """Reads elements; counts what they take."""

    def __init__(self, order: str, most: int):
        self._order, self._room = order, most
        self._elements = 0

    def variable(self, source: _Plain | _Inflated, length: int, names: Collection[str]) -> tuple[str, Any]:
        """The name of a variable of `length` bytes, and its value if it is one of `names`."""
        return self._matrix(source, _Budget(length), 0, names)

    def tag(self, source: _Plain | _Inflated) -> tuple[int, int]:
        """The type of what follows, and its bytes."""
        kind, length = np.frombuffer(self._bytes(source, 8), self._order + "u4").tolist()
        return kind, length

    def _matrix(
        self, source: _Plain | _Inflated, budget: "_Budget", depth: int, names: Collection[str] | None = None
    ) -> tuple[str, Any]:
        if depth > _DEEPEST:
            raise Damaged(f"more than {_DEEPEST} elements inside each other")
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise Damaged(f"more than {_MOST_ELEMENTS} elements")
        if not budget.left:
            return "", np.zeros((0, 0))  # MATLAB's []
        flags = self._numbers(source, budget, most=8)
        if len(flags) != 2:
            raise Damaged("no array flags")
        kind, is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & _COMPLEX)
        known = kind in (_CELL, _STRUCT, _CHAR) or (kind in _NUMERIC and not is_complex)
        value: Any = None
        # What else there is may have no shape.
        shape = self._shape(source, budget) if known or kind in _NUMERIC or kind in (3, 5) else ()
        name = self._text(source, budget, _LONGEST_NAME)
        if names is not None and name not in names:
            return name, None
        if kind == _CELL and known:
            self._require(math.prod(shape), 8, budget)
            value = tuple(self._member(source, budget, depth) for _ in range(math.prod(shape)))
        elif kind == _STRUCT:
            value = self._struct(source, budget, depth, math.prod(shape))
        elif kind == _CHAR:
            value = self._characters(source, budget, shape)
        elif known:
            value = self._array(source, budget, shape)
        self._pass(source, budget.left)
        return name, value

    def _member(self, source: _Plain | _Inflated, budget: "_Budget", depth: int) -> Any:
        budget.take(8)
        kind, length = self.tag(source)
        if kind != _MATRIX:
            raise Damaged(f"an element of type {kind} where an array belongs")
        budget.take(length)
        return self._matrix(source, _Budget(length), depth + 1)[1]

    def _struct(self, source: _Plain | _Inflated, budget: "_Budget", depth: int, count: int) -> Any:
        width = self._numbers(source, budget, most=4)
        text = bytes(self._data(source, budget, most=1 << 16)[1])
        if len(width) != 1 or width[0] < 1 or len(text) % int(width[0]):
            raise Damaged("no lengths of field names")
        step = int(width[0])
        fields = [text[i : i + step].split(b"\0")[0].decode("latin-1") for i in range(0, len(text), step)]
        if len(set(fields)) < len(fields):
            raise Damaged("two fields of one name")
        self._require(count, 8 * len(fields), budget)
        if not fields:
            return {} if count == 1 else []
        values = [{name: self._member(source, budget, depth) for name in fields} for _ in range(count)]
        return values[0] if count == 1 else values

    def _characters(self, source: _Plain | _Inflated, budget: "_Budget", shape: tuple[int, ...]) -> str | None:
        kind, data = self._data(source, budget, most=self._room)
        if kind not in _TEXTS:
            raise Damaged(f"characters of type {kind}")
        coding = _TEXTS[kind] + ({"<": "-le", ">": "-be"}[self._order] if kind in (4, 17, 18) else "")
        try:
            text = bytes(data).decode(coding)
        except UnicodeDecodeError as error:
            raise Damaged(f"characters: {error}") from None
        return text if math.prod(shape[:1]) <= 1 else None

    def _array(self, source: _Plain | _Inflated, budget: "_Budget", shape: tuple[int, ...]) -> np.ndarray:
        values = self._numbers(source, budget, most=self._room)
        if len(values) != math.prod(shape):
            raise Damaged(f"{len(values)} numbers in an array of shape {shape}")
        return values.reshape(shape, order="F")

    def _shape(self, source: _Plain | _Inflated, budget: "_Budget") -> tuple[int, ...]:
        sides = self._numbers(source, budget, most=128)
        if len(sides) < 2 or sides.dtype.kind not in "iu" or (sides < 0).any():
            raise Damaged(f"an array of shape {sides.tolist()}")
        return tuple(int(side) for side in sides)

    def _text(self, source: _Plain | _Inflated, budget: "_Budget", most: int) -> str:
        return bytes(self._data(source, budget, most=most)[1]).decode("latin-1")

    def _numbers(self, source: _Plain | _Inflated, budget: "_Budget", *, most: int) -> np.ndarray:
        kind, data = self._data(source, budget, most=most)
        dtype = np.dtype(self._order + _NUMBERS[kind]) if kind in _NUMBERS else None
        if dtype is None or len(data) % dtype.itemsize:
            raise Damaged(f"{len(data)} bytes of type {kind} where numbers belong")
        return data.view(dtype)

    def _data(self, source: _Plain | _Inflated, budget: "_Budget", *, most: int) -> tuple[int, np.ndarray]:
        """The type and the bytes of a plain element, whose padding is passed over."""
        budget.take(8)
        head = self._bytes(source, 8)
        first, length = np.frombuffer(head, self._order + "u4").tolist()
        small = first >> 16  # up to four bytes stand in the tag itself
        if small > 4:
            raise Damaged(f"an element of type {first}")
        if small:
            return first & 0xFFFF, head[4 : 4 + small].copy()
        budget.take(length)
        if length > most:
            raise Damaged(f"{length} bytes where at most {most} belong")
        padding = -length % 8
        data = self._bytes(source, length)
        if budget.left >= padding:  # the last element may lack it
            budget.take(padding)
            self._pass(source, padding)
        return first, data

    def _bytes(self, source: _Plain | _Inflated, count: int) -> np.ndarray:
        self._room -= count
        if self._room < 0:
            raise Damaged("more data than a file of this size may hold")
        data = np.empty(count, np.uint8)  # takes memory as it is filled
        source.fill(data.data)
        return data

    def _pass(self, source: _Plain | _Inflated, count: int) -> None:
        while count:
            step = min(count, _CHUNK)
            self._bytes(source, step)
            count -= step

    @staticmethod
    def _require(count: int, each: int, budget: "_Budget") -> None:
        if count * max(each, 1) > budget.left and count > 1:
            raise Damaged(f"{count} elements in {budget.left} bytes")


class _Budget:
    """The bytes of an element that are left."""

    def __init__(self, left: int):
        self.left = left

    def take(self, count: int) -> None:
        if count > self.left:
            raise Damaged(f"{count} bytes announced, {self.left} are left")
        self.left -= count


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise Damaged("the file ends too early")
    return data
