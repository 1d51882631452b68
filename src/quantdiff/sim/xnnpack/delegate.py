"""Which operators XNNPACK takes; the rest stay with the ``builtin`` kernels. Held against what the interpreter says.

Source: LiteRT ``tflite/delegates/xnnpack/xnnpack_delegate.cc`` (``Visit…Node``, ``CheckTensor…``), for a
build with QS8 and QU8 on, as the wheel's default. Only the conditions that a file can violate are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.sim.node import Node, NoKernel, node_of, scale_of, zero_point_of
from quantdiff.sim.xnnpack.attention import is_attention
from quantdiff.sim.xnnpack.checks import (
    activation,
    all_activations,
    all_float,
    average_pool,
    convolution,
    depthwise,
    eight_bit,
    fully_connected,
    in_and_out,
    is_float,
    max_pool,
    max_pool_with_places,
    max_unpool,
    ranked,
    ratio,
    reshape,
    resize,
    same_type,
    slice_,
    space_to_depth,
    split,
    strided_slice,
    transpose_conv,
    transpose_conv_with_bias,
    unpacks,
)

MAX_PARTS = 5
"""Inputs that CONCATENATION may have."""


def taken(node: Node) -> bool:
    """True when the delegate accepts the operator."""
    rule = RULES.get(node.operator.op)
    try:
        return rule is not None and rule(node)
    except NoKernel:  # a scale or an input that the rule asks for is not there: the delegate declines too
        return False


def add(node: Node) -> bool:
    """``VisitBinaryNode``: one type, and scales within 2**-10 and 2**8 of the output's."""
    if not same_type(node):
        return False
    return is_float(node.y) or all(2.0**-10 <= ratio(node, i) < 2.0**8 for i in (0, 1))


def mul(node: Node) -> bool:
    """``VisitBinaryNode``: one type, and a product scale within 2**-16 and 2**8."""
    if not same_type(node):
        return False
    return is_float(node.y) or 2.0**-16 <= float(scale_of(node.x) * scale_of(node.at(1)) / scale_of(node.y)) < 2.0**8


def quantize(node: Node) -> bool:
    """From float, or between equal types with a scale ratio within 2**-8 and 2**7."""
    if not all_activations(node) or is_float(node.y):
        return False
    return is_float(node.x) or (node.x.dtype == node.y.dtype and 2.0**-8 <= ratio(node) <= 2.0**7)


def leaky_relu(node: Node) -> bool:
    """Both slopes, as scales, must fit the 8-bit multipliers."""
    alpha = np.float32(node.option("alpha", 0.0))
    if not all_activations(node) or alpha == 0 or not np.isfinite(alpha):
        return False
    if is_float(node.x):
        return True
    positive = scale_of(node.x) / scale_of(node.y)
    negative = positive * alpha
    fits = 2.0**-8 <= positive <= 2.0**7
    return bool(fits and -127.99609375 <= negative <= 2.0**7 and abs(negative) >= 2.0**-8)  # noqa: PLR2004


def concatenation(node: Node) -> bool:
    """``VisitConcatenationNode``: two to five inputs; uint8 needs equal quantization."""
    if not (2 <= len(node.inputs) <= MAX_PARTS and all_activations(node)):  # noqa: PLR2004 (two at least)
        return False
    return node.y.dtype != "uint8" or all(t is not None and t.quant == node.y.quant for t in node.inputs)


def batch_matmul(node: Node) -> bool:
    """``VisitBatchMatMulNode``: a right side with zero point 0, of the left side's type."""
    a, b = node.x, node.at(1)
    if not (activation(a) and activation(b) and activation(node.y)):
        return False
    if is_float(a):
        return is_float(b) or b.dtype == "int8"
    return a.dtype == b.dtype == "int8" and zero_point_of(b) == 0


def dequantize(node: Node) -> bool:
    """8 bits per tensor to float; constants that nobody reads whom the delegate declines are unpacked by it."""
    if unpacks_constants(node):
        return unpack(node)
    return eight_bit(node.x) and is_float(node.y)


def unpack(node: Node) -> bool:
    """What is unpacked from constants stays where no operator outside the delegate needs it."""
    graph = node.graph
    if graph is None or not unpacks(graph, node.operator):
        return False
    readers = [reader for reader in graph.readers(node.y.index) if not unpacks(graph, reader)]
    return all(taken(node_of(graph, reader)) for reader in readers)


