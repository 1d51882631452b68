"""Operators that work element by element, that round or normalize, and that multiply values by each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.onnx.builder import Builder, Order, Untranslated, grid_of, plain, translates
from quantdiff.references.onnx.program import DENSE, Node

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


HEADS = 4


@translates("LayerNormalization")
def layer_norm(b: Builder, node: Node) -> None:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` along the last axes, as converters write it out."""
    name = node.inputs[0]
    order, rank = plain(b.rank(name)), b.rank(name)
    first = int(node.options.get("axis", -1)) % rank
    if any(node.outputs[1:]):
        raise Untranslated("mean and variance as outputs")
    y = _normalized(b, b.take(name, order), range(first, rank), node)
    scale, bias = (b.need(node.at(k)) if node.at(k) else None for k in (1, 2))
    _scaled_and_moved(b, node, y, order, (scale, bias))


def _normalized(b: Builder, x: int, along: Sequence[int], node: Node) -> int:
    """``(x - mean) / sqrt(variance + epsilon)`` along axes of a tensor, as converters write it out."""
    shape, out, axes = b.tensors[x].shape, node.outputs[0], b.integers(*along)
    narrow = [1 if k in along else size for k, size in enumerate(shape)]
    mean = b.emit("MEAN", (x, axes), narrow, f"{out}/mean", keep_dims=True)
    square = b.emit("SQUARED_DIFFERENCE", (x, mean), shape, f"{out}/square")
    variance = b.emit("MEAN", (square, axes), narrow, f"{out}/variance", keep_dims=True)
    epsilon = b.constant(np.full([1] * len(shape), node.options.get("epsilon", 1e-5), np.float32))
    factor = b.emit("RSQRT", (b.emit("ADD", (variance, epsilon), narrow, f"{out}/sum"),), narrow, f"{out}/factor")
    return b.emit("MUL", (b.emit("SUB", (x, mean), shape, f"{out}/centred"), factor), shape, f"{out}/norm")


def _scaled_and_moved(b: Builder, node: Node, y: int, order: Order, by: tuple[Array | None, Array | None]) -> None:
    """``y * scale + bias``; arrays broadcast against the tensor."""
    scale, bias = by
    if scale is not None:
        shape = b.tensors[y].shape
        y = b.emit("MUL", (y, b.constant(scale, node.at(1))), shape, f"{node.outputs[0]}/scaled")
    zero: Array = np.zeros(1, np.float32)
    b.give(node, "ADD", (y, b.constant(zero if bias is None else bias, node.at(2))), order)


@translates("InstanceNormalization", "GroupNormalization")
def group_norm(b: Builder, node: Node) -> None:
    """Each group of channels by its own mean and variance, a channel by itself where no groups are named."""
    name, channels = node.inputs[0], b.shape(node.inputs[0])[1]
    order, shape = plain(b.rank(name)), b.shape(name)
    groups = int(node.options.get("num_groups", channels))
    scale, bias = (b.need(node.at(k)).reshape(-1) if node.at(k) else None for k in (1, 2))
    if groups == channels:
        order = b.order(name)
        along = [k for k, axis in enumerate(order) if axis > 1]
        y = _normalized(b, b.take(name, order), along, node)
    else:
        wide = (shape[0], groups, int(np.prod(shape[1:])) // groups)
        x = b.emit("RESHAPE", (b.take(name, order), b.integers(*wide)), wide, f"{node.outputs[0]}/groups")
        y = _normalized(b, x, (2,), node)
        y = b.emit("RESHAPE", (y, b.integers(*shape)), shape, f"{node.outputs[0]}/whole")
    each = [channels if axis == 1 else 1 for axis in order]

    def by_channel(array: Array | None) -> Array | None:
        return None if array is None else np.repeat(array, channels // array.size).reshape(each)

    _scaled_and_moved(b, node, y, order, (by_channel(scale), by_channel(bias)))


@translates(DENSE)
def dense(b: Builder, node: Node) -> None:
    """FULLY_CONNECTED along the last axis."""
    name = node.inputs[0]
    order = plain(b.rank(name))
    kernel = b.constant(b.need(node.inputs[1]), node.inputs[1])
    zero: Array = np.zeros(b.tensors[kernel].shape[0], np.float32)
    bias = b.need(node.at(2)) if node.at(2) else zero
    inputs = (b.take(name, order), kernel, b.constant(bias, node.at(2)))
    b.give(node, "FULLY_CONNECTED", inputs, order, keep_num_dims=True, fused_activation_function="NONE")


@translates("MatMul")
def matmul(b: Builder, node: Node) -> None:
    """BATCH_MATMUL of two values."""
    order = plain(b.rank(node.outputs[0]))
    b.give(node, "BATCH_MATMUL", [operand(b, name, order) for name in node.inputs[:2]], order)


@translates("Attention")
def attention(b: Builder, node: Node) -> None:
    """``softmax(q kᵀ * scale + mask) v`` of values (samples, heads, places, depth), or with fewer axes in front."""
    q, k, v, *mask = node.inputs[:4]
    options, order, rank = node.options, plain(b.rank(q)), b.rank(q)
    odd = any(node.inputs[4:]) or any(node.outputs[1:]) or options.get("softcap") or rank < HEADS
    if odd or {b.rank(name) for name in (q, k, v)} != {rank} or b.shape(q)[:-2] != b.shape(k)[:-2]:
        raise Untranslated("with states, shared heads or heads in one axis")
    (*batch, rows, depth), columns, out = b.shape(q), b.shape(k)[-2], node.outputs[0]
    root = np.full([1] * rank, float(options.get("scale") or depth**-0.5) ** 0.5, np.float32)
    turned = (*order[:-2], rank - 1, rank - 2)
    x = b.emit("MUL", (b.take(q, order), b.constant(root)), (*batch, rows, depth), f"{out}/query")
    y = b.emit("MUL", (b.take(k, turned), b.constant(root)), (*batch, depth, columns), f"{out}/key")
    z = b.emit("BATCH_MATMUL", (x, y), (*batch, rows, columns), f"{out}/logits")
    for each in _masks(b, mask, (rows, columns), bool(options.get("is_causal"))):
        z = b.emit("ADD", (z, each), (*batch, rows, columns), f"{out}/masked")
    weights = b.emit("SOFTMAX", (z,), (*batch, rows, columns), f"{out}/weights", beta=1.0)
    b.give(node, "BATCH_MATMUL", (weights, b.take(v, order)), order)


def _masks(b: Builder, names: Sequence[str], shape: tuple[int, int], causal: bool) -> list[int]:
    """What is added to the logits: a large negative number where nothing may be seen."""
    found, far = list[int](), np.float32(np.finfo(np.float32).min)
    for name in filter(None, names):
        held = b.fixed(name)
        if held is not None and held.dtype == bool:
            found.append(b.constant(np.where(held, np.float32(0), far), name))
        elif b.program.examples[name].dtype == bool:
            raise Untranslated("a mask that depends on the data")
        else:
            found.append(b.take(name, plain(b.rank(name))))
    return [*found, b.constant(np.triu(np.full(shape, far), 1 + shape[1] - shape[0]))] if causal else found
