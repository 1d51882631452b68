"""What no input exceeds: intervals of the reference's values and of the error, operator by operator, rounded outward.

Moore, "Interval Analysis", 1966; the error travels through sums of products as ``W' e + (W' - W) x + (b' - b)``, in
midpoint and radius (Rump, "Fast and parallel interval arithmetic", BIT 39, 1999). What the reference's own floats add
is not in it: the reference here is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.real_operator import CHOOSES, PADS
from quantdiff.ladder.switches import Switches
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS, traits
from quantdiff.quant import Array, is_float
from quantdiff.search.spans import OUTWARD, ROUNDED, Span, above_others, clamped, monotone, on_own, one_side, outward
from quantdiff.sim.node import ACTIVATION_RANGE

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
