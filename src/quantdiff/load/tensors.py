"""The bytes of a ``.tflite`` file and the records of its tensors → ``Tensor``; no byte is copied or looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from quantdiff.graph import PACKED, Tensor
from quantdiff.load.flatbuffer import Damaged, Reader, Span
from quantdiff.quant import Array, BlockQuant, QuantParams, SparseDimension, Sparsity

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

INDEX_DTYPES = {"Int32Vector": "int32", "Uint16Vector": "uint16", "Uint8Vector": "uint8"}
UNQUANTIZED: Record = {
    "scale": (),
    "zero_point": (),
    "min": (),
    "max": (),
    "details": None,
    "quantized_dimension": 0,
}


def read_tensor(reader: Reader, buffers: Buffers, index: int, position: int) -> Tensor:
    """The tensor at ``position``.

    Raises:
        Damaged: with the tensor's index and name in front.
    """
    record = reader.table("Tensor", position)
    try:
        return _tensor(reader, buffers, index, record)
    except Damaged as error:
        raise Damaged(f"tensor {index} {record['name']!r}: {error}") from error


def _tensor(reader: Reader, buffers: Buffers, index: int, record: Record) -> Tensor:
    dtype, shape = record["type"].lower(), record["shape"]
    stored = reader.table("QuantizationParameters", at) if (at := record["quantization"]) else UNQUANTIZED
    sparsity = _sparsity(reader, buffers, at) if (at := record["sparsity"]) else None
    span = buffers.span(record["buffer"])
    return Tensor(
        index=index,
        name=record["name"],
        shape=shape,
        dtype=dtype,
        quant=_quant(stored, shape),
        shape_signature=record["shape_signature"] or None,
        stored_zero_point=stored["zero_point"],
        stored_min=stored["min"],
        stored_max=stored["max"],
        is_variable=record["is_variable"],
        data=_data(buffers, span, record, dtype, sparse=sparsity is not None),
        stored_axis=stored["quantized_dimension"],
        buffer=record["buffer"],
        buffer_size=span.size,
        blocks=_blocks(reader, stored) if stored["details"] else None,
        sparsity=sparsity,
    )


def _data(buffers: Buffers, span: Span, record: Record, dtype: str, *, sparse: bool) -> Array | None:
    empty = 0 in record["shape"] and record["buffer"] > 0
    if not span.size and not empty:
        return None
    return buffers.view(span, dtype, record["shape"], sparse=sparse)


def _quant(stored: Record, shape: tuple[int, ...]) -> QuantParams | None:
    scale, zero_point = stored["scale"], stored["zero_point"]
    if not scale:
        return None
    if zero_point and len(zero_point) != len(scale):
        raise Damaged(f"{len(scale)} scales but {len(zero_point)} zero points")
    return QuantParams(scale, zero_point or _zeros(len(scale)), _axis(stored, shape))


@lru_cache(maxsize=64)
def _zeros(count: int) -> tuple[int, ...]:
    return (0,) * count


def _axis(stored: Record, shape: tuple[int, ...]) -> int | None:
    """The axis that the scales run along; a file may say 3 for a bias, which has only axis 0."""
    axis, count = stored["quantized_dimension"], len(stored["scale"])
    if count == 1:
        return None
    if len(shape) == 1:
        axis = 0
    if not 0 <= axis < len(shape) or shape[axis] != count:
        raise Damaged(f"{count} scales along axis {axis} do not fit shape {list(shape)}")
    return int(axis)


def _blocks(reader: Reader, stored: Record) -> BlockQuant | None:
    kind = stored["details_type"]
    if kind == "NONE" or kind.isdigit():
        return None
    record = reader.table(kind, stored["details"])
    if kind == "CustomQuantization":
        return None
    return BlockQuant(
        kind,
        record["scales"],
        record["zero_points"],
        record["block_size"],
        record.get("block_shape", ()),
        record.get("quantized_dimensions", ()),
    )


def with_block_scales(tensor: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """The tensor with the scales of its blocks, which another one holds, where they lie along its last axis."""
    blocks = tensor.blocks
    if blocks is None or blocks.kind != "BlockwiseQuantization" or not 0 <= blocks.scales < len(tensors):
        return tensor
    scales, depth = tensors[blocks.scales].data, tensor.shape[-1] if tensor.shape else 0
    fits = blocks.block_size > 0 and depth % max(1, blocks.block_size) == 0
    if scales is None or not fits or scales.size * blocks.block_size != math.prod(tensor.shape):
        return tensor
    points = tensors[blocks.zero_points].data if 0 <= blocks.zero_points < len(tensors) else None
    if points is not None and points.any():
        return tensor
    steps = scales.reshape(-1, depth // blocks.block_size).astype(np.float32)
    return replace(tensor, block_scales=steps)


def _sparsity(reader: Reader, buffers: Buffers, position: int) -> Sparsity:
    record = reader.table("SparsityParameters", position)
    dimensions = tuple(_dimension(reader, buffers, at) for at in record["dim_metadata"])
    return Sparsity(record["traversal_order"], record["block_map"], dimensions)


def _dimension(reader: Reader, buffers: Buffers, position: int) -> SparseDimension:
    record = reader.table("DimensionMetadata", position)
    segments, indices = (_indices(reader, buffers, record, side) for side in ("segments", "indices"))
    return SparseDimension(record["format"], record["dense_size"], segments, indices)


def _indices(reader: Reader, buffers: Buffers, record: Record, side: str) -> Array | None:
    kind, position = record[f"array_{side}_type"], record[f"array_{side}"]
    if position is None or kind not in INDEX_DTYPES:
        return None
    span = reader.table(kind, position)["values"]
    return buffers.view(span, INDEX_DTYPES[kind], (), sparse=True)
