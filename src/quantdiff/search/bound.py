"""What no input exceeds: intervals of the reference's values and of the error, carried through the operators.

All ends are rounded outward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.ladder.real_graph import Grid, Setting
from quantdiff.ladder.real_operator import CHOOSES, PADS
from quantdiff.ladder.switches import Switches
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS, traits
from quantdiff.quant import Array, is_float
from quantdiff.sim.node import ACTIVATION_RANGE

OUTWARD = 1e-9
"""Beside a double's 1.1e-16: room for sums of a million terms."""
ROUNDED = 0.5001
"""Steps that one rounding may be off."""
FINE, FAR = 1e-15, 1e6
"""Of a curve, what double may lose; a value at which the logistic function has long reached its end."""


@dataclass(frozen=True, slots=True)
class Span:
    """The reference's value is ``low`` … ``high``, the file's minus the reference's ``down`` … ``up``; real units."""

    low: Array
    high: Array
    down: Array
    up: Array


def monotone(span: Span, function: Callable[[Array], Array]) -> Span:
    """The exact images: values between those of the ends; the error ``f(x + e) - f(x)`` grows with ``e``.

    For one ``e`` it has a single peak over ``x``, where both slopes are equal: at ``-e / 2``, else at an end.
    """

    def change(error: Array) -> list[Array]:
        peak = np.clip(-error / 2, span.low, span.high)
        return [function(x + error) - function(x) for x in (span.low, peak, span.high)]

    low, high = function(span.low), function(span.high)
    room = FINE * np.maximum(np.abs(low), np.abs(high))
    return Span(low, high, np.min(change(span.down), axis=0) - room, np.max(change(span.up), axis=0) + room)


def above_others(span: Span, operator: Operator) -> Span:
    """What the logistic function takes to give a share of SOFTMAX: how far a value is above the others' log-sum-exp.

    That grows with each of the others, and by no more than the one of them that grows most.
    """
    beta = float(np.float32(cast(float, operator.options.get("beta", 1.0))))
    low, high, down, up = (beta * side for side in (span.low, span.high, span.down, span.up))
    return Span(
        low - others(high, np.logaddexp, -FAR),
        high - others(low, np.logaddexp, -FAR),
        down - others(up, np.maximum, -FAR),
        up - others(down, np.minimum, FAR),
    )


def others(values: Array, join: np.ufunc, nothing: float) -> Array:
    """By place along the last axis what ``join`` makes of all others; ``nothing`` where there are none."""
    edge = np.full((*values.shape[:-1], 1), nothing)
    before, behind = (np.concatenate([edge, some], axis=-1) for some in (values[..., :-1], values[..., :0:-1]))
    return np.asarray(join(join.accumulate(before, axis=-1), join.accumulate(behind, axis=-1)[..., ::-1]))


def one_side(span: Span, number: int, *, other: bool = False) -> Array:
    """One of the four; of what is taken away, the opposite one."""
    return (span.low, span.high, span.down, span.up)[number ^ 1 if other else number]


def clamped(span: Span, ends: tuple[float, float]) -> Span:
    """Both sides between the same ends: an error becomes smaller, never larger, and 0 where both are beyond."""
    low, high = ends
    if not np.isfinite(low) and not np.isfinite(high):
        return span
    before, after = (span.low + span.down, span.high + span.up), (span.low.clip(low, high), span.high.clip(low, high))
    inside = (span.low >= low) & (before[0] >= low) & (span.high <= high) & (before[1] <= high)
    down, up = np.minimum(span.down, 0), np.maximum(span.up, 0)
    down = np.maximum(down, before[0].clip(low, high) - after[1])
    up = np.minimum(up, before[1].clip(low, high) - after[0])
    return Span(*after, np.where(inside, span.down, down), np.where(inside, span.up, up))


