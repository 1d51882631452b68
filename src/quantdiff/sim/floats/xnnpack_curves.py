"""SIN, COS, EXP, LOG, ELU and GELU of floats as XNNPACK makes them with AVX-512; but for ELU, on ARM64, too.

XNNPACK: ``src/configs/unary-elementwise-config.c`` chooses them; each function names its kernel.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import flushed
from quantdiff.sim.floats.xnnpack import HALF, LOG2_E, ONE, check_processor, fma, from_hex, polynomial
from quantdiff.sim.runtime import Runtime

PI, TURNS, TURN_HIGH, TURN_LOW = map(np.float32, (3.1415927, 0.15915494, 6.28125, 1.9353072e-3))
"""Half a turn, turns in a radian, and a whole turn in two parts."""
SINE_ABOVE = tuple(map(np.float32, (3.2340581529e-03, -1.3314664364e-01, 1)))
SINE_BELOW = tuple(map(np.float32, (4.8770775902e-04, 3.3519912511e-02, 1)))
QUARTER_HIGH, QUARTER_LOW = map(np.float32, (1.5707963705, -4.3711388e-08))
"""A quarter of a turn in two parts."""
EXP_ABOVE = tuple(map(np.float32, (0.00553756347, 0.0480780415, 0.693147182)))
EXP_BELOW = tuple(map(np.float32, (0.0239876043, -0.277210861, 1)))
NO_FRACTION, EXP_LOWEST, EXP_HIGHEST = np.float32(1.5 * 2**23), np.float32(-127), np.float32(128)
ROOT_2, ROOT_HALF, LOG_2 = map(np.float32, (1.4142134190, 7.0710688829e-01, 0.69314718055994531))
LOG_ABOVE = np.float32(1.824996918440e-01), ONE, ONE
LOG_BELOW = tuple(map(np.float32, (0.049584995955, 0.599170029163, 1.5, 1)))
BIAS_256, BIAS_383, MANTISSA, SIGN_AND_EXPONENT = np.float32(256), np.float32(383), 0x007FFFFF, 0xFF800000
GELU_IS_LINEAR = np.float32(5.1638283730)
GELU_ABOVE = tuple(
    map(
        np.float32,
        (4.5835321316e-08, 1.2609783880e-05, 3.2973114867e-04, 9.3065137044e-03, 6.6972173750e-02, 7.9788452387e-01),
    )
)
GELU_BELOW = tuple(
    map(np.float32, (1.1988805682e-06, 7.2267655923e-05, 1.8622842617e-03, 2.8431978077e-02, 2.5060352683e-01, 1))
)
BY_TANH_IS_LINEAR = np.float32(4.84974098)
BY_TANH_ABOVE = tuple(
    map(
        np.float32,
        (4.9544411240e-08, 1.4302649106e-05, 2.6887017884e-04, 7.2898347862e-03, 6.0803253204e-02, 7.9788458347e-01),
    )
)
BY_TANH_BELOW = tuple(
    map(np.float32, (1.3433452750e-06, 7.6477612311e-05, 1.3060354395e-03, 2.4381054565e-02, 2.4369759858e-01, 1))
)
ELU_CUT, ELU_BIAS, MINUS_LOG_2 = from_hex("-0x1.154246p+4", "0x1.8000FEp23", "-0x1.62E430p-1")
ELU = from_hex("0x1.6b7338p-10", "0x1.12278Ep-7", "0x1.555716p-5", "0x1.5554B0p-3", "0x1.FFFFFEp-2")


def sine(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vsin/rational-5-4.c.in``. Shape as ``x``."""
    check_processor(runtime)
    return _sine(_within_a_turn(x))


def cosine(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vcos/rational-5-4.c.in``: the sine of what is left of a quarter turn. Shape as ``x``."""
    check_processor(runtime)
    return _sine(flushed(flushed(QUARTER_HIGH - _within_a_turn(x)) + QUARTER_LOW))


def _within_a_turn(x: Array) -> Array:
    x = flushed(x)
    turns = np.rint(flushed(x * TURNS))
    return fma(-turns, TURN_LOW, fma(-turns, TURN_HIGH, x))


def _sine(x: Array) -> Array:
    """Of what lies within a turn. Shape as ``x``."""
    x = np.minimum(x, flushed(PI - x))
    x = np.maximum(x, flushed(-PI - x))
    x = np.minimum(x, flushed(PI - x))
    squared = flushed(x * x)
    return flushed(flushed(x * polynomial(SINE_ABOVE, squared)) / polynomial(SINE_BELOW, squared))


def exp(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vexp/rational-3-2.c.in``, as a fraction from 1 on, which is how LiteRT 2.3 has it. Shape as ``x``."""
    check_processor(runtime)
    powers = np.minimum(np.fmax(flushed(flushed(x) * LOG2_E), EXP_LOWEST), EXP_HIGHEST)  # what is no number: lowest
    whole = (powers + NO_FRACTION) - NO_FRACTION
    r = flushed(powers - whole)
    above = flushed(polynomial(EXP_ABOVE, r) * r)
    scale = ((whole + (NO_FRACTION / 1.5 + -EXP_LOWEST)).view(np.int32) << 23).view(np.float32)
    return flushed(scale * (flushed(above / polynomial(EXP_BELOW, r)) + ONE))


def log(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vlog/rational-3-3.c.in``. Shape as ``x``."""
    check_processor(runtime)
    bits = flushed(flushed(x) * ROOT_2)
    exponent = np.where(bits == 0, np.float32(-0.0), bits).view(np.uint32) & np.uint32(SIGN_AND_EXPONENT)
    shifted = (exponent.view(np.int32) >> 8).view(np.uint32) | BIAS_256.view(np.uint32)
    mantissa = ((bits.view(np.uint32) & np.uint32(MANTISSA)) | ONE.view(np.uint32)).view(np.float32)
    x = flushed(flushed(mantissa * ROOT_HALF) - ONE)
    y = flushed(flushed(x * polynomial(LOG_ABOVE, x)) / polynomial(LOG_BELOW, x))
    return fma(shifted.view(np.float32) - BIAS_383, LOG_2, y)


def elu(x: Array) -> Array:
    """``src/f32-velu/avx512f-rr1-p6.c.in``. Shape as ``x``."""
    check_processor()
    x = flushed(x)
    z = np.maximum(ELU_CUT, x)
    n = fma(z, LOG2_E, ELU_BIAS)
    power = (n.view(np.int32) << 23).view(np.float32)
    t = fma(n - ELU_BIAS, MINUS_LOG_2, z)
    p = flushed(polynomial(ELU, t) * t)
    t = flushed(t * power)
    return np.where(x < 0, flushed(fma(p, t, t) + flushed(power - ONE)), x)


def gelu(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vgelu/rational-12-10.c.in``. Shape as ``x``."""
    return _gelu(x, runtime, GELU_IS_LINEAR, GELU_ABOVE, GELU_BELOW)


def gelu_by_tanh(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vapproxgelu/rational-12-10.c.in``. Shape as ``x``."""
    return _gelu(x, runtime, BY_TANH_IS_LINEAR, BY_TANH_ABOVE, BY_TANH_BELOW)


def _gelu(
    x: Array, runtime: Runtime, end: np.float32, above: tuple[np.float32, ...], below: tuple[np.float32, ...]
) -> Array:
    check_processor(runtime)
    whole = flushed(x)
    x = np.clip(whole, -end, end)
    squared = flushed(x * x)
    erf = flushed(flushed(x * polynomial(above, squared)) / polynomial(below, squared))
    return flushed(flushed(whole * HALF) * (erf + ONE))
