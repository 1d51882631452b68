"""Rules that give the same for whatever an operator can be fed: shown, not tried.

Where an operator scales a sum, its output is a staircase over the sum: two are the same when every step is at the same
place. Where it takes single values, all of them are computed. What neither shows equal stays apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.device import RUNTIMES
from quantdiff.sim.graph.operators import kernel_of, run_by_rule
from quantdiff.sim.node import Node, NoKernel, clamp_of, fitting, is_quantized, node_of, zero_point_of
from quantdiff.sim.ops.mean import way_of
from quantdiff.sim.ops.relu import BOUNDS
from quantdiff.sim.rounding.exact_sums import (
    ACCUMULATE,
    averaged,
    channels_of,
    clamp_behind,
    has_sums,
    reach_of_sums,
    scales_of,
    zero_point_behind,
)
from quantdiff.sim.rounding.fixed_point import requantize
from quantdiff.sim.rounding.scaling import Way, scale_sums, way_named
from quantdiff.sim.runtime import Runtime

Staircase = Callable[[Array], Array]
"""From sums (n, channels) to outputs, clamped; a larger sum never gives less."""
IsEqual = Callable[[str], bool]
STEPS_AT_MOST = 2**19
"""Thresholds of all channels of an operator; where there are more, none is looked for."""
ELEMENTWISE = (
    *("ADD", "DEQUANTIZE", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "MUL", "QUANTIZE"),
    *("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT", "SQUARED_DIFFERENCE", "SUB", "TANH"),
)
NARROW = ("int8", "uint8")
WAYS = {
    **{("QUANTIZE", runtime): "G" for runtime in (Runtime.REFERENCE, Runtime.TFLM)},
    **{(op, runtime): "G, scale float32" for op in BOUNDS for runtime in (Runtime.BUILTIN, Runtime.REFERENCE)},
    **{(op, Runtime.TFLM): "G" for op in BOUNDS if op != "RELU6"},
    **{("AVERAGE_POOL_2D", runtime): "division half-away" for runtime in Runtime},
    ("MUL", Runtime.XNNPACK): "X",
    ("MUL", Runtime.TFLM): "G",
    **{("MUL", runtime): "G, scale float32" for runtime in (Runtime.BUILTIN, Runtime.REFERENCE)},
    ("BATCH_MATMUL", Runtime.XNNPACK): "X",
    ("BATCH_MATMUL", Runtime.TFLM): "G",
    **{("BATCH_MATMUL", runtime): "G, scale float32-product" for runtime in (Runtime.BUILTIN, Runtime.REFERENCE)},
}
"""What the kernels of the runtimes do with the sums of 8-bit operators that are not told channel by channel."""
ALIKE: Mapping[str, tuple[frozenset[Runtime], ...]] = {
    "SOFTMAX": (frozenset((Runtime.REFERENCE, Runtime.TFLM)), frozenset((Runtime.XNNPACK, Runtime.BUILTIN))),
}
"""Runtimes whose kernel is one function, of 8 bits."""
IN_A_ROW = 2**16
"""Elements that fill every vector of a kernel: all pairs of two 8-bit values."""


def classes(graph: Graph, operator: Operator, rules: Sequence[str]) -> list[int]:
    """A number for each rule; rules with the same number are proven to give the same on this operator."""
    node, found, numbers = node_of(graph, operator), list[IsEqual](), list[int]()
    for rule in rules:
        number = next((k for k, is_equal in enumerate(found) if is_equal(rule)), len(found))
        if number == len(found):
            found.append(_equal_to(graph, node, rule))
        numbers.append(number)
    return numbers


def _equal_to(graph: Graph, node: Node, rule: str) -> IsEqual:
    """Tells whether another rule is proven to be this one."""
    ways: list[IsEqual] = [partial(_same_kernel, node, rule)]
    ways += [way for make in (_by_every_value, _by_thresholds) if (way := make(graph, node, rule)) is not None]
    return lambda other: any(way(other) for way in ways)


def _same_kernel(node: Node, rule: str, other: str) -> bool:
    if rule not in RUNTIMES or other not in RUNTIMES:
        return rule == other
    mine, theirs = (kernel_of(node, RUNTIMES[each]) for each in (rule, other))
    narrow = node.outputs and node.y.dtype in NARROW
    alike = any({mine, theirs} <= group for group in ALIKE.get(node.operator.op, ())) if narrow else False
    return mine is theirs or alike or only_moves(node)


def only_moves(node: Node) -> bool:
    """True where every output value is an input value, on the same grid, whoever moves it."""
    given = [t for t in node.inputs if t is not None and not (t.is_constant and t.quant is None)]
    grids = {(t.dtype, t.quant) for t in (*given, *node.outputs)}
    return traits(node.operator.op).moves and len(grids) == 1 and node.activation == "NONE"


def _by_every_value(graph: Graph, node: Node, rule: str) -> IsEqual | None:
    """Compares what comes out for every value, or pair of values, of 8 bits: in vectors, and left over by itself.

    None where the operator takes other things, or elements of different sizes.
    """
    shapes = {t.shape for t in node.inputs if t is not None}
    varying = [t for t in node.inputs if t is not None and not t.is_constant]
    if node.operator.op not in ELEMENTWISE or len(varying) != len(node.inputs) or len(shapes) != 1:
        return None
    if not all(is_quantized(t, *NARROW) for t in varying) or any(t.quant and t.quant.axis is not None for t in varying):
        return None
    try:
        tables = _tables(graph, node, rule)
    except NoKernel:
        return None

    def is_equal(other: str) -> bool:
        try:
            return all(np.array_equal(a, b) for a, b in zip(tables, _tables(graph, node, other), strict=True))
        except NoKernel:
            return False

    return is_equal


def _tables(graph: Graph, node: Node, rule: str) -> tuple[Array, Array]:
    """The output for every value, or pair of values, in one long row, and for each by itself."""
    single, row = len(node.inputs) == 1, np.arange(IN_A_ROW).astype(np.uint16)
    made = []
    for values, shape in ((row, (1, 1, IN_A_ROW)), (row[:256] if single else row, (-1, 1, 1))):
        bytes_of = (values & 255).astype(np.uint8), (values >> 8).astype(np.uint8)
        pairs = zip(node.inputs, bytes_of, strict=False)
        held = {t.index: b.view(t.dtype).reshape(shape) for t, b in pairs if t is not None}
        made.append(run_by_rule(graph, node.operator, held, rule)[0].reshape(-1))
    return made[0], made[1]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a staircase steps up: the least sum that gives at least each level. Shapes: (levels, channels)."""

    levels: Array
    sums: Array
    low: Array
    high: Array

    def are_of(self, f: Staircase) -> bool:
        """Whether another staircase steps up at the same sums."""
        below, at = f(np.maximum(self.sums - 1, self.low)), f(np.minimum(self.sums, self.high))
        return bool(
            np.all((below < self.levels) | (self.sums <= self.low))
            and np.all((at >= self.levels) | (self.sums > self.high))
        )