def on_own(span: Span, own: Grid) -> Span:
    """The reference rounds and clips; the file's value stays where it is."""
    low, high = own.ends
    half = ROUNDED * own.scale
    ends = (span.low - half).clip(low, high), (span.high + half).clip(low, high)
    moved_up, moved_down = np.maximum(low - span.low, 0) + half, np.maximum(span.high - high, 0) + half
    return Span(*ends, span.down - moved_up, span.up + moved_down)


def outward(span: Span) -> Span:
    """Wider than what double arithmetic may have lost."""
    room = OUTWARD * 1e-3
    low, high, down, up = span.low, span.high, span.down, span.up
    return Span(low - room * abs(low), high + room * abs(high), down - room * abs(down), up + room * abs(up))


def at(arrays: Sequence[Array]) -> list[Span]:
    """Values that are known, without an error so far."""
    return [Span(x, x, np.zeros_like(x), np.zeros_like(x)) for x in (np.asarray(a, np.float64) for a in arrays)]


PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
SUMS = ("ADD", "SUB")
AVERAGES = ("AVERAGE_POOL_2D", "MEAN")
CLAMPS = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1"}
CURVES = ("LOGISTIC", "TANH", "LEAKY_RELU", "ELU", "SOFTMAX")
"""Functions that never fall, and whose slope grows up to 0 and falls behind it, if at all; and softmax."""
ADDED, ONCE, WIDE, CURVED = 0.6, 1.0, 1.5, 16.0
"""Steps that a kernel may be off beside one rounding: sums of two rescaled inputs; what is rounded twice; int16;
curves of int16, whose lines and bits of fixed point were seen to be off by 12 (XNNPACK's TANH), 9 (SOFTMAX) and
6 (LOGISTIC)."""
SINGLE = 2.0**-22
"""Of a float32 sum, a term."""
CURVE = 2.0**-19
"""Of a curve, what float32 may lose."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What no input exceeds, in the unit of ``WorstCase``.

    Attributes:
        error: for all inputs within the range; None where it is not known: ``stopped`` says why.
        unclipped: for inputs at which no tensor reaches an end of its grid.
        settled: the share of the samples whose decision no rounding, clipping or weight of the file can change.
        samples: of these.
        operators: that it was carried through.
        stopped: where it ends.
    """

    error: float | None = None
    unclipped: float | None = None
    settled: float | None = None
    samples: int = 0
    operators: int = 0
    stopped: str = ""


def bound_of(found: Switches, ends: Mapping[int, Span], samples: Mapping[int, Span], unit: float) -> Bound:
    """The bound for inputs between ``ends``, and for each of some samples.

    Args:
        found: the pair in real arithmetic.
        ends: by input what it may be. Shapes: (1, *shape of the input).
        samples: the same for samples that are known, both ends equal. Shapes: (samples, *shape of the input).
        unit: in which errors are told.
    """
    outputs = found.file.graph.outputs
    if any(i in found.file.constants for i in outputs):
        return Bound(stopped="an output is a constant")
    try:
        whole, inside = (carried(found, ends, clips=clips) for clips in (True, False))
        error, unclipped = (max(_largest(spans[i]) for i in outputs) / unit for spans in (whole, inside))
        count = len(next(iter(samples.values())).low)
        decided = _settled(carried(found, samples, clips=True)[outputs[0]]) if len(outputs) == 1 else None
    except UnsupportedOp as error_:
        return Bound(stopped=str(error_))
    return Bound(error, unclipped, decided, count, len(found.file.operators))


def _largest(span: Span) -> float:
    return float(max(0.0, -span.down.min(), span.up.max()))


def _settled(span: Span) -> float | None:
    """The share of samples whose first class stays the first; None where there are no classes."""
    low, high, down, up = (array.reshape(len(array), -1) for array in (span.low, span.high, span.down, span.up))
    if low.shape[1] < 2 or span.low.shape[-1] != low.shape[1]:  # noqa: PLR2004 (a decision needs two)
        return None
    first, rows = low.argmax(axis=1), np.arange(len(low))
    other = high + up
    other[rows, first] = -np.inf
    return float((low[rows, first] + down[rows, first] > other.max(axis=1)).mean())


