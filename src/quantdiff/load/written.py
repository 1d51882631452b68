"""A ``.tflite`` as LiteRT's own objects, to be changed and written anew."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from quantdiff.errors import BadModel

ALIGNED = 16  # bytes: `force_align` of a buffer's data in the schema
ROOM = 2**16
NAME = 200  # bytes that a copy of a tensor takes of its name: there may be thousands of copies, and a name of 10 MB


def schema() -> Any:
    """LiteRT's classes for all tables; heavy, so only where a file is written."""
    from ai_edge_litert import schema_py_generated  # noqa: PLC0415

    return schema_py_generated


def unpacked(model: bytes) -> Any:
    """The file as a ``ModelT``; what lies behind the flatbuffer, in files beyond 2 GB, stands in it like the rest.

    Raises:
        BadModel: the bytes are no TFLite model, or hold options that are not known here.
    """
    with _readable():
        whole = schema().ModelT.InitFromPackedBuf(model, 0)
        for buffer in whole.buffers:
            if buffer.offset > 1:
                buffer.data = _outside(model, buffer.offset, buffer.size)
            buffer.offset = buffer.size = 0
        for index, operator in ((i, op) for graph in whole.subgraphs for i, op in enumerate(graph.operators or ())):
            if operator.largeCustomOptionsOffset > 1:
                operator.customOptions = _outside(
                    model, operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
                )
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
            for kind, options in (
                (operator.builtinOptionsType, operator.builtinOptions),
                (operator.builtinOptions2Type, operator.builtinOptions2),
            ):
                if kind and options is None:
                    raise BadModel(f"operator {index} has options of kind {kind}, which this LiteRT cannot write")
        return whole


def end_of_name(tensor: Any) -> bytes:
    """What a copy of a ``TensorT`` takes of its name: the end, since paths begin alike."""
    return bytes(tensor.name or b"")[-NAME:].decode(errors="ignore").encode()


def packed(model: Any) -> bytes:
    """The bytes of a ``ModelT``.

    Raises:
        BadModel: it cannot be written.
    """
    import flatbuffers  # noqa: PLC0415 (heavy, and only needed here)

    with _readable():
        builder = flatbuffers.Builder(sum(_size(buffer) for buffer in model.buffers) + ROOM)
        for buffer in model.buffers:
            buffer.Pack = lambda b, data=buffer.data: _pack_buffer(b, data)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        for buffer in model.buffers:
            del buffer.Pack
        return bytes(builder.Output())


@contextmanager
def _readable() -> Iterator[None]:
    import flatbuffers  # noqa: PLC0415

    try:
        yield
    except (struct.error, TypeError, AttributeError, ValueError, flatbuffers.builder.BuilderSizeError) as error:
        raise BadModel(f"the model cannot be written anew: {error}; convert it again") from error


def _outside(model: bytes, offset: int, size: int) -> Any:
    if offset + size > len(model):
        raise BadModel(f"{size} bytes at {offset} lie behind its end: the file is cut short")
    return np.frombuffer(model, np.uint8, size, offset)


def _size(buffer: Any) -> int:
    return ALIGNED + (0 if buffer.data is None else len(buffer.data))


def _pack_buffer(builder: Any, data: Any) -> int:
    """One buffer, aligned as kernels read it; the schema's own ``Pack`` aligns to one byte."""
    tables = schema()
    vector = None
    if data is not None and len(data):
        builder.StartVector(1, len(data), ALIGNED)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = np.asarray(data, np.uint8).tobytes()
        vector = builder.EndVector()
    tables.BufferStart(builder)
    if vector is not None:
        tables.BufferAddData(builder, vector)
    return int(tables.BufferEnd(builder))
