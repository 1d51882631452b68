"""Operators that move, join and cut, and sums along axes."""

from __future__ import annotations

import numpy as np

from quantdiff.references.onnx.builder import Builder, Order, Untranslated, plain, translates
from quantdiff.references.onnx.elements import order_for
from quantdiff.references.onnx.program import Node

REDUCTIONS = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
}
FARTHEST = 2**31 - 1


@translates("Identity", "Dropout", "Cast")
def same(b: Builder, node: Node) -> None:
    """The value under another name."""
    for order, tensor in b.forms[node.inputs[0]].items():
        b.hold(node.outputs[0], tensor, order)


@translates("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(b: Builder, node: Node) -> None:
    """RESHAPE of the axes as ONNX counts them: channels last are moved back before."""
    shape = b.shape(node.outputs[0])
    x = b.take(node.inputs[0], plain(b.rank(node.inputs[0])))
    b.give(node, "RESHAPE", (x, b.integers(*shape)), plain(len(shape)))


@translates("Transpose")
def transpose(b: Builder, node: Node) -> None:
    """No operator at all: what follows takes the axes from where they are."""
    rank = b.rank(node.inputs[0])
    axes = list(node.options.get("perm") or reversed(range(rank)))
    if "exchanged" in node.options:  # PyTorch's way to say it
        axes = list(range(rank))
        a, b_ = (axis % rank for axis in node.options["exchanged"])
        axes[a], axes[b_] = axes[b_], axes[a]
    for order, tensor in b.forms[node.inputs[0]].items():
        b.hold(node.outputs[0], tensor, tuple(axes.index(axis) for axis in order))


@translates("Concat")
def concat(b: Builder, node: Node) -> None:
    """CONCATENATION."""
    rank = b.rank(node.outputs[0])
    order = order_for(b, node.inputs, rank)
    axis = int(node.options["axis"]) % rank
    b.give(node, "CONCATENATION", [b.take(name, order) for name in node.inputs], order, axis=order.index(axis))


@translates(*REDUCTIONS)
def reduce(b: Builder, node: Node) -> None:
    """A mean, a sum or an extreme along axes."""
    name = node.inputs[0]
    rank, order = b.rank(name), b.order(name)
    given = _given(b, node, 1, "axes")
    axes = [int(axis) % rank for axis in (range(rank) if given is None else np.asarray(given).reshape(-1))]
    if any(map(b.is_samples, axes)):
        raise Untranslated(f"{node.op} over the samples")
    keep = bool(node.options.get("keepdims", 1))
    at = sorted(order.index(axis) for axis in axes)
    left = [axis for axis in range(rank) if axis not in axes]
    new: Order = order if keep else tuple(left.index(axis) for axis in order if axis in left)
    b.give(node, REDUCTIONS[node.op], (b.take(name, order), b.integers(*at)), new, keep_dims=keep)


@translates("Slice")
def cut(b: Builder, node: Node) -> None:
    """STRIDED_SLICE with all axes named."""
    name = node.inputs[0]
    rank = b.rank(name)
    starts, ends = (np.asarray(_given(b, node, k, key)).tolist() for k, key in ((1, "starts"), (2, "ends")))
    axes = np.asarray(_given(b, node, 3, "axes", range(len(starts)))).tolist()
    steps = np.asarray(_given(b, node, 4, "steps", [1] * len(starts))).tolist()
    found = {axis % rank: one for axis, *one in zip(axes, starts, ends, steps, strict=True)}
    begin, end, step = found.get(0, [0, FARTHEST, 1])
    if b.is_samples(0) and (begin or end < FARTHEST or step != 1):
        raise Untranslated("a slice of the samples")
    _sliced(b, name, node.outputs[0], found)


def _given(b: Builder, node: Node, place: int, key: str, default: object = None) -> object:
    """An input or, in old files, an attribute."""
    return b.need(node.at(place)) if node.at(place) else node.options.get(key, default)


def _sliced(b: Builder, name: str, out: str, found: dict[int, list[int]]) -> None:
    order, shape = b.order(name), b.shape(out)
    begins, ends, steps, first, last = [], [], [], 0, 0
    for k, axis in enumerate(order):
        begin, end, step = found.get(axis, [0, FARTHEST, 1])
        size = b.shape(name)[axis]
        begin, end = (int(np.clip(each, -size - 1, FARTHEST)) for each in (begin, end))
        first |= (axis not in found) << k
        last |= (axis not in found or (step < 0 and end < -size) or end >= size) << k
        begins.append(min(begin, size - 1) if step < 0 else begin)
        ends.append(end)
        steps.append(step)
    inputs = (b.take(name, order), b.integers(*begins), b.integers(*ends), b.integers(*steps))
    y = b.emit(
        "STRIDED_SLICE", inputs, [shape[axis] for axis in order], b.names.get(out, out), begin_mask=first, end_mask=last
    )
    b.hold(out, y, order)


@translates("Split")
def split(b: Builder, node: Node) -> None:
    """A slice for each part."""
    name = node.inputs[0]
    axis, start = int(node.options.get("axis", 0)) % b.rank(name), 0
    if b.is_samples(axis):
        raise Untranslated("a split of the samples")
    for out in node.outputs:
        size = b.shape(out)[axis]
        _sliced(b, name, out, {axis: [start, start + size, 1]})
        start += size


@translates("Pad")
def pad(b: Builder, node: Node) -> None:
    """PAD with zeros, PADV2 with another value, MIRROR_PAD."""
    name, mode = node.inputs[0], str(node.options.get("mode", "constant"))
    rank, order = b.rank(name), b.order(name)
    pads = np.asarray(_given(b, node, 1, "pads")).reshape(2, -1)
    axes = np.asarray(_given(b, node, 3, "axes", range(rank))).reshape(-1).tolist()
    widths = np.zeros((rank, 2), np.int32)
    for column, axis in enumerate(axes):
        widths[axis % rank] = pads[:, column]
    if (widths < 0).any() or mode not in ("constant", "reflect"):
        raise Untranslated("padding that cuts, or by the edge")
    inputs = [b.take(name, order), b.constant(widths[list(order)])]
    value = float(np.asarray(_given(b, node, 2, "value", 0.0)).reshape(-1)[0])
    if mode == "reflect":
        b.give(node, "MIRROR_PAD", inputs, order, mode="REFLECT")
    elif value:
        b.give(node, "PADV2", [*inputs, b.constant(np.array([value], np.float32))], order)
    else:
        b.give(node, "PAD", inputs, order)


@translates("Gather")
def gather(b: Builder, node: Node) -> None:
    """Entries along an axis, at places that the file names; or rows of a table, at places that the data name."""
    name, table = node.inputs[0], b.fixed(node.inputs[0])
    rank = b.rank(name)
    axis = int(node.options.get("axis", 0)) % rank
    if table is not None and axis == 0:
        at, out = node.inputs[1], plain(b.rank(node.outputs[0]))
        b.give(node, "EMBEDDING_LOOKUP", (b.take(at, plain(b.rank(at))), b.constant(table, name)), out)
        return
    places = b.need(node.inputs[1])
    if b.is_samples(axis):
        raise Untranslated("Gather among the samples")
    places = np.where(places < 0, places + b.shape(name)[axis], places).astype(np.int32)
    b.give(node, "GATHER", (b.take(name, plain(rank)), b.constant(places)), plain(b.rank(node.outputs[0])), axis=axis)


@translates("Expand")
def expand(b: Builder, node: Node) -> None:
    """BROADCAST_TO."""
    shape = b.shape(node.outputs[0])
    x = b.take(node.inputs[0], plain(b.rank(node.inputs[0])))
    b.give(node, "BROADCAST_TO", (x, b.integers(*shape)), plain(len(shape)))
