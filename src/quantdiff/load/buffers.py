"""The bytes of a ``.tflite`` file and the views on them; nothing is copied, no weight is touched."""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from quantdiff.load.flatbuffer import Damaged, Reader
from quantdiff.load.layout import Span
from quantdiff.quant import Array

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
BITS = {"int4": 4, "uint4": 4, "int2": 2}


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

    def view(self, span: Span, dtype: str, shape: tuple[int, ...], *, sparse: bool = False) -> Array:
        """A read-only view of the values in ``span``."""
        stored = _stored_as(dtype)
        if stored is None or sparse:
            return self._flat(span, stored or _stored_as("uint8"), dtype)
        if prod(shape) * stored.itemsize != span.size or min(shape, default=0) < 0:
            raise Damaged(f"shape {list(shape)} of {dtype} does not fit its {span.size} bytes")
        return np.ndarray(shape, stored, self._reader.data, span.start)

    def _flat(self, span: Span, stored: np.dtype[np.generic] | None, dtype: str) -> Array:
        assert stored is not None
        if span.size % stored.itemsize:
            raise Damaged(f"{span.size} bytes are no whole number of {dtype} values")
        return np.ndarray((span.size // stored.itemsize,), stored, self._reader.data, span.start)

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


@cache
def _stored_as(dtype: str) -> np.dtype[np.generic] | None:
    return np.dtype(STORED_AS[dtype]) if dtype in STORED_AS else None
