"""ADD and SUB: both operands on a common finer grid, the sum, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from quantdiff.paper.arithmetic.elementwise import centred_steps, operands_of
from quantdiff.paper.arithmetic.registry import Case, Position, arithmetic
from quantdiff.paper.arithmetic.scaling import (
    RULES,
    channel_of,
    final_steps,
    multiplier_steps,
    output_of,
    scaled_steps,
    signed,
)
from quantdiff.paper.working import Sheet, Step
from quantdiff.sim.node import Node, scale_of
from quantdiff.sim.ops.add import LEFT_SHIFT, MULTIPLIER_BITS, Vectors, scaled_once, vectors_of
from quantdiff.sim.rounding.fixed_point import Rounding, rint, rounding_shift_right
from quantdiff.sim.rounding.requantization import Channel
from quantdiff.sim.runtime import Runtime


@arithmetic("ADD", "SUB")
def add(case: Case, at: Position) -> Sheet:
    """As ``sim/ops/add.py``, for one element."""
    operands = operands_of(case, at, (0, 1))
    centred = [*centred_steps(operands)]
    a, b = (step.integer for step in centred)
    sign = 1 if case.node.operator.op == "ADD" else -1
    fine = case.runtime is Runtime.XNNPACK
    if fine:
        steps = [*centred, *_in_21_bits(case.node, a, b, sign)]
    else:
        steps = [*centred, *_in_three_steps(case.node, a, b, sign, _vectors_at(case, at))]
    rule = "one sum with multipliers of 21 bits, one shift half up" if fine else RULES[Rounding.GEMMLOWP]
    finish = final_steps(case.node, steps[-1].integer, case.runtime)
    return Sheet((*operands, output_of(case.node, at)), (*steps, *finish), rule=rule)


def _vectors_at(case: Case, at: Position) -> Vectors | None:
    """The vectors of ``builtin`` that the element falls into, if any."""
    if case.runtime is not Runtime.BUILTIN or case.node.operator.op != "ADD":
        return None
    vectors, shape = vectors_of(case.node), case.node.y.shape
    place = np.asarray(np.ravel_multi_index(at, shape) if shape else 0)
    return vectors if vectors is not None and vectors.hold(place) else None


def _in_three_steps(node: Node, a: int, b: int, sign: int, vectors: Vectors | None) -> Iterator[Step]:
    scales = {name: np.float64(scale_of(tensor)) for name, tensor in (("a", node.x), ("b", node.at(1)))}
    twice = 2 * max(scales.values())
    scaled: list[int] = []
    for (name, scale), value in zip(scales.items(), (a, b), strict=True):
        yield from multiplier_steps(channel_of(scale / twice, Rounding.GEMMLOWP), f"s_{name} / (2 · max(s_a, s_b))")
        rounded = [*_operand_steps(value, channel_of(scale / twice, Rounding.GEMMLOWP), vectors)]
        yield from rounded
        scaled.append(rounded[-1].integer)
    total = scaled[0] + sign * scaled[1]
    yield Step("sum", f"{scaled[0]} {'+' if sign > 0 else '−'} {signed(scaled[1])}", total)
    back = channel_of(twice / (2.0**LEFT_SHIFT * np.float64(scale_of(node.y))), Rounding.GEMMLOWP)
    yield from multiplier_steps(back, f"2 · max(s_a, s_b) / (2^{LEFT_SHIFT} · s_y)")
    yield from scaled_steps(total, back)


def _operand_steps(value: int, channel: Channel, vectors: Vectors | None) -> Iterator[Step]:
    """An operand on the finer grid; ``builtin``'s vectors round it once, or drop what the second shift leaves over."""
    if vectors is None or vectors.scaled is not scaled_once:
        moved = value << LEFT_SHIFT
        yield Step("shift left", f"{value} · 2^{LEFT_SHIFT}", moved)
        steps = [*scaled_steps(moved, channel)]
        yield from steps if vectors is None else steps[:1]
        if vectors is not None and channel.shift < 0:
            high = steps[0].integer
            yield Step("shift right", f"{high} / 2^{-channel.shift}, down", high >> -channel.shift)
        return
    whole = LEFT_SHIFT + channel.shift
    moved, way, rest = (value << whole, "left", "") if whole >= 0 else (value >> -whole, "right", ", down")
    yield Step(f"shift {way}", f"{value} · 2^({LEFT_SHIFT} {channel.shift:+d}){rest}", moved)
    yield from scaled_steps(moved, replace(channel, shift=0))


def _in_21_bits(node: Node, a: int, b: int, sign: int) -> Iterator[Step]:
    ratios = [scale_of(t) / scale_of(node.y) for t in (node.x, node.at(1))]
    _, exponent = np.frexp(max(ratios))
    shift = MULTIPLIER_BITS - (int(exponent) - 1)
    m_a, m_b = (int(rint(np.ldexp(ratio, shift))) for ratio in ratios)
    for name, ratio, multiplier in zip("ab", ratios, (m_a, m_b), strict=True):
        yield Step(f"ratio {name}", f"s_{name} / s_y in float32", float(ratio))
        yield Step(f"multiplier {name}", f"ratio · 2^{shift}, to nearest", multiplier)
    total = a * m_a + sign * b * m_b
    yield Step("sum", f"{a} · {m_a} {'+' if sign > 0 else '−'} {signed(b)} · {m_b}", total)
    rounded = int(rounding_shift_right(np.asarray(total), shift))
    yield Step("shift right", f"{total} / 2^{shift}, half up", rounded, total / 2**shift)
