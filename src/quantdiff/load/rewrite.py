"""Make a model give more tensors as outputs, by appending to the file: nothing else in it changes.

Reading an intermediate tensor of an interpreter gives reused memory, and asking it to preserve all tensors
may change which kernels run. More subgraph outputs do neither; that the final outputs stay the same is for
the caller to check.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from quantdiff.errors import BadModel

SUBGRAPHS, OUTPUTS = 2, 2
"""Slots of the fields ``Model.subgraphs`` and ``SubGraph.outputs`` in the schema."""


def with_outputs(model: bytes, tensors: Sequence[int]) -> bytes:
    """The model with ``tensors`` as the outputs of its main subgraph, in that order.

    Raises:
        BadModel: the bytes are no whole TFLite model.
    """
    try:
        subgraphs = _target(model, _field(model, _target(model, 0), SUBGRAPHS))
        field = _field(model, _target(model, subgraphs + 4), OUTPUTS)
    except struct.error as error:
        raise BadModel("a table reaches past the end of the file; take a fresh copy of it") from error
    padded = model + bytes(-len(model) % 4)
    vector = struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors)
    patched = bytearray(padded + vector)
    struct.pack_into("<I", patched, field, len(padded) - field)
    return bytes(patched)


def make_main(model: bytearray, subgraph: int) -> None:
    """Let subgraph 0 be the one with the number ``subgraph``, in place; its own place keeps it, too."""
    vector = _target(model, _field(model, _target(model, 0), SUBGRAPHS))
    first, place = vector + 4, vector + 4 + 4 * subgraph
    struct.pack_into("<I", model, first, _target(model, place) - first)


def _target(data: bytes | bytearray, position: int) -> int:
    """Where the offset stored at ``position`` leads."""
    (offset,) = struct.unpack_from("<I", data, position)
    return int(position + offset)


def _field(data: bytes | bytearray, table: int, slot: int) -> int:
    """Where the field in ``slot`` of the table is stored."""
    (back,) = struct.unpack_from("<i", data, table)
    size, *_ = struct.unpack_from("<H", data, table - back)
    place = 4 + 2 * slot
    (offset,) = struct.unpack_from("<H", data, table - back + place) if place < size else (0,)
    if offset == 0:
        raise BadModel("the model names no outputs; convert it again")
    return int(table + offset)
