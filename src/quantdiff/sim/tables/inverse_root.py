"""``1 / sqrt(n)`` of an integer as a multiplier, by Newton's steps in fixed point.

Source: LiteRT ``tflite/kernels/internal/common.h`` (``GetInvSqrtQuantizedMultiplierExp``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.rounding.fixed_point import rounding_divide_by_pot, saturating_rounding_doubling_high_mul
from quantdiff.sim.rounding.gemmlowp import rescale

ONE_Q3, ONE_AND_HALF_Q3, HALF_SQRT_2 = 1 << 28, (1 << 28) + (1 << 27), 1518500250
NEWTON_STEPS, TOP_SHIFT = 5, 11
NARROW, WIDTH = 29, 32
"""Bits that a value is cut down to by fours, and bits of an int32."""


def inverse_root_multiplier(values: ArrayLike) -> tuple[Array, Array]:
    """Mantissa and left shift of ``1 / sqrt(value)``, values from 0 on that fit an int32. Shapes: as ``values``."""
    value = np.asarray(values, np.int64)
    fours = np.maximum(bit_length(value) - NARROW + 1, 0) // 2
    kept = np.maximum(value >> 2 * fours, 1)
    pairs = (WIDTH - bit_length(kept) - 1) // 2 - 1
    half, x = rounding_divide_by_pot((kept << 2 * pairs) >> 1, 1), np.full(value.shape, ONE_Q3, np.int64)
    mul = saturating_rounding_doubling_high_mul
    for _ in range(NEWTON_STEPS):
        cube = rescale(mul(mul(x, x), x), 6)
        x = rescale(mul(x, ONE_AND_HALF_Q3) - mul(half, cube), 3)
    mantissa, shift = mul(x, HALF_SQRT_2), TOP_SHIFT + fours - pairs
    one = value <= 1
    mantissa = np.where(one, (1 << 31) - 1, mantissa << np.maximum(-shift, 0))
    return mantissa, np.where(one, 0, -np.maximum(shift, 0))


def bit_length(value: Array) -> Array:
    """Bits of each value from 0 on, as of an int. Shape as ``value``."""
    return np.asarray(np.frexp(value.astype(np.float64))[1], np.int64)
