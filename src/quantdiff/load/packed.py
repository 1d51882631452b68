"""How a file packs a constant: scales for blocks of it, and zeros that are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.load.flatbuffer import Buffers, Reader, Record
from quantdiff.quant import Array, BlockQuant, SparseDimension, Sparsity

INDEX_DTYPES = {"Int32Vector": "int32", "Uint16Vector": "uint16", "Uint8Vector": "uint8"}


def blocks_of(reader: Reader, stored: Record) -> BlockQuant | None:
    """Where the scales of its blocks are; None where it has none that are known here."""
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


def sparsity_of(reader: Reader, buffers: Buffers, position: int) -> Sparsity:
    """How the values that are stored are spread."""
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
