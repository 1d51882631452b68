"""ADD and SUB: LiteRT ``tflite/kernels/{add,sub}.cc``, ``internal/reference/integer_ops/add.h``.

xnnpack: ``src/microparams-init.c`` (``xnn_init_qs8_add_minmax_scalar_params``), multipliers of 21 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier, rint
from quantdiff.sim.floats import clamped, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime

LEFT_SHIFT, NARROW_SHIFT = 20, 15
MULTIPLIER_BITS = 20


@kernel("ADD")
def add(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + (s_a (a - z_a) + s_b (b - z_b)) / s_y)``. Shapes broadcast."""
    return add_or_subtract(node, a, b, 1, runtime)


@kernel("SUB")
def sub(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + (s_a (a - z_a) - s_b (b - z_b)) / s_y)``. Shapes broadcast."""
    return add_or_subtract(node, a, b, -1, runtime)


def add_or_subtract(node: Node, a: Array, b: Array, sign: int, runtime: Runtime) -> Array:
    """Both ops, by the runtime's integers; plain numbers as they are."""
    if plain(node):
        return clamped(node, a + b if sign > 0 else a - b)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if node.x.dtype == "int16" and node.option("pot_scale_int16", True):
        raise NoKernel("16-bit operands whose scales must be powers of two")
    operands = centred(a, zero_point_of(node.x)), centred(b, zero_point_of(node.at(1)))
    how = in_21_bits if runtime is Runtime.XNNPACK else in_three_steps
    y = how(node, *operands, sign) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def in_three_steps(node: Node, a: Array, b: Array, sign: int) -> Array:
    """Scale both operands to twice the larger scale, add, scale to the output; rule G each time."""
    scales = [np.float64(scale_of(t)) for t in (node.x, node.at(1))]
    twice = 2 * max(scales)
    left_shift = NARROW_SHIFT if node.x.dtype == "int16" else LEFT_SHIFT

    def scaled(x: Array, scale: ArrayLike) -> Array:
        return multiply_by_quantized_multiplier(x, *quantize_multiplier(scale), Rounding.GEMMLOWP)

    left, right = (scaled(x.astype(np.int64) << left_shift, s / twice) for x, s in zip((a, b), scales, strict=True))
    return scaled(left + sign * right, twice / (2.0**left_shift * np.float64(scale_of(node.y))))


def in_21_bits(node: Node, a: Array, b: Array, sign: int) -> Array:
    """Multipliers of at most 21 bits, one sum, one shift half up."""
    ratios = [scale_of(t) / scale_of(node.y) for t in (node.x, node.at(1))]
    _, exponent = np.frexp(max(ratios))
    shift = MULTIPLIER_BITS - (int(exponent) - 1)
    m_a, m_b = (int(rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return (a.astype(np.int64) * m_a + sign * b.astype(np.int64) * m_b + (1 << (shift - 1))) >> shift
