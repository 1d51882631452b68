"""Make inner tensors of a ``.tflite`` file outputs of its main subgraph, without touching anything else in it.

Reading an inner tensor after a run gives memory that was used again since; the interpreter's own switch against
that changes which kernels and delegates run. An output is kept by every runtime. The new list of outputs is appended
to the file and one offset is turned to it, so weights, operators and buffers outside the flatbuffer stay in place.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from quantdiff.load import schema

OFFSET = struct.Struct("<I")


def expose_tensors(data: bytes, tensors: Sequence[int]) -> bytes:
    """The model in ``data`` with ``tensors`` (indices in subgraph 0) as further outputs, after its own, in this order.

    A tensor that is an output already is listed once more: interpreters allow that, and each of ``tensors`` then
    has its place. ``data`` is a model that ``load_tflite`` has read; whether the model still gives the same
    at its own outputs is for the caller to check, because a delegate may fuse less.
    """
    graph = _table(data, _entry(data, _field(data, _table(data, 0), "Model", "subgraphs"), 0))
    place = _field(data, graph, "SubGraph", "outputs")
    outputs = (*_numbers(data, place), *tensors)
    padding = bytes(-len(data) % 4)
    start = len(data) + len(padding)
    turned = bytearray(data)
    OFFSET.pack_into(turned, place, start - place)
    return bytes(turned + padding + struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs))


def _table(data: bytes, place: int) -> int:
    """Where the table lies to which the offset at ``place`` points."""
    (distance,) = OFFSET.unpack_from(data, place)
    return place + int(distance)


def _entry(data: bytes, place: int, index: int) -> int:
    """The place of an entry's offset in the vector to which the offset at ``place`` points."""
    return _table(data, place) + 4 + 4 * index


def _field(data: bytes, table: int, kind: str, name: str) -> int:
    """The place of a field that the table has."""
    slot = [field.name for field in schema.fields(kind)].index(name)
    (back,) = struct.unpack_from("<i", data, table)
    (at,) = struct.unpack_from("<H", data, table - back + 4 + 2 * slot)
    return table + int(at)


def _numbers(data: bytes, place: int) -> tuple[int, ...]:
    start = _table(data, place)
    (length,) = OFFSET.unpack_from(data, start)
    return struct.unpack_from(f"<{length}i", data, start + 4)
