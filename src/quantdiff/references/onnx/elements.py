"""Operators that work element by element, and those that round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.references.onnx.builder import Builder, Order, Untranslated, grid_of, plain, translates
from quantdiff.references.onnx.program import Node

UNARY = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Elu": "ELU",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Gelu": "GELU",
    "HardSwish": "HARD_SWISH",
    "LeakyRelu": "LEAKY_RELU",
    "Log": "LOG",
    "Neg": "NEG",
    "Relu": "RELU",
    "Round": "ROUND",
    "Sigmoid": "LOGISTIC",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}
BINARY = {"Add": "ADD", "Div": "DIV", "Max": "MAXIMUM", "Min": "MINIMUM", "Mul": "MUL", "Pow": "POW", "Sub": "SUB"}
COMPARE = {
    "And": "LOGICAL_AND",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Not": "LOGICAL_NOT",
    "Or": "LOGICAL_OR",
    "Where": "SELECT_V2",
}
CLAMPS = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
ENOUGH = 1e30
"""A bound this large bounds nothing: exporters write the largest float for it."""
SIXTH = 1 / 6
"""Axes of values with heads: samples, heads, places, depth."""


def order_for(b: Builder, names: Sequence[str], rank: int) -> Order:
    """The order in which the first value of full rank was computed."""
    found = (b.order(name) for name in names if b.fixed(name) is None and b.rank(name) == rank)
    return next(found, plain(rank))


@translates(*UNARY)
def unary(b: Builder, node: Node) -> None:
    """The function that the operator is named for."""
    get = node.options.get
    if node.op == "Elu" and float(get("alpha", 1.0)) != 1:
        raise Untranslated("Elu with an alpha of its own")
    options: dict[str, object] = {}
    if node.op == "LeakyRelu":
        options["alpha"] = float(get("alpha", 0.01))
    if node.op == "Gelu":
        options["approximate"] = get("approximate", "none") == "tanh"
    order = b.order(node.inputs[0])
    b.give(node, UNARY[node.op], (b.take(node.inputs[0], order),), order, **options)


@translates(*BINARY)
def binary(b: Builder, node: Node) -> None:
    """The function of two values, or of more by pairs."""
    (out,) = node.outputs
    order = order_for(b, node.inputs, b.rank(out))
    parts = [operand(b, name, order) for name in node.inputs]
    for other in parts[1:-1]:
        shape = np.broadcast_shapes(b.tensors[parts[0]].shape, b.tensors[other].shape)
        parts[0] = b.emit(BINARY[node.op], (parts[0], other), shape, f"{out}/part")
    if len(parts) == 1:
        b.hold(out, parts[0], order)
        return
    b.give(node, BINARY[node.op], (parts[0], parts[-1]), order, fused_activation_function="NONE")


def operand(b: Builder, name: str, order: Order) -> int:
    """A value with as many axes as the result, those that it lacks in front."""
    if b.fixed(name) is not None or b.rank(name) == len(order):
        return b.take(name, order)
    x = b.take(name, plain(b.rank(name)))
    shape = (*[1] * (len(order) - b.rank(name)), *b.tensors[x].shape)
    wide = b.emit("RESHAPE", (x, b.integers(*shape)), shape, b.tensors[x].name)
    return wide if order == plain(len(order)) else b.moved(wide, order)


@translates(*COMPARE)
def compare(b: Builder, node: Node) -> None:
    """A truth value for each element, or one of two values by it."""
    (out,) = node.outputs
    order = order_for(b, node.inputs, b.rank(out))
    inputs = [operand(b, name, order) for name in node.inputs]
    y = b.tensor(b.names.get(out, out), [b.shape(out)[axis] for axis in order], b.program.examples[out].dtype.name)
    b.append(COMPARE[node.op], inputs, (y,), {})
    b.hold(out, y, order)


@translates("Softplus")
def softplus(b: Builder, node: Node) -> None:
    """``log(1 + exp(x))``."""
    order = b.order(node.inputs[0])
    x = b.take(node.inputs[0], order)
    shape, one = b.tensors[x].shape, b.constant(np.ones([1] * len(order), np.float32))
    grown = b.emit("EXP", (x,), shape, f"{node.outputs[0]}/exp")
    b.give(node, "LOG", (b.emit("ADD", (grown, one), shape, f"{node.outputs[0]}/sum"),), order)


@translates("Clip")
def clip(b: Builder, node: Node) -> None:
    """RELU, RELU6 and the like; MAXIMUM and MINIMUM for other bounds."""
    ends = [_bound(b, node, k, key) for k, key in ((1, "min"), (2, "max"))]
    low, high = (np.clip(end, -np.inf, np.inf) for end in ends)
    low, high = (-np.inf if low < -ENOUGH else float(low)), (np.inf if high > ENOUGH else float(high))
    name = node.inputs[0]
    order = b.order(name)
    x = b.take(name, order)
    if (low, high) in CLAMPS:
        b.give(node, CLAMPS[low, high], (x,), order)
        return
    floor, ceiling = (b.constant(np.full([1] * len(order), end, np.float32)) for end in (low, high))
    if np.isfinite(low) and np.isfinite(high):
        x = b.emit("MAXIMUM", (x, floor), b.tensors[x].shape, f"{node.outputs[0]}/low")
    if np.isfinite(high):
        b.give(node, "MINIMUM", (x, ceiling), order)
    else:
        b.give(node, "MAXIMUM", (x, floor), order)


def _bound(b: Builder, node: Node, place: int, key: str) -> float:
    """A bound, of an input or, in old files, of an attribute."""
    if node.at(place):
        return float(b.need(node.at(place)).reshape(-1)[0])
    return float(node.options.get(key, -np.inf if key == "min" else np.inf))


@translates("HardSigmoid")
def hard_sigmoid(b: Builder, node: Node) -> None:
    """``relu6(x + 3) / 6``, which is all that converters write."""
    get = node.options.get
    if not np.isclose(float(get("alpha", 0.2)), SIXTH, atol=1e-6) or float(get("beta", 0.5)) != 0.5:  # noqa: PLR2004
        raise Untranslated("HardSigmoid with other bounds than ±3")
    name = node.inputs[0]
    order = b.order(name)
    x = b.take(name, order)
    shape, one = b.tensors[x].shape, [1] * len(order)
    shifted = b.emit("ADD", (x, b.constant(np.full(one, 3, np.float32))), shape, f"{node.outputs[0]}/shifted")
    cut = b.emit("RELU6", (shifted,), shape, f"{node.outputs[0]}/cut")
    b.give(node, "MUL", (cut, b.constant(np.full(one, SIXTH, np.float32))), order)


@translates("PRelu")
def prelu(b: Builder, node: Node) -> None:
    """A slope by channel."""
    name, slope = node.inputs[0], b.need(node.inputs[1])
    order = b.order(name)
    if node.options.get("by_channel"):
        slope = slope.reshape(1, -1, *[1] * (len(order) - 2))
    if slope.ndim == b.rank(name) - 1:  # (channels, 1, 1)
        slope = slope[None]
    turned = slope.reshape([1] * (len(order) - slope.ndim) + list(slope.shape)).transpose(order)
    b.give(node, "PRELU", (b.take(name, order), b.constant(turned[0], node.inputs[1])), order)


@translates("Reciprocal")
def reciprocal(b: Builder, node: Node) -> None:
    """``1 / x``."""
    order = b.order(node.inputs[0])
    one = b.constant(np.ones([1] * len(order), np.float32))
    b.give(node, "DIV", (one, b.take(node.inputs[0], order)), order)


@translates("Softmax", "LogSoftmax")
def softmax(b: Builder, node: Node) -> None:
    """Along an axis, which stands last in TFLite."""
    name = node.inputs[0]
    rank = b.rank(name)
    axis = int(node.options.get("axis", -1)) % rank
    own = b.order(name)
    order = own if own[-1] == axis else (*(k for k in plain(rank) if k != axis), axis)
    op = "SOFTMAX" if node.op == "Softmax" else "LOG_SOFTMAX"
    b.give(node, op, (b.take(name, order),), order, **({"beta": 1.0} if node.op == "Softmax" else {}))


@translates("QuantizeLinear")
def quantize(b: Builder, node: Node) -> None:
    """QUANTIZE onto the grid of scale and zero point."""
    name, out = node.inputs[0], node.outputs[0]
    zero = b.need(node.at(2)) if node.at(2) else None
    dtype = b.program.examples[out].dtype.name
    quant = grid_of(dtype, b.need(node.inputs[1]), zero)
    order = b.order(name)
    x = b.take(name, order)
    y = b.tensor(b.names.get(out, out), b.tensors[x].shape, dtype, quant=quant)
    b.append("QUANTIZE", (x,), (y,), {})
    b.hold(out, y, order)


@translates("DequantizeLinear")
def dequantize(b: Builder, node: Node) -> None:
    """DEQUANTIZE of what was quantized."""
    order = b.order(node.inputs[0])
    b.give(node, "DEQUANTIZE", (b.take(node.inputs[0], order),), order)
