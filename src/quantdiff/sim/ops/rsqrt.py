"""RSQRT of 8 bits: LiteRT ``tflite/kernels/elementwise.cc`` (``RsqrtEvalQuantizedInt8``).

``internal/common.h`` (``GetInvSqrtQuantizedMultiplierExp``): five Newton-Raphson steps in Q3.28. xnnpack declines it.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.gemmlowp import rescale, wrap
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.table import every_value, look_up

SHIFT = 20
ONE_AND_A_HALF, HALF_SQRT_2 = (1 << 28) + (1 << 27), 1518500250


@kernel("RSQRT")
def rsqrt(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``1 / sqrt(x)``; the largest output at 0, and nothing below, where the runtimes refuse to run.

    Shape as ``x``.
    """
    if not is_quantized(node.x, "int8"):
        raise NoKernel(f"type {node.x.dtype}")
    steps = np.maximum(every_value(node.x.dtype) - zero_point_of(node.x), 0)
    mantissa, shift = inverse_sqrt(np.maximum(steps, 1))
    inverse = multiply_by_quantized_multiplier(np.ones_like(steps), mantissa, shift + SHIFT, Rounding.GEMMLOWP)
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    real = 1.0 / np.float64(np.sqrt(wide(scale_of(node.x))) * wide(scale_of(node.y)))
    multiplier, out_shift = quantize_multiplier(real)
    y = multiply_by_quantized_multiplier(inverse, multiplier, out_shift - SHIFT, Rounding.GEMMLOWP)
    low, high = INTEGER_RANGE[node.y.dtype]
    table = np.where(steps == 0, high, (y + zero_point_of(node.y)).clip(low, high))
    return look_up(x, table.astype(node.y.dtype))


def inverse_sqrt(value: Array) -> tuple[Array, Array]:
    """Mantissa and exponent of ``1 / sqrt(value)`` for whole values below 2**29. Shapes: as ``value``."""
    pairs = (31 - np.frexp(value.astype(np.float64))[1].astype(np.int64)) // 2 - 1
    half_input = rescale((value << (2 * pairs)) >> 1, -1)
    mul = saturating_rounding_doubling_high_mul
    x = np.full_like(value, 1 << 28)
    for _ in range(5):
        cubed = rescale(mul(mul(x, x), x), 6)
        x = rescale(wrap(mul(x, ONE_AND_A_HALF) - mul(half_input, cubed), 32), 3)
    mantissa, shift = mul(x, HALF_SQRT_2), 11 - pairs
    mantissa = mantissa << np.maximum(-shift, 0)
    small = value <= 1
    return np.where(small, 2**31 - 1, mantissa), np.where(small, 0, -np.maximum(shift, 0))