def carried(found: Switches, given: Mapping[int, Span], *, clips: bool) -> dict[int, Span]:
    """Every tensor's span. ``clips`` False: as if no grid of the file had ends.

    Raises:
        UnsupportedOp: an operator through which no interval is carried.
    """
    setting, spans = found.rewritten, dict[int, Span]()
    for tensor, span in given.items():
        spans[tensor] = _left(found, setting, tensor, span, ROUNDED, clips)
    for operator in found.file.operators:
        span = outward(clamped(_computed(found, setting, operator, spans), _activation(operator)))
        for tensor in operator.outputs:
            spans[tensor] = _left(found, setting, tensor, span, _slack(found, operator, tensor), clips)
    return spans


def _computed(found: Switches, setting: Setting, operator: Operator, spans: Mapping[int, Span]) -> Span:
    """What an operator gives before its fused activation."""
    op, bare = operator.op, replace(operator, options={**operator.options, "fused_activation_function": "NONE"})
    known = traits(op)
    if len(operator.outputs) != 1 or not any(i in spans for i in operator.inputs):
        raise UnsupportedOp(f"operator {operator.index} {op}: no interval is carried through it")
    if op in (*PRODUCTS, *CURVES):
        return (_product if op in PRODUCTS else _curve)(found, setting, bare, spans)
    if any(i >= 0 and i not in spans and i not in found.file.constants for i in operator.inputs):
        raise UnsupportedOp(f"operator {operator.index} {op}: no interval is carried through its state")
    operands = {i: spans.get(i) or _constant(found, setting, i) for i in operator.inputs if i >= 0}
    data = {i: span for i, span in operands.items() if known.joins or op in SUMS or i in spans}

    def run(number: int, sign: float = 1.0) -> Array:
        sides = (one_side(span, number, other=op == "SUB" and place > 0) for place, span in enumerate(data.values()))
        values = {i: sign * side for i, side in zip(data, sides, strict=True)}
        return sign * found.file.computed(bare, values, {})[0]

    moves = known.moves and op not in CHOOSES and PADS.get(op) in {None, 0}
    if op in CLAMPS:
        (span,) = data.values()
        return clamped(span, ACTIVATION_RANGE[CLAMPS[op]])
    if op == "MAX_POOL_2D":
        return Span(run(0), run(1), run(2, -1.0), run(3))
    if op in (*SUMS, INTO_INTEGERS, INTO_FLOAT, *AVERAGES) or moves:
        return Span(run(0), run(1), run(2), run(3))
    raise UnsupportedOp(f"operator {operator.index} {op}: no interval is carried through it")


def _curve(found: Switches, setting: Setting, operator: Operator, spans: Mapping[int, Span]) -> Span:
    """A function of one value, or softmax; a kernel of floats loses a little of it."""
    del setting
    (tensor,) = operator.inputs
    if operator.op == "SOFTMAX":
        span = monotone(above_others(spans[tensor], operator), lambda x: 1 / (1 + np.exp(-x)))
    else:
        span = monotone(spans[tensor], lambda x: found.file.computed(operator, {tensor: x}, {})[0])
    room = CURVE * np.abs(span.high) * is_float(found.file.graph.tensors[operator.outputs[0]].dtype)
    return replace(span, down=span.down - room, up=span.up + room)


def _constant(found: Switches, setting: Setting, tensor: int) -> Span:
    stored = np.asarray(found.file.constants[tensor], np.float64)[None]
    trained = np.asarray(setting.constants.get(tensor, found.file.constants[tensor]), np.float64)[None]
    return Span(trained, trained, stored - trained, stored - trained)


