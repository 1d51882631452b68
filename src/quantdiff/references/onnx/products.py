"""Operators that normalize, and that multiply values by each other or by a kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.onnx.builder import Builder, Order, Untranslated, plain, translates
from quantdiff.references.onnx.elements import operand
from quantdiff.references.onnx.program import Node
from quantdiff.references.onnx.simplify import DENSE

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
