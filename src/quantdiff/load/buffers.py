"""The bytes of a ``.tflite`` file and the views on them; nothing is copied, no weight is touched."""

from __future__ import annotations

from math import prod

import numpy as np

from quantdiff.graph import PACKED
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
