"""A reader of flatbuffer tables that trusts nothing: every offset and length is held against the file.

The format: https://flatbuffers.dev/internals. What the verifier refuses that LiteRT has of flatbuffers, such as a
number that is not aligned, is refused here too: C++ reads it from where it lies. A table starts with the distance to
its vtable, which lists where each slot's field lies. Offsets point forward only and the schema has no recursive
table, so no chain of offsets can loop; what a damaged file can still do is to point at the same bytes many times
over, and the limits below bound the work and the memory that this costs. Bounds of single fields are left to
``struct``, whose ``struct.error`` says that a field lies outside the file.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from operator import add
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.load.layout import SCALARS, Form, Span, form

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
