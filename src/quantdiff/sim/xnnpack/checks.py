"""What XNNPACK can hold: the checks on tensors that the delegate's rules share.

Source: LiteRT ``tflite/delegates/xnnpack/xnnpack_delegate.cc`` (``CheckTensor…``).
"""

from __future__ import annotations

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.sim.node import Node, is_quantized, scale_of, zero_point_of

FLOAT = ("float32", "float16")
EIGHT_BIT = ("int8", "uint8")
UNPACKERS, SPARSE = ("DEQUANTIZE", "DENSIFY"), ("float16", "float32", "int8")


def activation(tensor: Tensor | None) -> bool:
    """Float, or 8 bits with one scale (``CheckTensorFloatOrQUInt8Type``)."""
    return tensor is not None and (tensor.dtype in FLOAT or eight_bit(tensor))


def eight_bit(tensor: Tensor) -> bool:
    """8 bits with one scale, whose dimension must be written as 0 (``CheckTensorQInt8OrQUInt8Type``)."""
    if not is_quantized(tensor, *EIGHT_BIT) or tensor.quant is None:
        return False
    return len(tensor.quant.scale) == 1 and tensor.stored_axis == 0


def is_float(tensor: Tensor | None) -> bool:
    """Float of 32 or 16 bits."""
    return tensor is not None and tensor.dtype in FLOAT


def constant(tensor: Tensor | None) -> bool:
    """Stored in the file (``CheckTensorStaticAllocation``)."""
    return tensor is not None and tensor.is_constant


def all_float(node: Node) -> bool:
    """Ops that XNNPACK takes in float only."""
    return all(is_float(tensor) for tensor in (*node.inputs, *node.outputs))


def all_activations(node: Node) -> bool:
    """Every tensor is an activation that XNNPACK can hold."""
    return all(activation(tensor) for tensor in (*node.inputs, *node.outputs))


def in_and_out(node: Node) -> bool:
    """First input and outputs are activations that XNNPACK can hold, other inputs constants."""
    return activation(node.inputs[0]) and all(map(activation, node.outputs)) and all(map(constant, node.inputs[1:]))


def ratio(node: Node, position: int = 0) -> float:
    """Scale of an input over the output's, in float32."""
    return float(scale_of(node.at(position)) / scale_of(node.y))


def weights(tensor: Tensor, axis: int) -> bool:
    """Float, 8 bits per tensor, or int8 along ``axis`` (``CheckTensorFloat32OrQCInt8Type``)."""
    if tensor.dtype in FLOAT or eight_bit(tensor):
        return True
    return is_quantized(tensor, "int8") and tensor.quant is not None and tensor.quant.axis in (None, axis)


def static(node: Node, position: int) -> bool:
    """A constant, or what the delegate unpacks from one (its ``quasi_static_tensors``)."""
    tensor = node.at(position)
    return tensor.is_constant or (node.graph is not None and is_unpacked(node.graph, tensor.index))


def is_unpacked(graph: Graph, tensor: int) -> bool:
    """Whether the delegate could make this tensor when it is set up (``PrepareOpsToDelegate``)."""
    maker = graph.producer(tensor)
    return maker is not None and unpacks(graph, maker)


def unpacks(graph: Graph, operator: Operator) -> bool:
    """DEQUANTIZE of stored or unpacked float16 or int8, or DENSIFY of what is stored with gaps."""
    if operator.op not in UNPACKERS or len(operator.inputs) != 1 or len(operator.outputs) != 1:
        return False
    x, y = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if operator.op == "DENSIFY":
        return x.is_constant and x.sparsity is not None and x.dtype == y.dtype and x.dtype in SPARSE
    known = x.is_constant or is_unpacked(graph, x.index)
    narrow = x.dtype == "float16" or is_quantized(x, "int8")
    return known and narrow and x.sparsity is None and y.dtype == "float32"


def bias(node: Node, position: int = 2) -> bool:
    """Static, and float or int32 with a scale (``CheckTensorFloat32OrFloat16OrQCInt32Type``)."""
    tensor = node.inputs[position]
    known = tensor is not None and static(node, position)
    return known and (is_float(tensor) or is_quantized(node.at(position), "int32"))


def same_type(node: Node) -> bool:
    """All tensors are activations of one type."""
    return all_activations(node) and len({t.dtype for t in (*node.inputs, *node.outputs) if t}) == 1


def same_quantization(node: Node) -> bool:
    """Input and output share scale and zero point, or are float."""
    if is_float(node.x):
        return is_float(node.y)
    return scale_of(node.x) == scale_of(node.y) and zero_point_of(node.x) == zero_point_of(node.y)
