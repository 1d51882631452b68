"""A model that is known as values, such as a lowered reference, as a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.load import schema as fields
from quantdiff.load.written import packed, schema

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
    enums = {field.name: field.enum for field in fields.fields(name)}
    for key, value in operator.options.items():
        if enums.get(key):
            numbers = {word: number for number, word in fields.enum(enums[key]).items()}
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
