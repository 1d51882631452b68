"""The elementwise ops on paper: ADD, SUB, MUL, QUANTIZE, DEQUANTIZE start from one stored value of each operand.

ADD and SUB bring both on a common finer grid; MUL scales the product once. ``builtin`` rounds the elements of whole
vectors otherwise than the rest: see ``sim/ops/quantize.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from quantdiff.paper.arithmetic.steps import (
    RULES,
    Case,
    Position,
    arithmetic,
    channel_of,
    final_steps,
    multiplier_steps,
    output_of,
    requantized,
    scaled_steps,
    signed,
)
from quantdiff.paper.working import Operand, Sheet, Step
from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.ops.add import LEFT_SHIFT, MULTIPLIER_BITS, Vectors, scaled_once, vectors_of
from quantdiff.sim.ops.arithmetic import ROUNDING
from quantdiff.sim.ops.quantize import FLOAT_VECTOR, INTEGER_VECTOR, WIDENED
from quantdiff.sim.rounding.exact_sums import Channel
from quantdiff.sim.rounding.fixed_point import Rounding, product_scale, rint, rounding_shift_right
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


@arithmetic("MUL")
def mul(case: Case, at: Position) -> Sheet:
    """As ``sim/ops/arithmetic.py``, for one element."""
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


ROUNDED_TWICE = 3
"""Steps of a product and a sum."""


@arithmetic("DEQUANTIZE")
def dequantize(case: Case, at: Position) -> Sheet:
    """As ``sim/ops/quantize.py``, for one element: the runtimes differ in the last bit of the float."""
    operands = operands_of(case, at, (0,))
    (centred,) = centred_steps(operands)
    scale, whole = scale_of(case.node.x), centred.integer
    y = Operand("y", case.node.y.name, case.node.y.dtype, None, None, at)
    if case.runtime.family is Runtime.BUILTIN and in_body(case, at, WIDENED):
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


def operands_of(case: Case, at: Position, positions: Sequence[int]) -> tuple[Operand, ...]:
    """The inputs, broadcast against each other as NumPy does, with their stored values at ``at``."""
    arrays = [case.array(i) for i in positions]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    tensors = [case.node.at(i) for i in positions]
    if not all(is_quantized(tensor, "int8", "uint8") for tensor in tensors):
        raise NoKernel("types " + " and ".join(tensor.dtype for tensor in tensors))
    roles = "ab" if len(positions) > 1 else "x"
    return tuple(
        Operand(role, t.name, t.dtype, float(scale_of(t)), zero_point_of(t), at, int(np.broadcast_to(a, shape)[at]))
        for role, t, a in zip(roles, tensors, arrays, strict=True)
    )


def centred_steps(operands: Sequence[Operand]) -> Iterator[Step]:
    """Each stored value less its zero point."""
    for each in operands:
        value, zero_point = each.integer, int(each.zero_point or 0)
        yield Step(f"{each.role} − z_{each.role}", f"{value} − {signed(zero_point)}", value - zero_point)


def in_body(case: Case, at: Position, vector: int) -> bool:
    """True when ``builtin`` computes the element among whole vectors, not in the scalar tail."""
    x = case.array(0)
    return int(np.ravel_multi_index(at, x.shape)) < x.size // vector * vector
