"""One operator in real arithmetic, double, on many samples at once.

Values have the samples along axis 0 in front of the tensor's own shape; constants have the tensor's shape alone.
Biases are in the units of the sums that they are added to: kernels take the integers and never read their own scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from quantdiff.graph import Graph, Operator, Tensor, dense_values, real_values
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, is_float
from quantdiff.sim.node import ACTIVATION_RANGE, UNBOUNDED, Node, NoKernel, Real, kernels, reals
from quantdiff.sim.real.sums import ExactSums, finish_of, finished
from quantdiff.sim.runtime import Runtime

IDENTITY = ("QUANTIZE", "DEQUANTIZE", "DENSIFY")
PADS = {"PAD": 0, "SPACE_TO_BATCH_ND": 0, "PADV2": 2}
"""Ops that add values of their own, and the input that holds them; 0: they are zeros."""
CHOOSES = ("MAX_POOL_2D", "MAXIMUM", "MINIMUM", "REDUCE_MAX", "REDUCE_MIN")
"""They move values, but which ones hangs on the values."""
BY_SAMPLE = [
    "ARG_MAX",
    "ARG_MIN",
    "DYNAMIC_UPDATE_SLICE",
    "GATHER_ND",
    "ONE_HOT",
    "RANGE",
    "REVERSE_SEQUENCE",
    "SCATTER_ND",
    "SELECT",
    "SELECT_V2",
    "TOPK_V2",
]
"""Ops whose kernel takes any numbers, whatever the tensor's type."""
PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
"""Ops whose bias is added to finished sums."""
ALONG_AXES = ("CUMSUM", "MEAN", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM")
"""Ops whose second input counts axes."""
FIRST = 1000
"""The number of the first value that is moved: what lies below it is padding, such as a zero point."""

Argument = Array | None
Sums = dict[int, Array | ExactSums]
"""Of products without their bias, by kernel: the identity of its array."""


def real_constant(tensor: Tensor) -> Array:
    """A constant in real units, double; whole numbers without a scale as they are."""
    if tensor.quant is not None and not np.isfinite(tensor.quant.scale).all():
        raise NoKernel(f"constant {tensor.label!r} has a scale that is no finite number (lint SCALE01)")
    if tensor.blocks is not None and tensor.block_scales is None:
        raise NoKernel(f"constant {tensor.label!r} has scales per block that are not along its last axis")
    scaled = tensor.blocks is not None or (tensor.quant is not None and bool(tensor.quant.scale))
    return real_values(tensor) if scaled or is_float(tensor.dtype) else dense_values(tensor)


def folds(node: Node) -> bool:
    """Whether an operator on constants alone gives a constant: it moves or recodes them, or counts."""
    op = node.operator.op
    counts = node.y.dtype in ("int32", "int64", "bool")
    return op in (*IDENTITY, "FILL", "CAST", "SHAPE") or counts or (traits(op).moves and op not in CHOOSES)


def fold(node: Node, constants: Sequence[Argument]) -> list[Array]:
    """The outputs of an operator on constants alone, in real units."""
    op, first = node.operator.op, constants[0] if constants else None
    if op == "SHAPE":
        return [np.asarray(node.x.shape, node.y.dtype)]
    if op == "FILL":
        value = constants[1]
        assert first is not None
        assert value is not None
        return [np.full([int(size) for size in first.reshape(-1)], value.reshape(-1)[0])]
    if op == "QUANTIZE" and first is not None:
        return [_on_stored_grid(node.y, first)]
    if op in IDENTITY and first is not None:
        return [first]
    counted = None if traits(op).moves and op not in CHOOSES else real_function(op)
    return list(_kernel(node, constants)) if counted is None else [counted.function(node, *constants)]


def compute(node: Node, arguments: Sequence[Argument], varies: Sequence[bool], sums: Sums | None = None) -> list[Array]:
    """The outputs of an operator, before any rounding of its own; the fused activation is done.

    Shapes: (samples, *shape) where it ``varies``, else the constant's own. ``sums`` keeps them, or holds
    exact ones, for the same operator on the same values.

    Raises:
        NoKernel: the op has no real function.
    """
    op = node.operator.op
    if (found := _structural(node, arguments, varies)) is not None:
        return found
    if traits(op).moves and op not in (*CHOOSES, *BY_SAMPLE):
        return _moved(node, arguments, varies)
    if op in BY_SAMPLE:
        return _sample_by_sample(lambda *given: _kernel(node, given), arguments, varies)
    real = real_function(op)
    if real is None:
        raise NoKernel("no real function")
    with np.errstate(all="ignore"):
        if sums is not None and op in PRODUCTS and arguments[2:] and not any(varies[1:]):
            return [_finished(real, node, arguments, varies, sums)]
        y = _called(real, node, arguments, varies)
        low, high = ACTIVATION_RANGE.get(node.activation, UNBOUNDED)
        return [y if real.bounded or (math.isinf(low) and math.isinf(high)) else np.clip(y, low, high, out=y)]


def _finished(real: Real, node: Node, arguments: Sequence[Argument], varies: Sequence[bool], sums: Sums) -> Array:
    """Products of which the sums are kept for another bias."""
    key, bias = id(arguments[1]), arguments[2]
    if key not in sums:
        bare = {**node.operator.options, "fused_activation_function": "NONE"}
        alone = replace(node, operator=replace(node.operator, options=bare))
        sums[key] = _called(real, alone, (*arguments[:2], None), varies)
    held = sums[key]
    finish = finish_of(node, held.shape[-1], bias)
    return held.finished(finish) if isinstance(held, ExactSums) else finished(held, finish)


def _structural(node: Node, arguments: Sequence[Argument], varies: Sequence[bool]) -> list[Array] | None:
    """Ops that restate, count or look up; None for others."""
    op = node.operator.op
    if op in IDENTITY:
        return [_given(arguments[0])]
    if op == "SHAPE":
        return [np.asarray([_given(arguments[0]).shape[1:]], node.y.dtype)]
    if op == "FILL":
        return _sample_by_sample(lambda *given: fold(node, given), arguments, varies)
    if op in ("GATHER", "EMBEDDING_LOOKUP") and (varies[0] != (op == "GATHER") or any(varies[1:])):
        return [_looked_up(node, arguments, varies)]
    return None


def real_function(op: str) -> Real | None:
    """The function of real values: that of floats first, none that wants stored integers."""
    found = reals().get(f"{op} float32") or reals().get(op)
    return None if found is None or found.stored else found


def _called(real: Real, node: Node, arguments: Sequence[Argument], varies: Sequence[bool]) -> Array:
    given = [a.astype(np.float64, copy=False) if a is not None and a.dtype.kind == "f" else a for a in arguments]
    if node.operator.op == "FULLY_CONNECTED" and varies[0]:
        return _dense(real, node, given)
    if node.operator.op in ALONG_AXES and not any(varies[1:]):
        x, axes = _given(given[0]), _given(given[1])
        return real.function(node, x, (axes.astype(np.int64) % (x.ndim - 1)) + 1)
    if real.anywhere:
        return real.function(node, *aligned(given, varies))
    alike = all(a.ndim > 1 and a.shape[1] == 1 for a, v in _pairs(given, varies) if a is not None and v)
    if alike and not node.option("time_major", False):
        count = _count(given, varies)
        return real.function(node, *(_rows(a, count) if v else a for a, v in _pairs(given, varies)))[:, None]
    return _sample_by_sample(lambda *one: [real.function(node, *one)], given, varies)[0]


def _dense(real: Real, node: Node, given: Sequence[Argument]) -> Array:
    """A dense layer, which takes all axes but the last as one unless told to keep them."""
    x, w = _given(given[0]), _given(given[1])
    if node.option("keep_num_dims", False):
        return real.function(node, x, w, *given[2:])
    y = real.function(node, x.reshape(-1, w.shape[1]), w, *given[2:])
    return y.reshape(len(x), -1, y.shape[-1])


def _rows(argument: Argument, count: int) -> Argument:
    """Samples as a longer first axis."""
    return None if argument is None else np.broadcast_to(argument, (count, *argument.shape[1:]))[:, 0]


def aligned(arguments: Sequence[Argument], varies: Sequence[bool]) -> list[Argument]:
    """Ranks made equal behind the axis of samples, so that shapes broadcast as one sample's do."""
    ranks = [a.ndim - v for a, v in _pairs(arguments, varies) if a is not None]
    rank = max(ranks, default=0)
    return [
        a.reshape(len(a), *[1] * (rank + 1 - a.ndim), *a.shape[1:]) if a is not None and v else a
        for a, v in _pairs(arguments, varies)
    ]


def _moved(node: Node, arguments: Sequence[Argument], varies: Sequence[bool]) -> list[Array]:
    """The op's own kernel says of one sample which value goes where; all samples follow.

    Several operands are numbered through, the constants among them too.
    """
    op, count = node.operator.op, _count(arguments, varies)
    if traits(op).keeps_order:
        x, others = _given(arguments[0]), [_one(a, v) for a, v in _pairs(arguments[1:], varies[1:])]
        return [x.reshape(len(x), *_kernel(node, [_numbers(x.shape[1:], 0), *others])[0].shape)]
    data = set(range(len(arguments))) if traits(op).joins else {traits(op).x}
    flat, numbered, start = list[Array](), list[Argument](), FIRST
    for k, (a, v) in enumerate(_pairs(arguments, varies)):
        if k not in data or a is None:
            numbered.append(np.zeros(1, np.int64) if k == PADS.get(op) and k else a)
            continue
        rows = np.broadcast_to(a if v else a[None], (count, *(a.shape[1:] if v else a.shape)))
        flat.append(rows.reshape(count, -1))
        numbered.append(_numbers(rows.shape[1:], start))
        start += rows[0].size
    values = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
    padding = arguments[PADS[op]] if PADS.get(op) else None
    return [_taken(values, where, padding) for where in _kernel(node, numbered)]


def _one(argument: Argument, varies: bool) -> Argument:
    """What is the same for all samples, as a shape is, of one of them."""
    if argument is None or not varies:
        return argument
    if (argument != argument[:1]).any():
        raise NoKernel("the shape depends on the data")
    return np.asarray(argument[0])


def _taken(values: Array, where: Array, padding: Argument) -> Array:
    taken: Array = np.take(values, np.maximum(where.reshape(-1) - FIRST, 0), axis=1).reshape(len(values), *where.shape)
    outside = where < FIRST
    if outside.any():
        taken[:, outside] = 0 if padding is None else padding.reshape(-1)[0]
    return taken


def _numbers(shape: tuple[int, ...], start: int) -> Array:
    return np.arange(start, start + math.prod(shape), dtype=np.int64).reshape(shape)


def _looked_up(node: Node, arguments: Sequence[Argument], varies: Sequence[bool]) -> Array:
    """Rows of a table, or entries along an axis, at places that the data name."""
    if node.operator.op == "GATHER":
        return _sample_by_sample(lambda *one: _kernel(node, one), arguments, varies)[0]
    rows, table = _given(arguments[0]), _given(arguments[1])
    return np.asarray(table[rows.astype(np.int64)])


def _sample_by_sample(
    function: Callable[..., Sequence[Array]], arguments: Sequence[Argument], varies: Sequence[bool]
) -> list[Array]:
    count = _count(arguments, varies)
    parts = [
        function(*(a[k % len(a)] if v and a is not None else a for a, v in _pairs(arguments, varies)))
        for k in range(count)
    ]
    return [np.stack([part[i] for part in parts]) for i in range(len(parts[0]))]


def _kernel(node: Node, arguments: Sequence[Argument]) -> tuple[Array, ...]:
    """What the simulator's kernel gives; for ops that take any numbers."""
    if node.operator.op not in kernels():
        raise NoKernel("no real function")
    found: Any = kernels()[node.operator.op].function(node, *arguments, runtime=Runtime.REFERENCE)
    return found if isinstance(found, tuple) else (found,)


def _on_stored_grid(tensor: Tensor, x: Array) -> Array:
    """Constants put on a grid, per channel where it has channels: how a reference rounds its own kernels."""
    assert tensor.quant is not None
    scale, zero_point = tensor.quant.along(x.ndim)
    low, high = INTEGER_RANGE[tensor.dtype]
    steps = np.floor(x / scale.astype(np.float64) + 0.5).clip(low - zero_point, high - zero_point)
    return np.asarray(steps * scale.astype(np.float64))


def _count(arguments: Sequence[Argument], varies: Sequence[bool]) -> int:
    return max((len(a) for a, v in _pairs(arguments, varies) if a is not None and v), default=1)


def _pairs(arguments: Sequence[Argument], varies: Sequence[bool]) -> list[tuple[Argument, bool]]:
    return list(zip(arguments, varies, strict=True))


def _given(argument: Argument) -> Array:
    if argument is None:
        raise NoKernel("an input is left out")
    return argument


ROUNDING = 1e-6
"""Relative: products of two float32 differ by 1.2e-7 with the order of rounding."""


def in_units_of_sums(graph: Graph) -> Graph:
    """The graph with a bias of its own for each operator whose stored one states another scale.

    A layer that is used twice has one bias, and two inputs with a scale each: it is right for one of them.
    """
    tensors, operators = list(graph.tensors), list[Operator]()
    for operator in graph.operators:
        changed = operator
        place = traits(operator.op).bias
        if place is not None and (scale := _added_with(graph, operator, place)) is not None:
            bias, inputs = tensors[operator.inputs[place]], list(operator.inputs)
            inputs[place] = len(tensors)
            quant = QuantParams(tuple(scale.tolist()), (0,) * scale.size, 0 if scale.size > 1 else None)
            tensors.append(replace(bias, index=len(tensors), quant=quant))
            changed = replace(operator, inputs=tuple(inputs))
        operators.append(changed)
    if len(tensors) == len(graph.tensors):
        return graph
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _added_with(graph: Graph, operator: Operator, place: int) -> Array | None:
    """The scale of the sums, where the bias states another. Shape: (1,) or (channels,)."""
    known = traits(operator.op)
    places = (known.x, known.weights or 0, place)
    if place >= len(operator.inputs) or any(operator.inputs[k] < 0 for k in places):
        return None
    x, weights, bias = (graph.tensors[operator.inputs[k]] for k in places)
    if x.grid is None or bias.dtype not in ("int32", "int64") or not bias.is_constant:
        return None
    product, stated = _scale(x) * _scale(weights), _scale(bias)
    fits = product.size == stated.size or 1 in (product.size, stated.size)
    return product if fits and (np.abs(stated - product) > ROUNDING * product).any() else None


def _scale(tensor: Tensor) -> Array:
    return np.asarray(tensor.quant.scale if tensor.quant is not None else (), np.float64)
