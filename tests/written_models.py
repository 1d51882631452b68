"""Write small ``.tflite`` files by hand: a few lines give any op, any scale, without a converter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

DTYPES = {
    np.dtype("float32"): schema.TensorType.FLOAT32,
    np.dtype("float16"): schema.TensorType.FLOAT16,
    np.dtype("int8"): schema.TensorType.INT8,
    np.dtype("uint8"): schema.TensorType.UINT8,
    np.dtype("int16"): schema.TensorType.INT16,
    np.dtype("int32"): schema.TensorType.INT32,
    np.dtype("int64"): schema.TensorType.INT64,
    np.dtype("bool"): schema.TensorType.BOOL,
}


@dataclass
class T:
    """A tensor to write; ``data`` makes it a constant."""

    name: str
    shape: Sequence[int]
    dtype: str = "int8"
    scale: Sequence[float] | np.ndarray[Any, Any] | float | None = None
    zero_point: Sequence[int] | int = 0
    axis: int = 0
    data: Any = None
    stored_min: Sequence[float] | None = None
    stored_max: Sequence[float] | None = None
    is_variable: bool = False
    shape_signature: Sequence[int] | None = None


@dataclass
class Op:
    """An operator to write: tensors by name; ``options`` as schema attribute → value."""

    op: str
    inputs: Sequence[str | None]
    outputs: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    options_type: str | None = None
    version: int = 1
    custom: bool = False


def options_of(op: Op) -> tuple[int, Any]:
    """The options' type code and filled table; the type follows the op's name unless it is given."""
    if op.options_type is None and not op.options:
        return schema.BuiltinOptions.NONE, None
    special = {
        "CONV_2D": "Conv2DOptions",
        "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
        "MAX_POOL_2D": "Pool2DOptions",
        "AVERAGE_POOL_2D": "Pool2DOptions",
    }
    camel = "".join(part.capitalize() for part in op.op.split("_"))
    kind = op.options_type or special.get(op.op, camel + "Options")
    table = getattr(schema, kind + "T")()
    for name, value in op.options.items():
        if not hasattr(table, name):
            raise AttributeError(f"{kind} has no field {name}")
        setattr(table, name, value)
    return getattr(schema.BuiltinOptions, kind), table


def write_tflite(
    tensors: Sequence[T],
    operators: Sequence[Op],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> bytes:
    """The bytes of a model with one subgraph."""
    model = schema.ModelT()
    model.version, model.description = 3, b"written by a test"
    model.buffers = [schema.BufferT()]
    index = {tensor.name: i for i, tensor in enumerate(tensors)}
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = [_tensor(tensor, model) for tensor in tensors]
    model.operatorCodes, codes, graph.operators = [], {}, []
    for op in operators:
        key = (op.op, op.version)
        if key not in codes:
            codes[key] = len(model.operatorCodes)
            model.operatorCodes.append(_operator_code(op))
        record = schema.OperatorT()
        record.opcodeIndex = codes[key]
        record.inputs = [-1 if name is None else index[name] for name in op.inputs]
        record.outputs = [index[name] for name in op.outputs]
        record.builtinOptionsType, record.builtinOptions = options_of(op)
        graph.operators.append(record)
    graph.inputs, graph.outputs = [index[n] for n in inputs], [index[n] for n in outputs]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _operator_code(op: Op) -> Any:
    code = schema.OperatorCodeT()
    number = schema.BuiltinOperator.CUSTOM if op.custom else getattr(schema.BuiltinOperator, op.op)
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = op.version
    if op.custom:
        code.customCode = op.op.encode()
    return code


def _tensor(tensor: T, model: Any) -> Any:
    record = schema.TensorT()
    record.name, record.shape = tensor.name.encode(), list(tensor.shape)
    record.type, record.isVariable = DTYPES[np.dtype(tensor.dtype)], tensor.is_variable
    if tensor.shape_signature is not None:
        record.shapeSignature = list(tensor.shape_signature)
    if tensor.data is not None:
        buffer = schema.BufferT()
        values = np.ascontiguousarray(np.broadcast_to(np.asarray(tensor.data, tensor.dtype), tensor.shape))
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        record.buffer = len(model.buffers)
        model.buffers.append(buffer)
    else:
        record.buffer = 0
    if tensor.scale is not None:
        quant = schema.QuantizationParametersT()
        quant.scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        quant.zeroPoint = np.broadcast_to(np.asarray(tensor.zero_point, np.int64), quant.scale.shape).copy()
        quant.quantizedDimension = tensor.axis
        if tensor.stored_min is not None:
            quant.min = np.asarray(tensor.stored_min, np.float32)
        if tensor.stored_max is not None:
            quant.max = np.asarray(tensor.stored_max, np.float32)
        record.quantization = quant
    return record
