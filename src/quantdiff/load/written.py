"""A ``.tflite`` written: with other inputs and outputs, as LiteRT's own objects to be changed, or from a ``Model``.

Further outputs are appended to the file: reading an intermediate tensor of an interpreter gives reused memory, and
asking it to preserve all tensors may change which kernels run. More subgraph outputs do neither; that the final
outputs stay the same is for the caller to check.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.load.flatbuffer import enum, fields
from quantdiff.quant import Grid

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


VERSION = 3  # of DEQUANTIZE: takes int16 too


def with_inputs(model: bytes, given: Mapping[int, Grid | None], outputs: Sequence[int]) -> bytes:
    """The model with a copy of each tensor of ``given`` as a further input of its main subgraph, after those it has.

    Whatever reads one of these tensors reads its copy instead. With a ``Grid`` the input holds integers of it, which
    a DEQUANTIZE turns into the float copy. ``outputs`` become the outputs.

    Raises:
        BadModel: the bytes are no TFLite model that can be written anew.
    """
    whole = unpacked(model)
    _exchange(schema(), whole, given, outputs)
    return packed(whole)


def _exchange(tables: Any, model: Any, given: Mapping[int, Grid | None], outputs: Sequence[int]) -> None:
    graph, copies, inputs, into_float = model.subgraphs[0], dict[int, int](), list[int](), dict[int, Any]()
    for index, grid in given.items():
        copies[index] = _add(graph, _copy(graph.tensors[index]))
        if grid is None:
            inputs.append(copies[index])
        else:
            inputs.append(_add(graph, _integers(tables, graph.tensors[index], grid)))
            into_float[copies[index]] = restating(tables, model, "DEQUANTIZE", inputs[-1], copies[index])
    operators = []
    for operator in graph.operators:
        if operator.inputs is not None:
            operator.inputs = [copies.get(int(i), int(i)) for i in operator.inputs]
            # made floats just before they are read, they are still in the cache, and their memory serves again
            operators += [into_float.pop(i) for i in operator.inputs if i in into_float]
        operators.append(operator)
    graph.operators = operators
    graph.inputs = [*map(int, graph.inputs), *inputs]
    graph.outputs = list(outputs)


def _add(graph: Any, tensor: Any) -> int:
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _copy(tensor: Any) -> Any:
    made = copy(tensor)
    made.name, made.buffer, made.isVariable = b"given/" + end_of_name(tensor), 0, False
    return made


def _integers(tables: Any, tensor: Any, grid: Grid) -> Any:
    made = _copy(tensor)
    made.name = b"integers/" + end_of_name(tensor)
    made.type = getattr(tables.TensorType, grid.dtype.upper())
    made.quantization = tables.QuantizationParametersT()
    made.quantization.scale, made.quantization.zeroPoint = [*grid.params.scale], [*grid.params.zero_point]
    return made


def restating(tables: Any, model: Any, op: str, source: int, target: int) -> Any:
    """A QUANTIZE or DEQUANTIZE, which stands nowhere yet."""
    code = tables.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(tables.BuiltinOperator, op)
    code.version = VERSION
    model.operatorCodes.append(code)
    made = tables.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes) - 1, [source], [target]
    return made


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


OPTIONS = {
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
}
"""Tables that are not called as their operators."""
NEWEST = 127  # numbers of operators up to here stand in the older field too


def written(model: Model) -> bytes:
    """The main graph as a ``.tflite``.

    Raises:
        BadModel: it holds what is not written here: bodies of loops, sparse or packed values, options without a table.
    """
    if len(model.subgraphs) > 1:
        raise BadModel("a lowered model with bodies of loops is not written as a file")
    tables, graph = schema(), model.main
    made = tables.ModelT()
    made.version, made.description, made.buffers, made.operatorCodes = 3, b"", [tables.BufferT()], []
    sub = tables.SubGraphT()
    sub.name, sub.inputs, sub.outputs = b"main", [*graph.inputs], [*graph.outputs]
    sub.tensors = [_tensor(tables, made, tensor) for tensor in graph.tensors]
    sub.operators = [_operator(tables, made, graph, operator) for operator in graph.operators]
    made.subgraphs = [sub]
    return packed(made)


def _tensor(tables: Any, model: Any, tensor: Tensor) -> Any:
    if tensor.sparsity is not None or tensor.blocks is not None:
        raise BadModel(f"tensor {tensor.label!r}: sparse values and scales per block are not written as a file")
    made = tables.TensorT()
    made.name, made.shape, made.isVariable = tensor.name.encode(), [*tensor.shape], tensor.is_variable
    made.type, made.buffer, made.hasRank = getattr(tables.TensorType, tensor.dtype.upper()), 0, True
    if tensor.shape_signature is not None:
        made.shapeSignature = [*tensor.shape_signature]
    if tensor.quant is not None:
        made.quantization = tables.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [*tensor.quant.scale], [*tensor.quant.zero_point]
        made.quantization.quantizedDimension = tensor.quant.axis or 0
    if tensor.data is not None:
        buffer = tables.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
    return made


def _operator(tables: Any, model: Any, graph: Graph, operator: Operator) -> Any:
    number = getattr(tables.BuiltinOperator, operator.op, None)
    if number is None:
        raise BadModel(f"operator {operator.index} {operator.op}: no TFLite operator")
    code = tables.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, NEWEST), operator.version
    made = tables.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes), [*operator.inputs], [*operator.outputs]
    made.intermediates = [*operator.intermediates]
    model.operatorCodes.append(code)
    if operator.options:
        made.builtinOptionsType, made.builtinOptions = _options(tables, operator)
    return made


def _options(tables: Any, operator: Operator) -> tuple[int, Any]:
    name = OPTIONS.get(operator.op) or _named(tables, operator)
    made = getattr(tables, f"{name}T")()
    enums = {field.name: field.enum for field in fields(name)}
    for key, value in operator.options.items():
        if enums.get(key):
            numbers = {word: number for number, word in enum(enums[key]).items()}
            value = numbers[str(value)]  # noqa: PLW2901 (the same option as the file has it)
        first, *others = key.split("_")
        setattr(made, first + "".join(part.capitalize() for part in others), value)
    return getattr(tables.BuiltinOptions, name), made


def _named(tables: Any, operator: Operator) -> str:
    """The table whose name is the operator's: ``Conv2DOptions`` of ``CONV_2D``."""
    wanted = operator.op.replace("_", "").lower() + "options"
    found = next((str(name) for name in vars(tables.BuiltinOptions) if name.lower() == wanted), None)
    if found is None:
        raise BadModel(f"operator {operator.index} {operator.op}: its options have no table that is known here")
    return found
