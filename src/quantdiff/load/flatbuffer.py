"""A reader of flatbuffer tables, and of the buffers of a ``.tflite``, that trusts nothing.

Every offset and length is held against the file. The format: https://flatbuffers.dev/internals. What the verifier
refuses that LiteRT has of flatbuffers, such as a number that is not aligned, is refused here too: C++ reads it from
where it lies. A table starts with the distance to its vtable, which lists where each slot's field lies. Offsets point
forward only and the schema has no recursive table, so no chain of offsets can loop; what a damaged file can still do is
to point at the same bytes many times over, and the limits below bound the work and the memory that this costs. Bounds
of single fields are left to ``struct``, whose ``struct.error`` says that a field lies outside the file.

Which slot of which table holds which field is data: ``schema.txt``, written by ``scripts/write_schema.py``; to import
the generated Python module would cost 0.3 s. How fields lie in memory is compiled once for each vtable of a file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from math import prod
from operator import add, itemgetter
from typing import Any, NamedTuple

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.graph import PACKED
from quantdiff.quant import Array

SCHEMAS = "schema.txt", "litertlm.txt"


@dataclass(frozen=True, slots=True)
class Field:
    """One slot: ``kind`` is a scalar (``int32``), ``string``, ``union``, ``none`` or a table's name."""

    name: str
    kind: str
    is_vector: bool
    enum: str | None
    default: int | bool | str


@cache
def enum(name: str) -> dict[int, str]:
    """Number → name of one enum."""
    numbers, following = {}, 0
    for word in _lines()["enum", name]:
        member, _, number = word.partition("=")
        following = int(number or following)
        numbers[following] = member
        following += 1
    return numbers


def fields(table: str) -> tuple[Field, ...]:
    """The fields of one table in slot order."""
    return tuple(map(_field, _lines()["table", table]))


@cache
def _lines() -> dict[tuple[str, str], tuple[str, ...]]:
    text = "".join(files("quantdiff.load").joinpath(name).read_text(encoding="utf-8") for name in SCHEMAS)
    words = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    return {(kind, name): tuple(rest) for kind, name, *rest in words}


def _field(word: str) -> Field:
    name, _, spelled = word.partition(":")
    spelled, _, default = spelled.partition("=")
    is_vector = spelled.startswith("[")
    kind, _, enum_name = spelled.strip("[]").partition("/")
    return Field(name, kind, is_vector, enum_name or None, _default_of(kind, default))


def _default_of(kind: str, spelled: str) -> int | bool | str:
    if kind == "bool":
        return spelled == "True"
    return "" if kind == "string" else int(spelled or 0)


NUMBERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
SCALARS = dict(zip(NUMBERS, "?bBhHiIqQfd", strict=True))


