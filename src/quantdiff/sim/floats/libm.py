"""The C library's own functions, and those of glibc on ARM64 where it is not this machine's.

NumPy's float32 ``exp`` differs from ``expf`` in a third of a table. On ARM64 the compiler fuses multiply-add in
``expm1f``, ``tanhf`` and ``erfcf``, which are followed to the last bit: glibc ``sysdeps/ieee754/flt-32/s_expm1f.c``,
``s_tanhf.c``, ``s_erff.c`` as Debian 12 (2.36) has them compiled; which products are fused was read from its machine
code. Other releases may have others, as Android and macOS do.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import fused_multiply_add
from quantdiff.sim.runtime import Runtime, is_arm64

Vector = Callable[[Array], Array]


@cache
def float_function(name: str, arguments: int = 1) -> Callable[..., float]:
    """``expf``, ``tanhf``, … of the C library that the interpreter uses, else float64 rounded once."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        double: Callable[..., float] = getattr(math, name.removesuffix("f"))
        return double
    function.argtypes, function.restype = (ctypes.c_float,) * arguments, ctypes.c_float
    found: Callable[..., float] = function
    return found


def apply(name: str, x: Array) -> Array:
    """The named float32 function on every element. Shape as ``x``."""
    function = float_function(name)
    flat = [function(value) for value in x.astype(np.float32).reshape(-1).tolist()]
    return np.asarray(flat, np.float32).reshape(x.shape)


def apply_pair(name: str, x: Array, y: Array) -> Array:
    """The named float32 function of two values on every pair. Shapes agree."""
    function = float_function(name, 2)
    pairs = zip(x.astype(np.float32).reshape(-1).tolist(), y.astype(np.float32).reshape(-1).tolist(), strict=True)
    return np.asarray([function(a, b) for a, b in pairs], np.float32).reshape(x.shape)


HALF, ONE, TWO, THREE, SIX = (np.float32(number) for number in (0.5, 1, 2, 3, 6))


def _bits(*words: int) -> Array:
    """Float32 by their bits, the highest power first."""
    return np.asarray(words, np.uint32).view(np.float32)


INVERSE_LN2, LN2_HIGH, LN2_LOW = _bits(0x3FB8AA3B, 0x3F317180, 0x3717F7D1)
HALF_LN2, THREE_HALVES_LN2, SMALLEST, LARGEST = _bits(0x3EB17218, 0x3F851591, 0x33000000, 0x4195B843)
Q = _bits(0xB457EDBB, 0x36867E54, 0xB8A670CD, 0x3AD00D01, 0xBD088889, 0x3F800000)
POWERS = 22
"""From two to so many on, 1 is taken from the power of two before the rest is added."""
SATURATED = np.float32(22)
"""From which on a hyperbolic tangent is 1."""

ERX, ONE_LESS_ERX = _bits(0x3F58560B, 0x3E1EA7D4)
PP = _bits(0xB7C756B1, 0xBBBD1489, 0xBCE9528F, 0xBEA66BEB, 0x3E0375D4)
QQ = _bits(0xB684E21A, 0x390AEE49, 0x3BA68116, 0x3D852A63, 0x3ECBBBCE, 0x3F800000)
PA = _bits(0xBB0DF9C0, 0x3D1151B3, 0xBDE31CC2, 0x3EA2FE54, 0xBEBE9208, 0x3ED46805, 0xBB1ACDC6)
QA = _bits(0x3C445AA3, 0x3C5F6E13, 0x3E013307, 0x3D931AE7, 0x3F0A5785, 0x3DD9F331, 0x3F800000)
RA = _bits(0xC11D077E, 0xC2A2932B, 0xC3389AE7, 0xC322658C, 0xC2798057, 0xC128F022, 0xBF31A0B7, 0xBC21A093)
SA = _bits(0xBD777F97, 0x40D23F7C, 0x42D9451F, 0x43D6810B, 0x442158C9, 0x43D9486F, 0x4309A863, 0x419D35CE, 0x3F800000)
RB = _bits(0xC3F1C275, 0xC480230B, 0xC41F6441, 0xC320A2EA, 0xC18E104B, 0xBF4C9DD4, 0xBC21A092)
SB = _bits(0xC1B38712, 0x43ED43A7, 0x451F90CE, 0x4547FDBB, 0x44C01759, 0x43A2E571, 0x41F2B459, 0x3F800000)
NEAR_0, NEAR_1, MIDDLE, BELOW, BEYOND = _bits(0x3F580000, 0x3FA00000, 0x4036DB6D, 0x40C00000, 0x41E00000)
"""Ends of the pieces of ``erfc``; below the fourth with its sign changed it is 2, beyond the last it is 0."""
UPPER = np.uint32(0xFFFFE000)
"""The bits of a number whose square is exact."""


