"""ADD and SUB: LiteRT ``tflite/kernels/{add,sub}.cc``, ``internal/reference/integer_ops/add.h``.

xnnpack: ``src/microparams-init.c`` (``xnn_init_qs8_add_minmax_scalar_params``), multipliers of 21 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Sums, centred
from quantdiff.sim.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rint,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)
from quantdiff.sim.floats import clamped, computed, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.rules import Requantization, round_sums
from quantdiff.sim.runtime import Runtime

LEFT_SHIFT, NARROW_SHIFT = 20, 15
VECTOR = 16
"""16-bit elements that ``builtin`` scales together."""
MULTIPLIER_BITS = 20


@kernel("ADD", shared=True)
def add(node: Node, a: Array, b: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Compute ``y = clamp(z_y + (s_a (a - z_a) + s_b (b - z_b)) / s_y)``. Shapes broadcast."""
    return add_or_subtract(node, a, b, 1, runtimes)


@kernel("SUB", shared=True)
def sub(node: Node, a: Array, b: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Compute ``y = clamp(z_y + (s_a (a - z_a) - s_b (b - z_b)) / s_y)``. Shapes broadcast."""
    return add_or_subtract(node, a, b, -1, runtimes)


def add_or_subtract(node: Node, a: Array, b: Array, sign: int, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Both ops, by each runtime's integers; plain numbers as they are."""
    if plain(node):
        function = np.add if sign > 0 else np.subtract
        return tuple(clamped(node, computed(runtime, function, a, b), runtime) for runtime in runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if node.x.dtype == "int16" and node.option("pot_scale_int16", True):
        raise NoKernel("16-bit operands whose scales must be powers of two")
    operands = centred(a, zero_point_of(node.x)), centred(b, zero_point_of(node.at(1)))
    if node.x.dtype == "int16":
        return tuple(of_16_bits(node, *operands, sign, runtime) for runtime in runtimes)
    ways = [in_21_bits if runtime is Runtime.XNNPACK else in_three_steps for runtime in runtimes]
    outputs = {way: way(node, *operands, sign) for way in dict.fromkeys(ways)}
    return tuple(outputs[way] for way in ways)


def in_three_steps(node: Node, a: Array, b: Array, sign: int) -> Array:
    """Scale both operands to twice the larger scale, add, scale to the output; rule G each time."""
    scales = [np.float64(scale_of(t)) for t in (node.x, node.at(1))]
    twice = 2 * max(scales)
    whole = partial(Requantization, Rounding.GEMMLOWP, zero_point=0, clamp=(INT32_MIN, INT32_MAX), dtype="int32")
    left, right = (scaled(x << LEFT_SHIFT, s / twice, whole) for x, s in zip((a, b), scales, strict=True))
    clamp = clamp_of(node, Runtime.REFERENCE)
    last = partial(Requantization, Rounding.GEMMLOWP, zero_point=zero_point_of(node.y), clamp=clamp, dtype=node.y.dtype)
    return scaled(left + sign * right, twice / (2.0**LEFT_SHIFT * np.float64(scale_of(node.y))), last)


def scaled(x: Array, scale: float, rule: Callable[..., Requantization]) -> Array:
    """``x * scale`` by the rule, for the int32 values of any shape."""
    channels = x.shape[-1] if x.ndim else 1
    sums = Sums(x.size // max(1, channels), np.zeros(channels, np.int32), [x.reshape(-1, channels)])
    return round_sums(sums, [rule(scale=(float(scale),) * channels)])[0].reshape(x.shape)


def of_16_bits(node: Node, a: Array, b: Array, sign: int, runtime: Runtime) -> Array:
    """The same three steps with a shorter shift; the vectors of ``builtin``'s ADD round the operands once."""
    if runtime is Runtime.XNNPACK:
        return in_21_bits(node, a, b, sign)
    y = in_three_wide_steps(node, a, b, sign, scaled_twice)
    if node.operator.op == "ADD" and runtime is Runtime.BUILTIN and a.shape == b.shape:
        size = math.prod(node.y.shape)
        in_vector = np.arange(y.size).reshape(y.shape) % size < size // VECTOR * VECTOR
        y = np.where(in_vector, in_three_wide_steps(node, a, b, sign, scaled_once), y)
    return (y + zero_point_of(node.y)).clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def in_three_wide_steps(node: Node, a: Array, b: Array, sign: int, how: Callable[..., Array]) -> Array:
    """The sum before zero point and clamp; ``how`` scales the operands, once as in ``AddElementwiseInt16``."""
    scales = [np.float64(scale_of(t)) for t in (node.x, node.at(1))]
    twice = 2 * max(scales)
    left, right = (how(x.astype(np.int64), s / twice, NARROW_SHIFT) for x, s in zip((a, b), scales, strict=True))
    return scaled_twice(left + sign * right, twice / (2.0**NARROW_SHIFT * np.float64(scale_of(node.y))), 0)


def scaled_twice(x: Array, scale: ArrayLike, left_shift: int) -> Array:
    """``x * scale * 2**left_shift`` by rule G, after the shift."""
    return multiply_by_quantized_multiplier(x << left_shift, *quantize_multiplier(scale), Rounding.GEMMLOWP)


def scaled_once(x: Array, scale: ArrayLike, left_shift: int) -> Array:
    """The same where what is left of the shift goes first, so that there is one rounding."""
    mantissa, shift = quantize_multiplier(scale)
    whole = int(shift) + left_shift
    if whole < 0:
        raise NoKernel("operands whose scales differ by more than 15 bits")
    return saturating_rounding_doubling_high_mul(wrap_int32(x << whole), mantissa)


def in_21_bits(node: Node, a: Array, b: Array, sign: int) -> Array:
    """Multipliers of at most 21 bits, one sum, one shift half up."""
    ratios = [scale_of(t) / scale_of(node.y) for t in (node.x, node.at(1))]
    _, exponent = np.frexp(max(ratios))
    shift = MULTIPLIER_BITS - (int(exponent) - 1)
    m_a, m_b = (int(rint(np.ldexp(ratio, shift))) for ratio in ratios)
    steps = (a.astype(np.int64) * m_a + sign * b.astype(np.int64) * m_b + (1 << (shift - 1))) >> shift
    return (steps + zero_point_of(node.y)).clip(*clamp_of(node, Runtime.XNNPACK)).astype(node.y.dtype)
