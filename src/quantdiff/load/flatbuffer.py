"""A reader of flatbuffer tables that trusts nothing: every offset and length is held against the file.

The format: https://flatbuffers.dev/internals. A table starts with the distance to its vtable, which lists
where each slot's field lies; references point forward only, and the schema has no recursive table, so no
chain of offsets can loop. What a file can still do is point at the same bytes many times over; the limits
below bound the work and the memory that this may cost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from quantdiff.load import schema

Record = Mapping[str, Any]

SLOTS_AT_MOST = 32  # the largest table has 17
TABLES_AT_MOST = 300_000
DECODED_BYTES_AT_MOST = 32_000_000
SHORT = 17  # vectors below this length are unpacked by struct, the others by NumPy

SCALARS = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
UINT32 = struct.Struct("<I").unpack_from
INT32 = struct.Struct("<i").unpack_from


class Damaged(Exception):
    """The bytes contradict the format; the message says what about them."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` … ``start + size`` of the file, not read yet."""

    start: int
    size: int


class Reader:
    """One flatbuffer; ``table`` gives the fields of one table, its own tables still unread."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.size = len(data)
        self._vtables: dict[int, tuple[int, ...]] = {}
        self._vectors: dict[tuple[int, str], tuple[Any, ...]] = {}
        self._strings: dict[int, str] = {}
        self._same: dict[Any, Any] = {}
        self._read = self._decoded = 0
        self._tables = 0

    def root(self, name: str) -> dict[str, Any]:
        """The fields of the root table."""
        return self.table(name, self.reference(0))

    def table(self, name: str, position: int) -> dict[str, Any]:
        """Field → value: scalars, strings, tuples; enums named; tables as positions, bytes as spans."""
        layout = _layout(name)
        record = dict(layout.defaults)
        for offset, (field, read) in zip(self._vtable(position), layout.slots, strict=False):
            if offset and read:
                record[field] = read(self, position + offset)
        return record

    def reference(self, position: int) -> int:
        """Where the offset stored at ``position`` points to."""
        (offset,) = UINT32(self.data, position)
        if not 0 < offset <= self.size - position - 4:
            raise Damaged(f"the offset at byte {position} points outside the file")
        return position + int(offset)

    def vector(self, position: int, item_size: int) -> Span:
        """The bytes of the vector that the offset at ``position`` points to."""
        start = self.reference(position)
        (length,) = UINT32(self.data, start)
        if length * item_size > self.size - start - 4:
            raise Damaged(f"the vector at byte {start} says {length} entries, more than the file holds")
        return Span(start + 4, length)

    def scalars(self, position: int, code: str) -> tuple[Any, ...]:
        """A vector of numbers; equal vectors are one tuple."""
        dtype = np.dtype(f"<{code}")
        span = self.vector(position, dtype.itemsize)
        key = (span.start, code)
        if (known := self._vectors.get(key)) is None:
            raw = self._bytes(span.start, span.size * dtype.itemsize)
            if (known := self._same.get((code, raw))) is None:
                self._charge(len(raw))
                known = _unpack(raw, span.size, code, dtype)
                self._same[code, raw] = known
            self._vectors[key] = known
        return known

    def string(self, position: int) -> str:
        """A string; bytes that are not UTF-8 become U+FFFD."""
        span = self.vector(position, 1)
        if (known := self._strings.get(span.start)) is None:
            self._charge(span.size)
            known = self._bytes(span.start, span.size).decode("utf-8", "replace")
            self._strings[span.start] = known
        return known

    def positions(self, position: int) -> tuple[int, ...]:
        """Where the tables of a vector of tables lie."""
        span = self.vector(position, 4)
        self._tables += span.size
        if self._tables > TABLES_AT_MOST:
            raise Damaged(f"it says it has more than {TABLES_AT_MOST} tensors, operators and buffers")
        starts = np.frombuffer(self.data, "<u4", span.size, span.start).astype(np.int64)
        targets = starts + np.arange(span.start, span.start + 4 * span.size, 4)
        if span.size and int(targets.max()) > self.size - 4:
            raise Damaged(f"the list at byte {span.start} points outside the file")
        found: list[int] = targets.tolist()
        return tuple(found)

    def _vtable(self, position: int) -> tuple[int, ...]:
        (distance,) = INT32(self.data, position)
        start = position - distance
        if (known := self._vtables.get(start)) is not None:
            return known
        if not 0 <= start <= self.size - 4:
            raise Damaged(f"the table at byte {position} has its field list outside the file")
        (length,) = struct.unpack_from("<H", self.data, start)
        count = min(max(length // 2 - 2, 0), SLOTS_AT_MOST)
        known = struct.unpack_from(f"<{count}H", self.data, start + 4)
        self._vtables[start] = known
        return known

    def _bytes(self, start: int, size: int) -> bytes:
        self._read += size
        if size > DECODED_BYTES_AT_MOST or self._read > self.size:  # without overlaps it cannot be
            raise Damaged(f"the {size} bytes at {start} overlap with others, or are too many")
        return bytes(self.data[start : start + size])

    def _charge(self, size: int) -> None:
        self._decoded += size
        if self._decoded > DECODED_BYTES_AT_MOST:
            raise Damaged(f"it says it holds more than {DECODED_BYTES_AT_MOST} bytes of names and parameters")


Read = Callable[[Reader, int], Any]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How to read one table."""

    slots: tuple[tuple[str, Read | None], ...]
    defaults: dict[str, Any]


@cache
def _layout(table: str) -> _Layout:
    known = [field for field in schema.fields(table) if field.kind != "none"]
    slots = tuple((field.name, _read(field)) for field in schema.fields(table))
    return _Layout(slots, {field.name: _default(field) for field in known})


def _default(field: schema.Field) -> Any:
    if field.is_vector:
        return Span(0, 0) if field.kind == "uint8" else ()
    if field.enum:
        return schema.enum(field.enum)[int(field.default)]
    if field.kind in SCALARS:
        return float(field.default) if field.kind.startswith("float") else field.default
    return "" if field.kind == "string" else None


def _read(field: schema.Field) -> Read | None:
    if field.is_vector:
        return _read_vector(field)
    if field.kind in SCALARS:
        return _read_scalar(field)
    if field.kind == "none":
        return None
    return Reader.string if field.kind == "string" else Reader.reference


def _read_vector(field: schema.Field) -> Read:
    if field.kind == "uint8":
        return lambda reader, position: reader.vector(position, 1)
    if field.kind in SCALARS:
        code = SCALARS[field.kind]
        return lambda reader, position: reader.scalars(position, code)
    return Reader.positions


def _read_scalar(field: schema.Field) -> Read:
    unpack = struct.Struct("<" + SCALARS[field.kind]).unpack_from
    if field.enum is None:
        return lambda reader, position: unpack(reader.data, position)[0]
    names = schema.enum(field.enum)

    def read(reader: Reader, position: int) -> str:
        (number,) = unpack(reader.data, position)
        return names.get(number) or str(number)

    return read


def _unpack(raw: bytes, count: int, code: str, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    if count < SHORT:
        return struct.unpack(f"<{count}{code}", raw)
    values: list[Any] = np.frombuffer(raw, dtype).tolist()
    return tuple(values)