def _fma(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Array:
    x, y, z = np.broadcast_arrays(a, b, c)
    return fused_multiply_add(x, y, z)


def _polynomial(x: Array, coefficients: Array) -> Array:
    """Horner's rule, each step fused. Shape as ``x``."""
    y = np.broadcast_to(coefficients[0], x.shape)
    for each in coefficients[1:]:
        y = _fma(y, x, each)
    return y


def expm1(x: Array) -> Array:
    """``exp(x) - 1`` for x up to 64. Shape as ``x``."""
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        power, rest, lost = _reduced(x)
        y = _expm1_near_0(rest, lost, power)
    y = np.where(np.abs(x) < SMALLEST, x, np.where(x < -LARGEST, np.float32(-1), y))
    return np.where(np.isnan(x), x, y).astype(np.float32)


def _reduced(x: Array) -> tuple[Array, Array, Array]:
    """The power of two, what is left of ``x``, and what that lost by rounding. Shapes as ``x``."""
    size = np.abs(x)
    power = np.trunc(x * INVERSE_LN2 + np.copysign(HALF, x))
    power = np.where(size < THREE_HALVES_LN2, np.copysign(ONE, x), power)
    power = np.where(size <= HALF_LN2, np.float32(0), power)
    high, low = _fma(-power, LN2_HIGH, x), power * LN2_LOW
    rest = high - low
    return power.clip(-200, 200).astype(np.int32), rest, (high - rest) - low


def _expm1_near_0(x: Array, lost: Array, power: Array) -> Array:
    half = x * HALF
    square = x * half
    r = _polynomial(square, Q)
    t = _fma(-half, r, THREE)
    error = (r - t) / _fma(-x, t, SIX) * square
    plain = x - _fma(x, error, -square)
    error = _fma(x, error - lost, -lost) - square
    one = np.where(x < -np.float32(0.25), (error - (x + HALF)) * -TWO, _fma(x - error, TWO, ONE))
    less = _fma(x - error, HALF, -HALF)
    tiny = np.ldexp(ONE, -np.abs(power)).astype(np.float32)
    few = np.ldexp((ONE - tiny) - (error - x), power)
    many = np.ldexp((x - (error + tiny)) + ONE, power)
    far = np.ldexp(ONE - (error - x), power) - ONE
    rest = np.where((power <= -2) | (power > 56), far, np.where(power <= POWERS, few, many))  # noqa: PLR2004
    return np.select([power == 0, power == 1, power == -1], [plain, one, less], rest).astype(np.float32)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent. Shape as ``x``."""
    x = x.astype(np.float32)
    size = np.minimum(np.abs(x), SATURATED)
    far, near = expm1(size + size), expm1(size * -TWO)
    y = np.where(size >= ONE, ONE - TWO / (far + TWO), -near / (near + TWO))
    y = np.where(size >= SATURATED, ONE, y)
    return np.where(np.isnan(x) | (x == 0), x, np.copysign(y, x)).astype(np.float32)


def erfc(x: Array) -> Array:
    """The complementary error function. Shape as ``x``."""
    x = x.astype(np.float32)
    size = np.abs(x)
    with np.errstate(all="ignore"):
        pieces = [_near_0(x), _near_1(x, size), _by_exponentials(x, size)]
    y = np.select([size < NEAR_0, size < NEAR_1, (size < BEYOND) & (x > -BELOW)], pieces, np.where(x > 0, 0, TWO))
    return np.where(np.isnan(x), x, y).astype(np.float32)


def _near_0(x: Array) -> Array:
    square = x * x
    y = _polynomial(square, PP) / _polynomial(square, QQ) * x
    return np.where(x < np.float32(0.25), ONE - (x + y), HALF - ((x - HALF) + y))


def _near_1(x: Array, size: Array) -> Array:
    s = size - ONE
    y = _polynomial(s, PA) / _polynomial(s, QA)
    return np.asarray(np.where(x < 0, (y + ERX) + ONE, ONE_LESS_ERX - y))


def _by_exponentials(x: Array, size: Array) -> Array:
    s = ONE / (x * x)
    inner = size < MIDDLE
    ratio = np.where(inner, _polynomial(s, RA), _polynomial(s, RB)) / np.where(
        inner, _polynomial(s, SA), _polynomial(s, SB)
    )
    z = (np.ascontiguousarray(size).view(np.uint32) & UPPER).view(np.float32)
    first, second = _fma(-z, z, np.float32(-0.5625)), _fma(z - size, size + z, ratio)
    y = apply("expf", first) * apply("expf", second) / size
    return np.where(x > 0, y, TWO - y)


FUNCTIONS = {"erfcf": erfc, "expm1f": expm1, "tanhf": tanh}


def apply_on(name: str, x: Array, runtime: Runtime) -> Array:
    """The named function of the C library that a runtime asks; on an ARM64 machine that is its own. Shape as ``x``."""
    return FUNCTIONS[name](x) if runtime.on_arm64 and not is_arm64() else apply(name, x)
