"""Sums over a window or a row: FULLY_CONNECTED, CONV_2D, DEPTHWISE_CONV_2D, AVERAGE_POOL_2D; MAX_POOL_2D beside them.

Products are written out, and their sum is split by zero points, before bias and rounding. In pools no scale takes
part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from quantdiff.paper.arithmetic.elementwise import operands_of
from quantdiff.paper.arithmetic.steps import RULES, Case, Position, arithmetic, output_of, requantized
from quantdiff.paper.working import Operand, Products, Sheet, Step, Term
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import Axis, axes_of
from quantdiff.sim.node import Node, NoKernel, clamp_of, scale_of, zero_point_of
from quantdiff.sim.ops.resampling import filter_of
from quantdiff.sim.rounding.exact_sums import Channel, channels_of
from quantdiff.sim.rounding.fixed_point import Rounding, divide_half_away, wrap_int32

Pair = tuple[Position, Position]
"""Where a factor lies in x and in w."""


@arithmetic("FULLY_CONNECTED")
def fully_connected(case: Case, at: Position) -> Sheet:
    """A row of x times the row of w that belongs to the unit."""
    x, unit = case.array(0), at[-1]
    depth = case.array(1).shape[-1]
    row = int(np.ravel_multi_index(at[:-1], _rows(case))) if len(at) > 1 else 0
    places = (np.unravel_index(row * depth + k, x.shape) for k in range(depth))
    pairs = [(tuple(map(int, place)), (unit, k)) for k, place in enumerate(places)]
    return _sheet(case, at, pairs)


def _rows(case: Case) -> tuple[int, ...]:
    """The output's shape without its units."""
    x, depth = case.array(0), case.array(1).shape[-1]
    return x.shape[:-1] if case.node.option("keep_num_dims", False) else (x.size // depth,)


@arithmetic("CONV_2D")
def conv_2d(case: Case, at: Position) -> Sheet:
    """The window of x that the output pixel sees, in the channels of its group, times its filter."""
    w, (image, y, x, out) = case.array(1), at
    units, *taps, depth = w.shape
    first = out // (units // (case.array(0).shape[3] // depth)) * depth
    pairs = [
        ((image, row, column, first + c), (out, i, j, c))
        for (i, row), (j, column) in window(case, (taps[0], taps[1]), (y, x))
        for c in range(depth)
    ]
    return _sheet(case, at, pairs, padded=taps[0] * taps[1] * depth - len(pairs))


@arithmetic("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(case: Case, at: Position) -> Sheet:
    """The window of one channel of x times the filter of the output channel."""
    w, (image, y, x, out) = case.array(1), at
    _, *taps, channels = w.shape
    channel = out // (channels // case.array(0).shape[3])
    pairs = [
        ((image, row, column, channel), (0, i, j, out))
        for (i, row), (j, column) in window(case, (taps[0], taps[1]), (y, x))
    ]
    return _sheet(case, at, pairs, padded=taps[0] * taps[1] - len(pairs))


def _sheet(case: Case, at: Position, pairs: Sequence[Pair], padded: int = 0) -> Sheet:
    node = case.node
    channels = channels_of(node, case.runtime)
    channel, bias = channels[at[-1]], case.optional(2)
    sums = products_of(case, pairs, None if bias is None else int(bias.reshape(-1)[at[-1]]), padded)
    steps = requantized(node, sums.total, channel, _formula(node, at[-1], channel), case.runtime)
    return Sheet(_operands(node, at), steps, sums, RULES[channel.rounding])


def products_of(case: Case, pairs: Sequence[Pair], bias: int | None, padded: int) -> Products:
    """Σ (x - z_x)(w - z_w) multiplied out, every sum over stored integers."""
    (x, w), (z_x, z_w) = (case.array(0), case.array(1)), (zero_point_of(case.node.at(i)) for i in (0, 1))
    terms = tuple(_term(x, w, pair) for pair in pairs)
    sum_xw, sum_x, sum_w = sum(t.product for t in terms), sum(t.x for t in terms), sum(t.w for t in terms)
    parts = -z_w * sum_x, -z_x * sum_w, len(terms) * z_x * z_w
    accumulator = sum_xw + sum(parts)
    total = int(wrap_int32(np.asarray(accumulator + (bias or 0))))
    counted = (terms, padded, len(terms), z_x, z_w)
    return Products(*counted, sum_xw, sum_x, sum_w, *parts, accumulator, bias, total)


def _term(x: Array, w: Array, pair: Pair) -> Term:
    a, b = int(x[pair[0]]), int(w[pair[1]])
    return Term(pair[0], a, pair[1], b, a * b)


def _operands(node: Node, at: Position) -> tuple[Operand, ...]:
    x, w = node.x, node.at(1)
    return (
        Operand("x", x.name, x.dtype, float(scale_of(x)), zero_point_of(x)),
        Operand("w", w.name, w.dtype, _of_channel(scale_of(w), at[-1]), zero_point_of(w)),
        output_of(node, at),
    )


def _of_channel(scale: Array, channel: int) -> float:
    return float(np.atleast_1d(scale)[channel if scale.ndim else 0])


def _formula(node: Node, channel: int, used: Channel) -> str:
    """How the multiplier was formed: the ways differ in the last bits."""
    s_x, s_w, s_y = scale_of(node.x), _of_channel(scale_of(node.at(1)), channel), scale_of(node.y)
    if used.rounding is Rounding.XNNPACK:
        return "s_x · s_w / s_y in float32"
    whole = float(s_x) * s_w / float(s_y)
    return "s_x · s_w / s_y in float64" if used.scale == whole else "s_x · s_w in float32, / s_y in float64"


@arithmetic("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool_2d(case: Case, at: Position) -> Sheet:
    """The mean, half away from zero, or the largest, of the window's part inside the image."""
    node = case.node
    if node.y.dtype not in INTEGER_RANGE:
        raise NoKernel("floats, which the kernel computes as a whole")
    values = _values(case, at)
    if node.operator.op == "MAX_POOL_2D":
        steps = [Step("largest", f"of {len(values)} values", max(values), terms=values)]
        rule = "no rounding"
    else:
        total = sum(values)
        mean = int(divide_half_away(np.asarray(total), len(values)))
        steps = [Step("sum", f"of {len(values)} values", total, terms=values)]
        steps.append(Step("divide", f"{total} / {len(values)}, half away from zero", mean, total / len(values)))
        rule = "integer division, half away from zero"
    low, high = clamp_of(node, case.runtime)
    steps.append(Step("clamp", f"to {low} … {high}", min(max(steps[-1].integer, low), high)))
    return Sheet((_operand(case), output_of(node, at)), tuple(steps), rule=rule)


def _values(case: Case, at: Position) -> tuple[int, ...]:
    """The stored values that the output pixel sees."""
    x, (image, row, column, channel) = case.array(0), at
    seen = window(case, filter_of(case.node), (row, column))
    return tuple(int(x[image, i, j, channel]) for (_, i), (_, j) in seen)


def _operand(case: Case) -> Operand:
    (operand,) = operands_of(case, (0,) * case.array(0).ndim, (0,))
    return Operand(operand.role, operand.name, operand.dtype, operand.scale, operand.zero_point)


Place = tuple[int, int]
"""A tap and the input position that it falls on, along one axis."""


def window(case: Case, taps: tuple[int, int], pixel: tuple[int, int]) -> Iterator[tuple[Place, ...]]:
    """Rows and columns of every tap inside the image, row by row."""
    axes = axes_of(case.node, case.array(0).shape, taps)
    return product(*(inside(axis, position) for axis, position in zip(axes, pixel, strict=True)))


def inside(axis: Axis, position: int) -> list[Place]:
    """The taps of the window at ``position`` that fall on inputs, not on padding."""
    places = [(tap, position * axis.stride + tap * axis.dilation - axis.before) for tap in range(axis.taps)]
    return [(tap, place) for tap, place in places if 0 <= place < axis.size]
