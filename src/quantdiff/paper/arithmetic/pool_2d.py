"""AVERAGE_POOL_2D and MAX_POOL_2D: a window of stored values; no scale takes part."""

from __future__ import annotations

import numpy as np

from quantdiff.paper.arithmetic.elementwise import operands_of
from quantdiff.paper.arithmetic.registry import Case, Position, arithmetic
from quantdiff.paper.arithmetic.scaling import output_of
from quantdiff.paper.arithmetic.window import window
from quantdiff.paper.working import Operand, Sheet, Step
from quantdiff.quant import INTEGER_RANGE
from quantdiff.sim.node import NoKernel, clamp_of
from quantdiff.sim.ops.pool_2d import filter_of
from quantdiff.sim.rounding.fixed_point import divide_half_away


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
