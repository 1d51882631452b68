"""DEQUANTIZE: back to real values."""

from __future__ import annotations

import numpy as np

from quantdiff.paper.arithmetic.elementwise import centred_steps, in_body, operands_of
from quantdiff.paper.arithmetic.registry import Case, Position, arithmetic
from quantdiff.paper.arithmetic.scaling import signed
from quantdiff.paper.working import Operand, Sheet, Step
from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import scale_of
from quantdiff.sim.ops.dequantize import VECTOR
from quantdiff.sim.runtime import Runtime

ROUNDED_TWICE = 3
"""Steps of a product and a sum."""


@arithmetic("DEQUANTIZE")
def dequantize(case: Case, at: Position) -> Sheet:
    """As ``sim/ops/dequantize.py``, for one element: the runtimes differ in the last bit of the float."""
    operands = operands_of(case, at, (0,))
    (centred,) = centred_steps(operands)
    scale, whole = scale_of(case.node.x), centred.integer
    y = Operand("y", case.node.y.name, case.node.y.dtype, None, None, at)
    if case.runtime.family is Runtime.BUILTIN and in_body(case, at, VECTOR):
        steps = _in_vectors(operands[0], scale, case.runtime)
        rule = (
            "a float32 product and a float32 sum" if len(steps) == ROUNDED_TWICE else "a fused multiply-add in float32"
        )
        return Sheet((*operands, y), steps, rule=rule)
    single = case.runtime is Runtime.XNNPACK
    real = np.float32(whole) * scale if single else np.float32(np.float64(scale) * whole)
    rule = "a float32 product" if single else "a float64 product, rounded to float32"
    return Sheet((*operands, y), (centred, Step("times s_x", f"{whole} · s_x", float(real))), rule=rule)


def _in_vectors(x: Operand, scale: Array, runtime: Runtime) -> tuple[Step, ...]:
    value, zero_point = x.integer, int(x.zero_point or 0)
    product, offset = np.float32(value) * scale, np.float32(-zero_point * np.float64(scale))
    shift = Step("offset", f"−{signed(zero_point)} · s_x in float32", float(offset))
    if runtime.on_arm64:
        fused = multiply_add(np.asarray(value, np.float32), scale, offset, runtime)
        return shift, Step("fused", f"{value} · s_x + offset, rounded once", float(fused))
    return (
        Step("product", f"{value} · s_x in float32", float(product)),
        shift,
        Step("sum", "product + offset in float32", float(product + offset)),
    )
