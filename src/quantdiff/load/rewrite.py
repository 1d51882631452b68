"""Make a model give more tensors as outputs, by appending to the file, or take inner ones as inputs.

Reading an intermediate tensor of an interpreter gives reused memory, and asking it to preserve all tensors
may change which kernels run. More subgraph outputs do neither; that the final outputs stay the same is for
the caller to check.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.load.written import end_of_name, packed, schema, unpacked
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