def _product(found: Switches, setting: Setting, operator: Operator, spans: Mapping[int, Span]) -> Span:
    """Sums of products with a kernel that both sides hold."""
    known, graph = traits(operator.op), found.file.graph
    x, w = operator.inputs[known.x], operator.inputs[known.weights or 0]
    b = operator.inputs[known.bias] if known.bias is not None and known.bias < len(operator.inputs) else -1
    if w not in found.file.constants or (b >= 0 and b not in found.file.constants):
        raise UnsupportedOp(f"operator {operator.index} {operator.op}: its kernel is no constant")
    if is_float(graph.tensors[x].dtype) and not is_float(graph.tensors[w].dtype):
        raise UnsupportedOp(f"operator {operator.index} {operator.op}: it finds the grid of its input anew each time")
    stored, span = found.file.constants[w], spans[x]
    trained = np.asarray(setting.constants.get(w, stored), np.float64)
    bias = _constant(found, setting, b) if b >= 0 else Span(*[np.zeros((1, 1))] * 4)
    zeros = {b: np.zeros_like(found.file.constants[b], np.float64)} if b >= 0 else {}

    def sums(kernel: Array, values: Array) -> Array:
        return found.file.computed(operator, {x: values}, {w: kernel, **zeros})[0]

    middle, radius = (span.low + span.high) / 2, (span.high - span.low) / 2
    error, spread = (span.down + span.up) / 2, (span.up - span.down) / 2
    change = stored - trained
    size = sums(np.abs(trained) + np.abs(stored), np.abs(middle) + radius + np.abs(error) + spread) + np.abs(bias.low)
    slack = OUTWARD * size
    y, r = sums(trained, middle) + bias.low, sums(np.abs(trained), radius) + slack
    e = sums(change, middle) + sums(stored, error) + bias.down
    s = sums(np.abs(change), radius) + sums(np.abs(stored), spread) + slack
    if is_float(graph.tensors[operator.outputs[0]].dtype):
        s = s + SINGLE * (stored[0].size + 2) * size
    return Span(y - r, y + r, e - s, e + s)


def _activation(operator: Operator) -> tuple[float, float]:
    name = str(operator.options.get("fused_activation_function", "NONE"))
    if name not in ACTIVATION_RANGE:
        raise UnsupportedOp(f"operator {operator.index} {operator.op}: no interval is carried through {name}")
    return ACTIVATION_RANGE[name]


def _left(found: Switches, setting: Setting, tensor: int, span: Span, slack: float, clips: bool) -> Span:
    """A tensor as it leaves its operator: on the reference's own grid, and on the file's."""
    if (own := setting.own.get(tensor)) is not None:
        span = on_own(span, own)
    grid = found.file.grids.get(tensor)
    if grid is None or tensor not in found.file.varying:
        return span
    down, up = span.down - slack * grid.scale, span.up + slack * grid.scale
    if clips:
        low, high = grid.ends
        down = np.where(span.high + up > high, np.minimum(down, high - span.high), down)
        up = np.where(span.low + down < low, np.maximum(up, low - span.low), up)
    return Span(span.low, span.high, down, up)


def _slack(found: Switches, operator: Operator, tensor: int) -> float:
    """Steps that the kernel's own rounding may be off."""
    graph = found.file.graph
    if graph.tensors[tensor].dtype == "int16":
        return CURVED if operator.op in CURVES else WIDE
    if operator.op in SUMS:
        return ADDED
    if operator.op == INTO_INTEGERS and is_float(graph.tensors[operator.inputs[0]].dtype):
        return ROUNDED
    if operator.op not in PRODUCTS:
        return ONCE
    scales = [
        graph.tensors[operator.inputs[k]].quant for k in (traits(operator.op).x, traits(operator.op).weights or 0)
    ]
    if any(each is None for each in scales) or tensor not in found.file.grids:
        return ONCE
    x, w = (max(each.scale) for each in scales if each is not None)
    return ROUNDED + min(0.5, x * w / found.file.grids[tensor].scale)
