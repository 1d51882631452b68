"""MUL: the product of both operands, scaled once."""

from __future__ import annotations

from quantdiff.paper.arithmetic.elementwise import centred_steps, operands_of
from quantdiff.paper.arithmetic.registry import Case, Position, arithmetic
from quantdiff.paper.arithmetic.scaling import RULES, channel_of, output_of, requantized, signed
from quantdiff.paper.working import Sheet, Step
from quantdiff.sim.ops.mul import ROUNDING
from quantdiff.sim.rounding.fixed_point import Rounding, product_scale
from quantdiff.sim.runtime import Runtime


@arithmetic("MUL")
def mul(case: Case, at: Position) -> Sheet:
    """As ``sim/ops/mul.py``, for one element."""
    node, operands = case.node, operands_of(case, at, (0, 1))
    centred = [*centred_steps(operands)]
    a, b = (step.integer for step in centred)
    rounding = ROUNDING.get(case.runtime, Rounding.GEMMLOWP)
    double = case.runtime is Runtime.TFLM
    channel = channel_of(float(product_scale(node, Rounding.GEMMLOWP if double else Rounding.XNNPACK)), rounding)
    formula = f"s_a · s_b / s_y in {'float64' if double else 'float32'}"
    steps = (*centred, Step("product", f"{a} · {signed(b)}", a * b))
    finish = requantized(node, a * b, channel, formula, case.runtime)
    return Sheet((*operands, output_of(node, at)), (*steps, *finish), rule=RULES[rounding])
