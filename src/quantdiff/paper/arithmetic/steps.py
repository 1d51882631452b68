"""What the ops on paper share: their registry, and the steps from a sum to a stored integer.

Each module of this folder registers its ops when it is imported. A step is the multiplier, a rounding, the zero point
or the clamp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.lazy import Registry
from quantdiff.paper.working import Operand, Real, Sheet, Step
from quantdiff.quant import Array, round_half_away
from quantdiff.sim.node import Node, clamp_of, scale_of, zero_point_of
from quantdiff.sim.rounding import fixed_point
from quantdiff.sim.rounding.exact_sums import Channel
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.runtime import Runtime

Position = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """An operator with its input arrays of one sample, and the runtime whose kernel runs."""

    node: Node
    arrays: Sequence[Array | None]
    runtime: Runtime

    def array(self, position: int) -> Array:
        """The input at ``position``, which must be there."""
        self.node.at(position)
        array = self.arrays[position]
        assert array is not None
        return array

    def optional(self, position: int) -> Array | None:
        """The input at ``position``, None where it is left out."""
        return self.arrays[position] if position < len(self.arrays) else None


Arithmetic = Callable[[Case, Position], Sheet]

ARITHMETIC: Registry[Arithmetic] = Registry("quantdiff.paper.arithmetic")


def arithmetic(*ops: str) -> Callable[[Arithmetic], Arithmetic]:
    """Register a function ``(case, position in the output) -> Sheet`` for the ops named."""

    def register(function: Arithmetic) -> Arithmetic:
        for op in ops:
            ARITHMETIC.add(op, function)
        return function

    return register


def known() -> Mapping[str, Arithmetic]:
    """Every op that can be written out."""
    return ARITHMETIC.load()


RULES = {
    Rounding.GEMMLOWP: "G: two integer roundings, half up and then half away from zero",
    Rounding.RUY: "R: two integer roundings, both half up",
    Rounding.SINGLE: "S: one integer rounding, half up",
    Rounding.NEON: "S: one integer rounding, half up, as NEON has it",
    Rounding.XNNPACK: "X: a float32 product, rounded half to even",
    Rounding.DOUBLE: "D: a float64 product, rounded half away from zero",
}


def channel_of(scale: Real, rounding: Rounding) -> Channel:
    """A multiplier with its mantissa and shift."""
    mantissa, shift = fixed_point.quantize_multiplier(scale)
    return Channel(rounding, float(scale), int(mantissa), int(shift))


def multiplier_steps(channel: Channel, formula: str) -> Iterator[Step]:
    """The real multiplier and the two integers that stand for it."""
    unused = ", not used by this rule" if channel.rounding in (Rounding.XNNPACK, Rounding.DOUBLE) else ""
    yield Step("multiplier", formula, channel.scale)
    yield Step("mantissa", f"of multiplier = mantissa · 2^(shift − 31){unused}", channel.mantissa)
    yield Step("shift", "", channel.shift)


def scaled_steps(value: int, channel: Channel) -> Iterator[Step]:
    """``value`` times the multiplier, rounding by rounding; the last step holds the integer."""
    if channel.rounding is Rounding.XNNPACK:
        return _by_float(value, np.float32(value), np.float32(channel.scale))
    if channel.rounding is Rounding.DOUBLE:
        return _by_float(value, np.float64(value), np.float64(channel.scale))
    return _by_integers(value, channel)


def _by_float(value: int, x: np.floating, scale: np.floating) -> Iterator[Step]:
    product = x * scale
    single = isinstance(x, np.float32)
    rounded = np.rint(product) if single else round_half_away(np.asarray(product))
    yield Step("product", f"{value} · multiplier in {x.dtype}", float(product))
    ties = "half to even" if single else "half away from zero"
    yield Step("round", f"to nearest, {ties}", int(rounded), float(product))


def _by_integers(value: int, channel: Channel) -> Iterator[Step]:
    mantissa, shift = channel.mantissa, channel.shift
    if channel.rounding in (Rounding.SINGLE, Rounding.NEON):
        rounded = fixed_point.multiply_by_quantized_multiplier(np.asarray(value), mantissa, shift, channel.rounding)
        formula = f"({value} · mantissa + 2^{30 - shift}) >> {31 - shift}, half up"
        yield Step("multiply and shift", formula, int(rounded), value * mantissa / 2 ** (31 - shift))
        return
    if shift > 0:
        moved = int(fixed_point.wrap_int32(np.asarray(value) << shift))
        yield Step("shift left", f"{value} · 2^{shift}, in 32 bits", moved)
        value = moved
    high = int(fixed_point.saturating_rounding_doubling_high_mul(np.asarray(value), mantissa))
    yield Step("high multiply", f"({value} · mantissa + 2^30) >> 31, half up", high, value * mantissa / 2**31)
    if shift < 0:
        yield _right(high, -shift, channel.rounding)


def _right(high: int, shift: int, rounding: Rounding) -> Step:
    away = rounding is Rounding.GEMMLOWP
    divide = fixed_point.rounding_divide_by_pot if away else fixed_point.rounding_shift_right
    ties = "half away from zero" if away else "half up"
    return Step("shift right", f"{high} / 2^{shift}, {ties}", int(divide(np.asarray(high), shift)), high / 2**shift)


def final_steps(node: Node, value: int, runtime: Runtime) -> Iterator[Step]:
    """Zero point and clamp."""
    zero_point = zero_point_of(node.y)
    yield add_zero_point(value, zero_point)
    yield clamp_step(node, value + zero_point, clamp_of(node, runtime))


def add_zero_point(value: int, zero_point: int) -> Step:
    """The output's, behind the rounding."""
    return Step("add zero point", f"{value} + {signed(zero_point)}", value + zero_point)


def clamp_step(node: Node, value: int, bounds: tuple[int, int]) -> Step:
    """To the output's type or its fused activation."""
    low, high = bounds
    fused = "" if node.activation == "NONE" else f" ({node.activation})"
    return Step("clamp", f"to {low} … {high}{fused}", min(max(value, low), high))


def requantized(node: Node, value: int, channel: Channel, formula: str, runtime: Runtime) -> tuple[Step, ...]:
    """All steps from a sum to the stored integer."""
    steps = [*multiplier_steps(channel, formula), *scaled_steps(value, channel)]
    return (*steps, *final_steps(node, steps[-1].integer, runtime))


def signed(value: Real) -> str:
    """A number that stands behind an operator: in brackets where it is negative."""
    return f"({value})" if value < 0 else str(value)


def output_of(node: Node, at: tuple[int, ...]) -> Operand:
    """The output tensor; its value is what is asked for."""
    return Operand("y", node.y.name, node.y.dtype, float(scale_of(node.y)), zero_point_of(node.y), at)
