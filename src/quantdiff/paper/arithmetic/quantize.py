"""QUANTIZE: from float, or from one integer grid to another.

``builtin`` rounds the elements of whole vectors otherwise than the rest: see ``sim/ops/quantize.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.paper.arithmetic.elementwise import centred_steps, in_body, operands_of
from quantdiff.paper.arithmetic.registry import Case, Position, arithmetic
from quantdiff.paper.arithmetic.scaling import RULES, channel_of, final_steps, output_of, requantized
from quantdiff.paper.working import Operand, Sheet, Step
from quantdiff.quant import INTEGER_RANGE, round_half_away
from quantdiff.sim.node import Node, scale_of
from quantdiff.sim.ops.quantize import FLOAT_VECTOR, INTEGER_VECTOR
from quantdiff.sim.rounding.fixed_point import Rounding, rint, rounding_shift_right
from quantdiff.sim.runtime import Runtime


@arithmetic("QUANTIZE")
def quantize(case: Case, at: Position) -> Sheet:
    """As ``sim/ops/quantize.py``, for one element."""
    return _of_float(case, at) if case.node.x.dtype == "float32" else _of_integer(case, at)


def _of_integer(case: Case, at: Position) -> Sheet:
    node, operands = case.node, operands_of(case, at, (0,))
    (centred,) = centred_steps(operands)
    value = centred.integer
    if case.runtime is Runtime.XNNPACK:
        rule = "a multiplier of 8 bits, one shift half up"
        first = [*_by_8_bits(node, value)]
        steps = (*first, *final_steps(node, first[-1].integer, case.runtime))
    else:
        vector = case.runtime is Runtime.BUILTIN and node.y.dtype != "int16" and in_body(case, at, INTEGER_VECTOR)
        channel = channel_of(
            np.float64(scale_of(node.x)) / np.float64(scale_of(node.y)),
            Rounding.RUY if vector else Rounding.GEMMLOWP,
        )
        rule = RULES[channel.rounding]
        steps = requantized(node, value, channel, "s_x / s_y in float64", case.runtime)
    return Sheet((*operands, output_of(node, at)), (centred, *steps), rule=rule)


def _of_float(case: Case, at: Position) -> Sheet:
    node, x = case.node, case.array(0)[at]
    operand = Operand("x", node.x.name, "float32", None, None, at, float(x))
    first, rule = _from_float(node, x, case.runtime, in_body(case, at, FLOAT_VECTOR))
    finish = final_steps(node, first[-1].integer, case.runtime)
    return Sheet((operand, output_of(node, at)), (*first, *finish), rule=rule)


def _by_8_bits(node: Node, value: int) -> Iterator[Step]:
    ratio = scale_of(node.x) / scale_of(node.y)
    multiplier = int(rint(np.float32(256) * ratio))
    yield Step("ratio", "s_x / s_y in float32", float(ratio))
    yield Step("multiplier", "ratio · 2^8, to nearest", multiplier)
    rounded = int(rounding_shift_right(np.asarray(value * multiplier), 8))
    yield Step("shift right", f"{value} · {multiplier} / 2^8, half up", rounded, value * multiplier / 2**8)


def _from_float(node: Node, x: np.float32, runtime: Runtime, in_vector: bool) -> tuple[tuple[Step, ...], str]:
    """Steps of ``x / s_y`` and its rounding, and the rule in words."""
    scale = scale_of(node.y)
    if runtime is Runtime.XNNPACK or (runtime is Runtime.BUILTIN and in_vector):
        inverse = np.float32(1) / scale if runtime is Runtime.XNNPACK else np.float32(1 / np.float64(scale))
        product = x * inverse
        steps = [Step("1 / s_y", "in float32", float(inverse))]
        steps.append(Step("product", "x · (1 / s_y) in float32", float(product)))
        rounded, ties = np.rint(product), "half to even"
    else:
        wide = runtime is Runtime.BUILTIN
        product = np.float64(x) / np.float64(scale) if wide else x / scale
        steps = [Step("quotient", f"x / s_y in {'float64' if wide else 'float32'}", float(product))]
        rounded, ties = round_half_away(np.asarray(product)), "half away from zero"
    whole = int(np.clip(np.float64(rounded), *INTEGER_RANGE["int32"]))
    last = Step("round", f"to nearest, {ties}", whole, float(product))
    return (*steps, last), f"one float product or quotient, rounded {ties}"
