"""Write small ``.tflite`` files by hand: a few lines give any op, any scale, without a converter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


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
    raw: bytes | None = None  # stored as they are: packed int4, strings, the values of a sparse tensor
    details: tuple[str, Mapping[str, Any]] | None = None  # quantization details: table, attribute → value
    sparsity: Any = None


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
    intermediates: Sequence[str] = ()
    custom_options: bytes = b""


@dataclass
class Sub:
    """A subgraph to write."""

    tensors: Sequence[T]
    operators: Sequence[Op]
    inputs: Sequence[str]
    outputs: Sequence[str]
    name: str = "main"


@dataclass
class Sig:
    """A signature to write: argument → tensor name."""

    key: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    subgraph: int = 0


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
    return getattr(schema.BuiltinOptions, kind, None) or getattr(schema.BuiltinOptions2, kind), table


def write_tflite(
    tensors: Sequence[T],
    operators: Sequence[Op],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> bytes:
    """The bytes of a model with one subgraph."""
    return write_model([Sub(tensors, operators, inputs, outputs)])


def write_model(
    subgraphs: Sequence[Sub], signatures: Sequence[Sig] = (), metadata: Mapping[str, bytes] | None = None
) -> bytes:
    """The bytes of a model with several subgraphs."""
    return pack(model_object(subgraphs, signatures, metadata))


def pack(model: Any) -> bytes:
    """The bytes of a model given as the schema's own object."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def model_object(
    subgraphs: Sequence[Sub], signatures: Sequence[Sig] = (), metadata: Mapping[str, bytes] | None = None
) -> Any:
    """The model as the schema's object: what cannot be said above is set on it before ``pack``."""
    model = schema.ModelT()
    model.version, model.description = 3, b"written by a test"
    model.buffers, model.operatorCodes, model.metadata = [schema.BufferT()], [], []
    codes: dict[tuple[str, int], int] = {}
    model.subgraphs = [_subgraph(sub, model, codes) for sub in subgraphs]
    model.signatureDefs = [_signature(sig, subgraphs[sig.subgraph]) for sig in signatures]
    for name, content in (metadata or {}).items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), _buffer(content, model)
        model.metadata.append(entry)
    return model


def _subgraph(sub: Sub, model: Any, codes: dict[tuple[str, int], int]) -> Any:
    index = {tensor.name: i for i, tensor in enumerate(sub.tensors)}
    graph = schema.SubGraphT()
    graph.name, graph.operators = sub.name.encode(), []
    graph.tensors = [_tensor(tensor, model) for tensor in sub.tensors]
    for op in sub.operators:
        key = (op.op, op.version)
        if key not in codes:
            codes[key] = len(model.operatorCodes)
            model.operatorCodes.append(_operator_code(op))
        record = schema.OperatorT()
        record.opcodeIndex = codes[key]
        record.inputs = [-1 if name is None else index[name] for name in op.inputs]
        record.outputs = [index[name] for name in op.outputs]
        kind, options = options_of(op)
        if options is not None and not hasattr(schema.BuiltinOptions, type(options).__name__[:-1]):
            record.builtinOptions2Type, record.builtinOptions2 = kind, options
        else:
            record.builtinOptionsType, record.builtinOptions = kind, options
        if op.intermediates:
            record.intermediates = [index[name] for name in op.intermediates]
        if op.custom_options:
            record.customOptions = list(op.custom_options)
        graph.operators.append(record)
    graph.inputs, graph.outputs = [index[n] for n in sub.inputs], [index[n] for n in sub.outputs]
    return graph


def _signature(sig: Sig, sub: Sub) -> Any:
    index = {tensor.name: i for i, tensor in enumerate(sub.tensors)}
    record = schema.SignatureDefT()
    record.signatureKey, record.subgraphIndex = sig.key.encode(), sig.subgraph
    record.inputs, record.outputs = (
        [_tensor_map(name, index[tensor]) for name, tensor in side.items()] for side in (sig.inputs, sig.outputs)
    )
    return record


def _tensor_map(name: str, index: int) -> Any:
    record = schema.TensorMapT()
    record.name, record.tensorIndex = name.encode(), index
    return record


def _buffer(content: bytes, model: Any) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


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
    record.type, record.isVariable = getattr(schema.TensorType, tensor.dtype.upper()), tensor.is_variable
    record.sparsity = tensor.sparsity
    if tensor.shape_signature is not None:
        record.shapeSignature = list(tensor.shape_signature)
    record.buffer = 0
    if tensor.raw is not None:
        record.buffer = _buffer(tensor.raw, model)
    elif tensor.data is not None:
        values = np.ascontiguousarray(np.broadcast_to(np.asarray(tensor.data, tensor.dtype), tensor.shape))
        record.buffer = _buffer(values.tobytes(), model)
    record.quantization = _quantization(tensor)
    return record


def _quantization(tensor: T) -> Any:
    if not any(v is not None for v in (tensor.scale, tensor.stored_min, tensor.stored_max, tensor.details)):
        return None
    quant = schema.QuantizationParametersT()
    if tensor.details is not None:
        kind, values = tensor.details
        quant.detailsType = getattr(schema.QuantizationDetails, kind)
        quant.details = getattr(schema, kind + "T")()
        for name, value in values.items():
            setattr(quant.details, name, value)
    if tensor.scale is not None:
        quant.scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        quant.zeroPoint = np.broadcast_to(np.asarray(tensor.zero_point, np.int64), quant.scale.shape).copy()
        quant.quantizedDimension = tensor.axis
    if tensor.stored_min is not None:
        quant.min = np.asarray(tensor.stored_min, np.float32)
    if tensor.stored_max is not None:
        quant.max = np.asarray(tensor.stored_max, np.float32)
    return quant