def unpacks_constants(node: Node) -> bool:
    """Whether the operator unpacks what the file packs."""
    return node.graph is not None and unpacks(node.graph, node.operator)


def read_variable(node: Node) -> bool:
    """``VisitReadVariableNode``: an activation that XNNPACK can hold, and no scalar."""
    return activation(node.y) and len(node.y.shape) > 0


FLOAT_ONLY = (
    *("ABS", "CEIL", "COS", "DIV", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LOG", "MAXIMUM"),
    *("MINIMUM", "NEG", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE"),
    "SQUARED_DIFFERENCE",
)
RULES: dict[str, Callable[[Node], bool]] = dict.fromkeys(FLOAT_ONLY, all_float)
RULES |= {
    "ADD": add,
    "ASSIGN_VARIABLE": lambda node: activation(node.at(1)),
    "AVERAGE_POOL_2D": average_pool,
    "BATCH_MATMUL": batch_matmul,
    "CONCATENATION": concatenation,
    "CONV_2D": lambda node: convolution(node, 0),
    "CUSTOM:Convolution2DTransposeBias": transpose_conv_with_bias,
    "CUSTOM:MaxPoolingWithArgmax2D": max_pool_with_places,
    "CUSTOM:MaxUnpooling2D": max_unpool,
    "DENSIFY": unpack,
    "DEPTHWISE_CONV_2D": depthwise,
    "DEPTH_TO_SPACE": all_activations,
    "DEQUANTIZE": dequantize,
    "ELU": lambda node: all_activations(node) and node.x.dtype != "uint8",
    "FULLY_CONNECTED": fully_connected,
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": all_activations,
    "MAX_POOL_2D": max_pool,
    "MEAN": in_and_out,
    "MUL": mul,
    "PAD": ranked,
    "QUANTIZE": quantize,
    "READ_VARIABLE": read_variable,
    "REDUCE_MAX": in_and_out,
    "REDUCE_MIN": in_and_out,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": resize,
    "SLICE": slice_,
    "SOFTMAX": lambda node: all_float(node) and float(node.option("beta", 1.0)) == 1.0,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT": split,
    "STABLEHLO_COMPOSITE": is_attention,
    "STRIDED_SLICE": strided_slice,
    "SUB": add,
    "SUM": in_and_out,
    "TANH": all_activations,
    "TRANSPOSE": ranked,
    "TRANSPOSE_CONV": transpose_conv,
}


def agrees(graph: Graph, delegated: Sequence[tuple[Sequence[int], Sequence[int]]]) -> bool:
    """Whether the rules of ``sim/xnnpack/delegate.py`` draw the same line as the interpreter.

    ``delegated`` are the parts that it reports: the tensors that enter and those that leave each. A tensor may go
    from part to part; constants do not count, the delegate folds some away.
    """
    ours = operators_taken(graph)
    indices = {op.index for op in ours}
    made, read = _tensors(graph, (op.outputs for op in ours)), _tensors(graph, (op.inputs for op in ours))
    elsewhere = _tensors(graph, (op.inputs for op in graph.operators if op.index not in indices))
    leaving = made & (elsewhere | frozenset(graph.outputs))
    entered = _tensors(graph, (given for given, _ in delegated))
    left = _tensors(graph, (results for _, results in delegated))
    between = entered & made
    return entered - made == read - made and between <= left and leaving <= left and left - leaving <= between


def operators_taken(graph: Graph) -> list[Operator]:
    """The operators that the delegate accepts; the handle of a variable goes with those that use it."""
    ours = [op for op in graph.operators if taken(node_of(graph, op))]
    used = _tensors(graph, (op.inputs[:1] for op in ours if op.op in ("READ_VARIABLE", "ASSIGN_VARIABLE")))
    return ours + [op for op in graph.operators if op.op == "VAR_HANDLE" and used.intersection(op.outputs)]


def hidden(graph: Graph) -> frozenset[int]:
    """Tensors that nobody can read: the delegate unpacks them where it is, never into the tensor."""
    made = (op.outputs for op in graph.operators if unpacks(graph, op) and taken(node_of(graph, op)))
    return _tensors(graph, made)


def _tensors(graph: Graph, lists: Iterable[Sequence[int]]) -> frozenset[int]:
    """Every activation that is named; -1 stands for an input left out."""
    return frozenset(i for indices in lists for i in indices if i >= 0 and not graph.tensors[i].is_constant)