class Span(NamedTuple):
    """Bytes ``start`` … ``start + size`` of the file, not read yet."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Form:
    """One table as one ``struct``: its fields present in the file, in the order in which they lie there.

    ``references`` are the fields that hold an offset: name, own place in the table, and what it leads to
    (``table``, ``tables``, ``string``, the struct code of a vector of numbers, or ``span`` and the size of an
    item for a vector that is better not read). ``wide`` are the places of the numbers of 8 bytes.
    """

    unpack: Callable[[memoryview, int], tuple[Any, ...]]
    names: tuple[str, ...]
    enums: tuple[tuple[str, dict[int, str]], ...]
    references: tuple[tuple[str, int, str], ...]
    defaults: dict[str, Any]
    wide: tuple[int, ...] = ()


@lru_cache(maxsize=4096)
def form(table: str, vtable: tuple[int, ...]) -> Form:
    """The form of ``table`` under a vtable given as the place of each slot, 0 for a field left out.

    Raises:
        ValueError: two fields overlap.
    """
    slots = zip(vtable, fields(table), strict=False)
    present = sorted(((at, field) for at, field in slots if at and field.kind != "none"), key=itemgetter(0))
    return Form(
        struct.Struct(_codes(table, present)).unpack_from,
        tuple(field.name for _, field in present),
        tuple((field.name, enum(field.enum)) for _, field in present if field.enum),
        tuple((field.name, at, _unread(table, field)) for at, field in present if _target(field)),
        _defaults(table),
        tuple(at for at, field in present if struct.calcsize(_code(field)) == 8),  # noqa: PLR2004 (bytes)
    )


def _codes(table: str, present: list[tuple[int, Field]]) -> str:
    codes, end = "<", 0
    for at, field in present:
        if at < end or at % min(struct.calcsize(f"<{_code(field)}"), 4):
            raise ValueError(f"{table}: {field.name} overlaps with the field before it, or is not aligned")
        codes += f"{at - end}x{_code(field)}"
        end = struct.calcsize(codes)
    return codes


def _code(field: Field) -> str:
    return "I" if _target(field) else SCALARS[field.kind]


def _target(field: Field) -> str:
    if field.is_vector:
        return "span1" if field.kind == "uint8" else SCALARS.get(field.kind, "tables")
    if field.kind in SCALARS:
        return ""
    return "string" if field.kind == "string" else "table"


def _unread(table: str, field: Field) -> str:
    """The target; the indices of sparse weights are as long as the weights, and stay in the file."""
    target = _target(field)
    return f"span{struct.calcsize(target)}" if table in {"Int32Vector", "Uint16Vector"} else target


@cache
def _defaults(table: str) -> dict[str, Any]:
    known = [field for field in fields(table) if field.kind != "none"]
    return {field.name: _default(field, _unread(table, field)) for field in known}


def _default(field: Field, target: str) -> Any:
    if field.is_vector:
        return Span(0, 0) if target.startswith("span") else ()
    if field.enum:
        return enum(field.enum)[int(field.default)]
    if field.kind in SCALARS:
        return float(field.default) if field.kind.startswith("float") else field.default
    return "" if field.kind == "string" else None


TABLES_AT_MOST = 200_000
BYTES_PER_TABLE = 8  # at least: its place in the list and the way to its vtable
SLOTS_AT_MOST = 32  # the largest table has 17
KEPT_BYTES_AT_MOST = 32_000_000  # a number of 4 bytes becomes an object of 32
REFERRED_BYTES_AT_MOST = 128_000_000
SHORT = 17  # vectors below this length are unpacked by struct, the others by NumPy

ITEM_SIZE = {"string": 1} | {code: struct.calcsize(f"<{code}") for code in SCALARS.values()}
UINT32 = struct.Struct("<I").unpack_from
INT32 = struct.Struct("<i").unpack_from


class Damaged(BadModel):
    """The bytes contradict the format; the message says what about them."""


class Reader:
    """One flatbuffer; ``table`` gives the fields of one table, its own tables still unread."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._forms: dict[tuple[str, int], Form] = {}
        self._known: dict[tuple[int, str], Any] = {}
        self._same: dict[tuple[str, bytes], Any] = {}
        self._referred = self._kept = self._tables = 0

    def root(self, name: str) -> dict[str, Any]:
        """The fields of the root table."""
        return self.table(name, *UINT32(self.data, 0))

    def table(self, name: str, position: int) -> dict[str, Any]:
        """Field → value: scalars, strings, tuples; enums named; tables as positions, bytes as spans."""
        (distance,) = INT32(self.data, position)
        vtable = position - distance
        known = self._forms.get((name, vtable)) or self._form(name, vtable)
        if position % 4 or any((position + at) % 8 for at in known.wide):
            raise Damaged(f"the table of kind {name} at byte {position} is not aligned")
        record = dict(zip(known.names, known.unpack(self.data, position), strict=True))
        for field, names in known.enums:
            record[field] = names.get(record[field]) or str(record[field])
        for field, offset, kind in known.references:
            record[field] = self._follow(position + offset, record[field], kind)
        return known.defaults | record

    def _follow(self, position: int, offset: int, kind: str) -> Any:
        """What the offset stored at ``position`` leads to: a table's position, or the value itself."""
        start = position + offset
        if not 0 < offset <= len(self.data) - position - 4:
            raise Damaged(f"the offset at byte {position} points outside the file")
        if kind == "table":
            return start
        if kind.startswith("span"):
            return self._span(start, int(kind[4:]))
        return self._values(start, kind)

    def _values(self, start: int, kind: str) -> Any:
        """A vector or string: the short ones at once, a long one as one value for all that point at it."""
        (length,) = UINT32(self.data, start)
        if start % 4:
            raise Damaged(f"the vector at byte {start} is not aligned")
        if length < SHORT and len(kind) == 1:
            return _short(kind, length).unpack_from(self.data, start + 4)
        if kind == "tables":
            return self._positions(start)
        self._refer(length * ITEM_SIZE[kind])
        if (known := self._known.get((start, kind))) is None:
            known = self._known[start, kind] = self._long(start, kind)
        return known

    def _refer(self, size: int) -> None:
        """Bound what it can cost to point at the same bytes over and over."""
        self._referred += size
        if self._referred > min(REFERRED_BYTES_AT_MOST, 4 * len(self.data) + 65536):
            raise Damaged("its names and parameters point at the same bytes over and over, or are too many")

    def _span(self, start: int, item_size: int = 1) -> Span:
        (length,) = UINT32(self.data, start)
        if start % 4 or length * item_size > len(self.data) - start - 4:
            raise Damaged(f"the vector at byte {start} says {length} entries, more than the file holds")
        return Span(start + 4, length * item_size)

    def _long(self, start: int, kind: str) -> Any:
        """A string or a long vector of numbers; equal ones are one value: subgraphs share weights."""
        span = self._span(start, ITEM_SIZE[kind])
        if kind == "string" and bytes(self.data[span.start + span.size :][:1]) != b"\0":
            raise Damaged(f"the text at byte {start} has no end")
        raw = bytes(self.data[span.start : span.start + span.size])
        if (same := self._same.get((kind, raw))) is None:
            self._kept += len(raw)
            if self._kept > KEPT_BYTES_AT_MOST:
                raise Damaged(f"it holds more than {KEPT_BYTES_AT_MOST} bytes of names and parameters")
            same = self._same[kind, raw] = _decoded(raw, kind)
        return same

    def _positions(self, start: int) -> tuple[int, ...]:
        """Where the tables of a vector of tables lie."""
        span = self._span(start, 4)
        count = span.size // 4
        self._tables += count
        if self._tables > min(TABLES_AT_MOST, len(self.data) // BYTES_PER_TABLE):
            raise Damaged(f"it says it has {self._tables} tensors, operators and buffers, more than it can hold")
        offsets = struct.unpack_from(f"<{count}I", self.data, span.start)
        if 0 in offsets:
            raise Damaged(f"the list of tables at byte {start} has an entry that points at itself")
        return tuple(map(add, offsets, range(span.start, span.start + span.size, 4)))

    def _form(self, name: str, vtable: int) -> Form:
        if not 0 <= vtable <= len(self.data) - 4:
            raise Damaged(f"a table of kind {name} has its list of fields outside the file")
        (size,) = struct.unpack_from("<H", self.data, vtable)
        if size < 4 or size % 2 or vtable % 2:  # noqa: PLR2004 (its own size and the table's)
            raise Damaged(f"a table of kind {name} has a broken list of fields")
        slots = min(size // 2 - 2, SLOTS_AT_MOST)
        try:
            known = form(name, struct.unpack_from(f"<{slots}H", self.data, vtable + 4))
        except ValueError as error:
            raise Damaged(f"a table of kind {name} has fields that overlap or are not aligned") from error
        self._forms[name, vtable] = known
        return known


def _decoded(raw: bytes, kind: str) -> Any:
    if kind == "string":
        return raw.decode("utf-8", "replace")
    return tuple(np.frombuffer(raw, f"<{kind}").tolist())


@lru_cache(maxsize=300)
def _short(code: str, length: int) -> struct.Struct:
    return struct.Struct(f"<{length}{code}")


STORED_AS = {
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "float64": "<f8",
    "int8": "i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "uint8": "u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "bool": "?",
    "complex64": "<c8",
    "complex128": "<c16",
    "float8_e4m3fn": "u1",
    "float8_e5m2": "u1",
}


class Buffers:
    """The buffers of one model, by number; each is found once."""

    def __init__(self, reader: Reader, positions: tuple[int, ...]) -> None:
        self._reader = reader
        self._positions = positions
        self._known: dict[int, Span] = {}

    def span(self, number: int) -> Span:
        """Where buffer ``number`` lies: inside the flatbuffer, or behind it (files beyond 2 GB)."""
        if (known := self._known.get(number)) is None:
            known = self._known[number] = self._find(number)
        return known

    def check(self) -> None:
        """Look at the buffers that nobody asked for, too."""
        for number in range(len(self._positions)):
            self.span(number)

    def view(self, span: Span, dtype: str, shape: tuple[int, ...], *, sparse: bool = False) -> Array:
        """A read-only view of the values in ``span``."""
        if sparse or dtype not in STORED_AS:
            return self._flat(span, dtype, shape, sparse=sparse)
        if span.size != _bytes_of(dtype, shape):
            raise Damaged(f"shape {list(shape)} of {dtype} does not fit its {span.size} bytes")
        return self._array(shape, STORED_AS[dtype], span.start)

    def _flat(self, span: Span, dtype: str, shape: tuple[int, ...], *, sparse: bool) -> Array:
        """Values that the file packs or leaves out: in one dimension, as they are stored."""
        if not sparse and dtype in PACKED and span.size != _bytes_of(dtype, shape):
            raise Damaged(f"shape {list(shape)} of {dtype} does not fit its {span.size} bytes")
        stored = np.dtype(STORED_AS.get(dtype, "u1"))
        if span.size % stored.itemsize:
            raise Damaged(f"{span.size} bytes are no whole number of {dtype} values")
        return self._array((span.size // stored.itemsize,), stored.str, span.start)

    def _array(self, shape: tuple[int, ...], stored: str, start: int) -> Array:
        try:
            return np.ndarray(shape, stored, self._reader.data, start)
        except ValueError as error:
            raise Damaged(f"shape {list(shape)} cannot be") from error

    def _find(self, number: int) -> Span:
        if not number < len(self._positions):
            raise Damaged(f"there is no buffer {number}")
        record = self._reader.table("Buffer", self._positions[number])
        return self.outside(record["offset"], record["size"]) or record["data"]

    def outside(self, offset: int, size: int) -> Span | None:
        """The span of bytes behind the flatbuffer; 0 and 1 as ``offset`` mean that there is none."""
        if offset <= 1:
            return None
        if offset + size > len(self._reader.data):
            raise Damaged(f"{size} bytes at {offset} lie behind its end: the file is cut short")
        return Span(offset, size)


def _bytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    if min(shape, default=0) < 0:
        return -1
    return (prod(shape) * (PACKED.get(dtype) or 8 * np.dtype(STORED_AS[dtype]).itemsize) + 7) // 8


Record = Mapping[str, Any]
