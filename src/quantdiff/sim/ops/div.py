"""DIV, FLOOR_DIV, FLOOR_MOD: ``tflite/kernels/{div,floor_div,floor_mod}.cc``, the latter two unquantized.

Quantized: ``internal/reference/div.h`` (``DivElementwise``) on all runtimes; xnnpack declines it.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import clamped, computed, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    quantize_multiplier,
    rounding_divide_by_any_pot,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.rounding.gemmlowp import get_reciprocal
from quantdiff.sim.runtime import Runtime

INTEGER_BITS = 31
"""Of a divisor, which is a whole number of steps."""


@kernel("DIV")
def div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``a / b``; integers are cut off towards zero. Shapes broadcast."""
    if not plain(node):
        return quantized(node, a, b, runtime)
    if a.dtype.kind == "f":
        return clamped(node, computed(runtime, np.divide, a, b), runtime)
    quotient = np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64))
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


def quantized(node: Node, a: Array, b: Array, runtime: Runtime) -> Array:
    """Return ``clamp(z_y + M (a - z_a) / (b - z_b))``, with ``M = s_a / (s_b s_y)``, each factor rounded by itself."""
    check_types(node, runtime)
    dividend, divisor = (centred(q, zero_point_of(t)).astype(np.int64) for q, t in ((a, node.x), (b, node.at(1))))
    if not divisor.all():
        raise NoKernel("a divisor of 0")
    mantissa, shift = quantize_multiplier(scale_on(node, runtime))
    inverse, over_unit = get_reciprocal(np.abs(divisor), INTEGER_BITS)
    x = dividend * np.sign(divisor)
    room = sign_bits(x)
    quotient = saturating_rounding_doubling_high_mul(x << room, inverse)
    steps = saturating_rounding_doubling_high_mul(quotient, mantissa)
    exponent = room + over_unit - shift
    if np.any(exponent < 0):
        raise NoKernel("a multiplier so large that C leaves the shift undefined")
    y = rounding_divide_by_any_pot(steps, exponent) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def check_types(node: Node, runtime: Runtime) -> None:
    """Refuse what the runtime has no kernel for."""
    known = ("int8",) if runtime is Runtime.TFLM else ("int8", "uint8", "int16")
    if not all(is_quantized(t, *known) and t.dtype == node.x.dtype for t in (node.x, node.at(1), node.y)):
        raise NoKernel(f"types {node.x.dtype} / {node.at(1).dtype} -> {node.y.dtype}")


def scale_on(node: Node, runtime: Runtime) -> Array:
    """The multiplier of each runtime: tflm takes float64."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    a, b, y = (np.asarray(scale_of(t), wide) for t in (node.x, node.at(1), node.y))
    return np.asarray(np.divide(a, np.multiply(b, y)))


def sign_bits(x: Array) -> Array:
    """How far an int32 can be shifted left without loss (``CountLeadingSignBits``)."""
    return INTEGER_BITS - np.frexp(np.where(x < 0, ~x, x).astype(np.float64))[1].astype(np.int64)


@kernel("FLOOR_DIV")
def floor_div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``floor(a / b)``, of floats by a quotient in float64. Shapes broadcast."""
    del node, runtime
    if a.dtype.kind != "f":
        return a // b
    return np.floor(a.astype(np.float64) / b).astype(np.float32)


@kernel("FLOOR_MOD")
def floor_mod(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return what is left of ``a``, with the sign of ``b``. Shapes broadcast."""
    del node, runtime
    if a.dtype.kind != "f":
        return np.mod(a, b)
    left = np.fmod(a, b)
    return np.where((left != 0) & ((b < 0) != (left < 0)), left + b, left)
