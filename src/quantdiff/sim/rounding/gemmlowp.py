"""exp, logistic, tanh and ``1 / sqrt(n)`` in fixed point, bit for bit as gemmlowp and LiteRT compute them.

gemmlowp ``fixedpoint/fixedpoint.h`` (``exp_on_negative_values``, ``logistic``, ``tanh``); the root by Newton's steps:
LiteRT ``tflite/kernels/internal/common.h`` (``GetInvSqrtQuantizedMultiplierExp``). A value of type Q(i) on ``bits``
bits is an integer that stands for ``raw / 2**(bits - 1 - i)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.rounding.fixed_point import rounding_divide_by_pot, saturating_rounding_doubling_high_mul

BARREL = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""Exponent e and exp(-2**e) in Q31."""
EXP_MINUS_ONE_EIGHTH, ONE_THIRD = 1895147668, 715827883
FORTY_EIGHT_OVER_17, MINUS_32_OVER_17 = 1515870810, -1010580540
WIDE = 5
"""With more integer bits than this, exp is cut to 0 below -32."""
NARROW = 16
"""Bits of which there is a table of all values."""


def constant(q31: int, bits: int) -> int:
    """A 32-bit constant in ``bits`` bits (``RescaleConstantInitializer``)."""
    return int(rounding_divide_by_pot(np.asarray(q31, np.int64), 32 - bits))


def one(bits: int) -> int:
    """The largest Q0 value, which stands for 1."""
    return (1 << (bits - 1)) - 1


def wrap(x: Array, bits: int) -> Array:
    """``x`` as an integer of ``bits`` bits keeps it."""
    return x.astype(f"int{bits}").astype(np.int64)


def rescale(x: Array, exponent: int, bits: int = 32) -> Array:
    """``x * 2**exponent``: saturating to the left, rounding to the right (``Rescale``)."""
    if exponent <= 0:
        return rounding_divide_by_pot(x, -exponent)
    limit = (1 << (bits - 1 - exponent)) - 1
    inside = np.where(x < -limit, -(1 << (bits - 1)), x << exponent)
    return np.where(x > limit, one(bits), inside)


def exp_on_negative_values(a: Array, integer_bits: int, bits: int = 32) -> Array:
    """``exp(a)`` in Q0 for ``a <= 0`` in Q(integer_bits). Shape as ``a``."""

    def mul(x: Array, y: Array | int) -> Array:
        return saturating_rounding_doubling_high_mul(x, np.asarray(y), bits)

    fractional = bits - 1 - integer_bits
    quarter = 1 << (fractional - 2)
    a = np.asarray(a, np.int64)
    rest = (a & (quarter - 1)) - quarter
    x = rescale(rest, integer_bits, bits) + (1 << (bits - 4))
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    series = rescale(mul(rescale(x4, -2) + x3, constant(ONE_THIRD, bits)) + x2, -1)
    base = constant(EXP_MINUS_ONE_EIGHTH, bits)
    result = np.minimum(base + mul(x + series, base), one(bits))
    remainder = rest - a
    for exponent, factor in BARREL:
        if integer_bits > exponent:
            bit = (remainder >> (fractional + exponent)) & 1
            result = np.where(bit != 0, mul(result, constant(factor, bits)), result)
    if integer_bits > WIDE:
        result = np.where(a < -(1 << (bits + 4 - integer_bits)), 0, result)
    return np.where(a == 0, one(bits), result)


def _reciprocal(a: Array, bits: int) -> Array:
    """``2 / (1 + a)`` in Q2 for ``a`` in (0, 1), by three Newton-Raphson steps."""

    def mul(x: Array, y: Array | int) -> Array:
        return saturating_rounding_doubling_high_mul(x, np.asarray(y), bits)

    half_denominator = (a + one(bits) + 1) // 2
    x = constant(FORTY_EIGHT_OVER_17, bits) + mul(half_denominator, constant(MINUS_32_OVER_17, bits))
    for _ in range(3):
        left = (1 << (bits - 3)) - mul(half_denominator, x)
        x = wrap(x + rescale(mul(x, left), 2, bits), bits)
    return x


def one_over_one_plus_x(a: Array, bits: int = 32) -> Array:
    """``1 / (1 + a)`` in Q0 for ``a`` in (0, 1) in Q0. Shape as ``a``."""
    return rescale(_reciprocal(np.asarray(a, np.int64), bits), 1, bits)


def get_reciprocal(x: Array, integer_bits: int) -> tuple[Array, Array]:
    """``1/x`` of a positive Q(integer_bits): a Q0 factor and the bits above 1 (LiteRT ``GetReciprocal``).

    Shapes: both as ``x``.
    """
    headroom = 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)
    fraction = (x << headroom) - (1 << 31)
    return one_over_one_plus_x(fraction), integer_bits - headroom


def logistic(a: Array, integer_bits: int, bits: int = 32) -> Array:
    """``1 / (1 + exp(-a))`` in Q0 for ``a`` in Q(integer_bits). Shape as ``a``."""
    return _looked_up(_logistic, a, integer_bits) if bits == NARROW else _logistic(a, integer_bits, bits)


def tanh(a: Array, integer_bits: int, bits: int = 32) -> Array:
    """``tanh(a)`` in Q0 for ``a`` in Q(integer_bits). Shape as ``a``."""
    return _looked_up(_tanh, a, integer_bits) if bits == NARROW else _tanh(a, integer_bits, bits)


def _logistic(a: Array, integer_bits: int, bits: int) -> Array:
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(wrap(-np.abs(a), bits), integer_bits, bits), bits)
    result = np.where(a > 0, positive, one(bits) - positive)
    return np.where(a == 0, 1 << (bits - 2), result)


def _tanh(a: Array, integer_bits: int, bits: int) -> Array:
    a = np.asarray(a, np.int64)
    # ExactMulByPot<1> doubles by reading the same bits with one integer bit more.
    e = exp_on_negative_values(wrap(-np.abs(a), bits), integer_bits + 1, bits)
    t = rescale(_reciprocal(e, bits) - (1 << (bits - 3)), 2, bits)
    return np.where(a == 0, 0, np.where(a < 0, -t, t))


def _looked_up(function: Callable[[Array, int, int], Array], a: Array, integer_bits: int) -> Array:
    found: Array = _of_every_int16(function, integer_bits)[np.asarray(a, np.int64) + (1 << (NARROW - 1))]
    return found


@lru_cache
def _of_every_int16(function: Callable[[Array, int, int], Array], integer_bits: int) -> Array:
    """A recurrent cell asks some hundred times, step by step; there are 65,536 answers."""
    values = function(np.arange(-(1 << (NARROW - 1)), 1 << (NARROW - 1)), integer_bits, NARROW)
    values.flags.writeable = False
    return values


ONE_Q3, ONE_AND_HALF_Q3, HALF_SQRT_2 = 1 << 28, (1 << 28) + (1 << 27), 1518500250
NEWTON_STEPS, TOP_SHIFT = 5, 11
CUT_BITS, WIDTH = 29, 32
"""Bits that a value is cut down to by fours, and bits of an int32."""


def inverse_root_multiplier(values: ArrayLike) -> tuple[Array, Array]:
    """Mantissa and left shift of ``1 / sqrt(value)``, values from 0 on that fit an int32. Shapes: as ``values``."""
    value = np.asarray(values, np.int64)
    fours = np.maximum(bit_length(value) - CUT_BITS + 1, 0) // 2
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