def _by_thresholds(graph: Graph, node: Node, rule: str) -> IsEqual | None:
    """Compares staircases; None where this rule has none, or too many steps."""
    del graph
    try:
        with fitting():
            steps = _thresholds(node, staircase(node, rule))
    except NoKernel:
        return None

    def is_equal(other: str) -> bool:
        try:
            with fitting():
                return steps.are_of(staircase(node, other))
        except NoKernel:
            return False

    return is_equal


def _thresholds(node: Node, f: Staircase) -> Thresholds:
    """By halving, for all levels and channels at once."""
    first, last = INTEGER_RANGE[node.y.dtype]
    low, high = reach_of_sums(node)
    levels = np.arange(first + 1, last + 1, dtype=np.int64)[:, None]
    width = max(np.size(low), np.size(scales_of(node)["double"]))
    if len(levels) * width > STEPS_AT_MOST:
        raise NoKernel("too many steps")
    least, most = (np.broadcast_to(end, (len(levels), width)).astype(np.int64) for end in (low, high + 1))
    while np.any(least < most):
        middle = (least + most) >> 1
        reached = f(np.minimum(middle, high)) >= levels
        least, most = np.where(reached, least, np.minimum(middle + 1, most)), np.where(reached, middle, most)
    return Thresholds(levels, least, low, high)


def staircase(node: Node, rule: str) -> Staircase:
    """What a rule makes of sums.

    Raises:
        NoKernel: it scales no sum here, or nobody says how, channel by channel.
    """
    if not has_sums(node):
        raise NoKernel("no sums")
    way = way_named(rule)
    if way is not None:
        return _of_way(node, way)
    if rule not in RUNTIMES:
        raise NoKernel("no sums")
    kernel = kernel_of(node, RUNTIMES[rule])
    if node.operator.op in ACCUMULATE:
        return _of_channels(node, kernel)
    if node.operator.op == "MEAN":
        return _of_mean(node, kernel)
    named = way_named(WAYS.get((node.operator.op, kernel), ""))
    if named is None or node.y.dtype not in NARROW:
        raise NoKernel("sums that are scaled in a way that has no name")
    return _of_way(node, named)


def _of_way(node: Node, way: Way) -> Staircase:
    scale, zero_point, bounds = scales_of(node)[way.scale].reshape(-1), zero_point_behind(node), clamp_behind(node)
    return lambda sums: scale_sums(sums, scale, way, zero_point).clip(*bounds)


def _of_channels(node: Node, kernel: Runtime) -> Staircase:
    channels, bounds, zero_point = channels_of(node, kernel), clamp_of(node, kernel), zero_point_behind(node)
    scales = np.asarray([channel.scale for channel in channels])

    def scaled(sums: Array) -> Array:
        y = np.empty(np.broadcast_shapes(sums.shape, scales.shape), np.int64)
        wide = np.broadcast_to(sums, y.shape)
        for rounding in {channel.rounding for channel in channels}:
            mine = np.asarray([channel.rounding is rounding for channel in channels])
            y[:, mine] = requantize(wide[:, mine], scales[mine], rounding) + zero_point
        return y.clip(*bounds)

    return scaled


def _of_mean(node: Node, kernel: Runtime) -> Staircase:
    axes = node.at(1).data
    if axes is None:
        raise NoKernel("axes that the file does not hold")
    way, count, width = (
        way_of(node, np.empty(node.x.shape, node.x.dtype), axes, kernel),
        averaged(node),
        node.y.shape[-1],
    )
    stored = zero_point_of(node.x) * count

    def scaled(sums: Array) -> Array:
        return way(node, np.broadcast_to(sums, (len(sums), width)) + stored, count).clip(*INTEGER_RANGE[node.y.dtype])

    return scaled
