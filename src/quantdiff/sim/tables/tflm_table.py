"""TFLM's int8 logistic and tanh: fixed point on Q4.27, and a radius beyond which they saturate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import Node, NoKernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.tables.table import every_value

INTEGER_BITS = 4


def input_radius(integer_bits: int, left_shift: int, total_bits: int = 31) -> int:
    """Largest difference that fixed point can hold (``quantization_util.cc``, ``CalculateInputRadius``)."""
    return int(np.floor(((1 << integer_bits) - 1) * 2.0 ** (total_bits - integer_bits) / 2.0**left_shift))


def fixed_point_table(node: Node, function: Callable[[Array], Array]) -> Array:
    """``function`` from Q4 to the output's integers, saturated outside the radius.

    Source: ``tensorflow/lite/kernels/internal/reference/integer_ops/{logistic,tanh}.h``.

    Raises:
        NoKernel: another type than int8, on whose zero point the function counts.
    """
    if node.x.dtype != "int8" or node.y.dtype != "int8":
        raise NoKernel(f"type {node.x.dtype}: TFLM has this curve for int8")
    low, high = INTEGER_RANGE[node.y.dtype]
    x = every_value(node.x.dtype) - zero_point_of(node.x)
    mantissa, shift = quantize_multiplier(np.float64(scale_of(node.x)) * (1 << (31 - INTEGER_BITS)))
    radius = input_radius(INTEGER_BITS, int(shift))
    inside = np.clip(x, -radius, radius)
    q = function(multiply_by_quantized_multiplier(inside, mantissa, shift, Rounding.GEMMLOWP))
    q = np.where(x <= -radius, low, np.where(x >= radius, high, q))
    return q.clip(low, high).astype(node.y.dtype)
