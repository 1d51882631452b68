"""ADD and SUB: LiteRT ``tflite/kernels/{add,sub}.cc``, ``internal/reference/integer_ops/add.h``.

xnnpack: ``src/microparams-init.c`` (``xnn_init_qs8_add_minmax_scalar_params``), multipliers of 21 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Sums, centred
from quantdiff.sim.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier, rint
from quantdiff.sim.floats import clamped, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.requantization import requantization, round_sums
from quantdiff.sim.runtime import Runtime

LEFT_SHIFT, NARROW_SHIFT = 20, 15
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
        return (clamped(node, a + b if sign > 0 else a - b),) * len(runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if node.x.dtype == "int16" and node.option("pot_scale_int16", True):
        raise NoKernel("16-bit operands whose scales must be powers of two")
    operands = centred(a, zero_point_of(node.x)), centred(b, zero_point_of(node.at(1)))
    ways = [in_21_bits if runtime is Runtime.XNNPACK else in_three_steps for runtime in runtimes]
    outputs = {way: way(node, *operands, sign) for way in dict.fromkeys(ways)}
    return tuple(outputs[way] for way in ways)


def in_three_steps(node: Node, a: Array, b: Array, sign: int) -> Array:
    """Scale both operands to twice the larger scale, add, scale to the output; rule G each time."""
    scales = [np.float64(scale_of(t)) for t in (node.x, node.at(1))]
    twice = 2 * max(scales)
    narrow = node.x.dtype == "int16"
    left_shift = NARROW_SHIFT if narrow else LEFT_SHIFT

    def scaled(x: Array, scale: ArrayLike) -> Array:
        wide = x.astype(np.int64) << left_shift
        return multiply_by_quantized_multiplier(wide, *quantize_multiplier(scale), Rounding.GEMMLOWP)

    apply = scaled if narrow else partial(tabulated, scaled)
    left, right = (apply(x, s / twice) for x, s in zip((a, b), scales, strict=True))
    total = np.asarray(left + sign * right)
    channels = total.shape[-1] if total.ndim else 1
    sums = Sums(total.size // max(1, channels), np.zeros(channels, np.int32), [total.reshape(-1, channels)])
    scale = twice / (2.0**left_shift * np.float64(scale_of(node.y)))
    rule = requantization(node, Runtime.REFERENCE, Rounding.GEMMLOWP, scale, channels=channels)
    return round_sums(sums, [rule])[0].reshape(total.shape)


def tabulated(scaled: Callable[[Array, ArrayLike], Array], x: Array, scale: ArrayLike) -> Array:
    """``scaled`` of differences of two 8-bit integers, looked up: there are but 511 of them."""
    table = scaled(np.arange(-255, 256), scale).astype(np.int32)
    found: Array = table[x + 255]
    return found


def in_21_bits(node: Node, a: Array, b: Array, sign: int) -> Array:
    """Multipliers of at most 21 bits, one sum, one shift half up."""
    ratios = [scale_of(t) / scale_of(node.y) for t in (node.x, node.at(1))]
    _, exponent = np.frexp(max(ratios))
    shift = MULTIPLIER_BITS - (int(exponent) - 1)
    m_a, m_b = (int(rint(np.ldexp(ratio, shift))) for ratio in ratios)
    steps = (a.astype(np.int64) * m_a + sign * b.astype(np.int64) * m_b + (1 << (shift - 1))) >> shift
    return (steps + zero_point_of(node.y)).clip(*clamp_of(node, Runtime.XNNPACK)).astype(node.y.dtype)
