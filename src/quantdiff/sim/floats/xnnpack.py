"""Curves and sums of floats as XNNPACK makes them with AVX-512; ``neon.py`` has those that ARM64 makes otherwise.

XNNPACK: ``src/configs/unary-elementwise-config.c``, ``reduce-config.c``, ``raddstoreexpminusmax-config.c`` choose the
kernels; each function names its own. Floats below the smallest normal one are zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import added_in_order, flushed, fused_multiply_add
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime, has_avx512

LANES, AT_ONCE, NINE = 16, 4, 9
"""Floats in a vector, vectors of ``softmax`` in one round, taps of a pool in one."""
ONE, HALF = np.float32(1), np.float32(0.5)


def from_hex(*numbers: str) -> tuple[np.float32, ...]:
    """Constants as C spells them."""
    return tuple(np.float32(float.fromhex(number)) for number in numbers)


LOG2_E, SIXTH = from_hex("0x1.715476p+0", "0x1.555556p-3")
LOGISTIC_BIAS, LOGISTIC_1, LOGISTIC_HIGH, LOGISTIC_LOW = from_hex(
    "0x1.8p18", "0x1.0000F6p0", "-0x1.62E43p-1", "0x1.05C61p-29"
)
POWERS = np.asarray(
    from_hex(
        *("0x1.000000p+0", "0x1.059B0Ep+0", "0x1.0B5586p+0", "0x1.11301Ep+0", "0x1.172B84p+0", "0x1.1D4874p+0"),
        *("0x1.2387A6p+0", "0x1.29E9E0p+0", "0x1.306FE0p+0", "0x1.371A74p+0", "0x1.3DEA64p+0", "0x1.44E086p+0"),
        *("0x1.4BFDAEp+0", "0x1.5342B6p+0", "0x1.5AB07Ep+0", "0x1.6247ECp+0", "0x1.6A09E6p+0", "0x1.71F75Ep+0"),
        *("0x1.7A1148p+0", "0x1.82589Ap+0", "0x1.8ACE54p+0", "0x1.93737Cp+0", "0x1.9C4918p+0", "0x1.A5503Cp+0"),
        *("0x1.AE89FAp+0", "0x1.B7F770p+0", "0x1.C199BEp+0", "0x1.CB720Ep+0", "0x1.D5818Ep+0", "0x1.DFC974p+0"),
        *("0x1.EA4AFAp+0", "0x1.F50766p+0"),
    )
)
"""``2**(i / 32)``."""
FAR = np.float32(-1000)
"""Below it ``exp`` is 0 whatever the value."""
EXP_BIAS, EXP_HIGH, EXP_LOW, EXP_IS_ZERO = from_hex("0x1.8000FEp23", "-0x1.62E4p-1", "-0x1.7F7D1Cp-20", "-0x1.5D589Ep6")
EXP = from_hex("0x1.0F9F9Cp-7", "0x1.573A1Ap-5", "0x1.555A80p-3", "0x1.FFFDC6p-2", "0x1.FFFFF6p-1")
TANH_IS_ONE = np.float32(7.9807181358e00)
TANH_ABOVE = tuple(map(np.float32, (1.4248920266e-08, 2.1235626264e-05, 3.5330520477e-03, 1.3412411511e-01, 1)))
TANH_BELOW = tuple(map(np.float32, (8.1365948290e-07, 3.3472978976e-04, 2.6018999517e-02, 4.6745735407e-01, 1)))


def check_processor(runtime: Runtime = Runtime.XNNPACK) -> None:
    """Refuse where other kernels run, of which nothing is known here; those of ARM64 suit every processor of it."""
    if not (runtime.on_arm64 or has_avx512()):
        raise NoKernel("XNNPACK's kernels for processors without AVX-512, which are not simulated")


def logistic(x: Array) -> Array:
    """``src/f32-vsigmoid/avx512f-rr2-lut32-p2-perm2-scalef.c.in``. Shape as ``x``."""
    check_processor()
    x = flushed(x)
    z = np.maximum(-np.abs(x), FAR)
    n = fma(z, LOG2_E, LOGISTIC_BIAS)
    power = POWERS[n.view(np.int32) % len(POWERS)]
    n = n - LOGISTIC_BIAS
    t = fma(n, LOGISTIC_LOW, fma(n, LOGISTIC_HIGH, z))
    p = fma(flushed(t * power), fma(t, HALF, LOGISTIC_1), power)
    e = flushed(np.ldexp(p, np.floor(n).astype(np.int32)))
    y = flushed(e / (e + ONE))
    return np.where(np.signbit(x), y, ONE - y)


def tanh(x: Array, runtime: Runtime) -> Array:
    """``src/f32-vtanh/rational-9-8.c.in``. Shape as ``x``."""
    check_processor(runtime)
    x = np.clip(flushed(x), -TANH_IS_ONE, TANH_IS_ONE)
    x2 = flushed(x * x)
    return flushed(flushed(x * polynomial(TANH_ABOVE, x2)) / polynomial(TANH_BELOW, x2))


def hard_swish(x: Array) -> Array:
    """``src/f32-vhswish/simd.c.in``. Shape as ``x``."""
    x = flushed(x)
    return flushed(np.minimum(np.maximum(fma(x, SIXTH, HALF), np.float32(0)), ONE) * x)


def softmax(x: Array) -> Array:
    """``src/operators/softmax-nc.c``, ``src/f32-raddstoreexpminusmax/avx512f-rr2-p5.c.in``. Shape (…, n)."""
    check_processor()
    x = flushed(x)
    terms = _exp(flushed(x - x.max(axis=-1, keepdims=True)))
    vectors = _in_vectors(terms)
    rounds = x.shape[-1] // (LANES * AT_ONCE) * AT_ONCE
    sums = [_added(vectors[..., first:rounds:2, :]) for first in (0, 1)]
    total = halved(reduce(np.add, np.moveaxis(vectors[..., rounds:, :], -2, 0), sums[0] + sums[1]))
    return flushed(terms * (ONE / total)[..., None])


def row_sums(x: Array) -> Array:
    """``src/f32-rsum/simd.c.in``, two vectors of partial sums. Shape: (…, n) -> (…)."""
    check_processor()
    x = flushed(x)
    vectors, whole = _in_vectors(x), x.shape[-1] // LANES
    paired = whole // 2 * 2
    even, odd = (_added(vectors[..., first:paired:2, :]) for first in (0, 1))
    if whole > paired:
        even = even + vectors[..., paired, :]
    return halved(reduce(np.add, np.moveaxis(vectors[..., whole:, :], -2, 0), even + odd))


def row_sums_of_squares(x: Array) -> Array:
    """``src/f32-rsum2/simd.c.in``, four vectors of partial sums, no square rounded. Shape: (…, n) -> (…)."""
    check_processor()
    vectors, whole = _in_vectors(x), x.shape[-1] // LANES
    sums = [_squares_added(vectors[..., first:whole:AT_ONCE, :]) for first in range(AT_ONCE)]
    joined = (sums[0] + sums[2]) + (sums[1] + sums[3])
    left = vectors[..., whole:, :]
    return halved(fma(left[..., 0, :], left[..., 0, :], joined) if left.shape[-2] else joined)


def _squares_added(vectors: Array) -> Array:
    """One square after another onto zeros. Shape: (…, vectors, 16) -> (…, 16)."""
    start = np.zeros((*vectors.shape[:-2], LANES), np.float32)
    return reduce(lambda total, v: fma(v, v, total), np.moveaxis(vectors, -2, 0), start)


def halved(vector: Array) -> Array:
    """The upper half onto the lower, until one is left (``xnn_reduce_add_f32``). Shape: (…, 16) -> (…)."""
    while vector.shape[-1] > 1:
        half = vector.shape[-1] // 2
        vector = vector[..., :half] + vector[..., half:]
    return vector[..., 0]


def _in_vectors(x: Array) -> Array:
    """Zeros behind the last values. Shape: (…, n) -> (…, vectors, 16)."""
    filled = np.concatenate([x, np.zeros((*x.shape[:-1], -x.shape[-1] % LANES), np.float32)], axis=-1)
    return filled.reshape(*x.shape[:-1], -1, LANES)


def _added(vectors: Array) -> Array:
    """One after another onto zeros. Shape: (…, vectors, 16) -> (…, 16)."""
    start = np.zeros((*vectors.shape[:-2], LANES), np.float32)
    return reduce(np.add, np.moveaxis(vectors, -2, 0), start)


def _exp(x: Array) -> Array:
    """Of what is not above 0. Shape as ``x``."""
    kept = np.maximum(x, FAR)
    n = fma(kept, LOG2_E, EXP_BIAS)
    scale = (n.view(np.int32) << 23).view(np.float32)
    n = n - EXP_BIAS
    t = fma(n, EXP_LOW, fma(n, EXP_HIGH, kept))
    return np.where(x < EXP_IS_ZERO, np.float32(0), fma(flushed(t * scale), polynomial(EXP, t), scale))


def polynomial(coefficients: tuple[np.float32, ...], x: Array) -> Array:
    """Horner's scheme by fused multiply-add, the highest power first. Shape as ``x``."""
    return reduce(lambda total, next_: fma(total, x, next_), coefficients[1:], np.full_like(x, coefficients[0]))


def fma(a: Array, b: Array | np.float32, c: Array | np.float32) -> Array:
    """``a * b + c`` rounded once. The shapes broadcast."""
    a, b, c = np.broadcast_arrays(a, b, c)
    return flushed(fused_multiply_add(a, b, c))


def reduced(
    x: Array, over: tuple[int, ...], scale: np.float32, of_rows: Callable[[Array], Array], *, squares: bool
) -> Array:
    """Sums over axes, or those of squares, times ``scale`` (``src/operators/reduce-nd.c``). Shape: the other axes.

    Neighbours are one axis. Along the last axis ``of_rows``, else one value after another
    (``src/f32-rdsum/simd.c.in``); what is reduced further out is added to that, already scaled.
    """
    inner = [axis for axis in over if all(between in over for between in range(axis, max(over)))]
    outer = [axis for axis in over if axis not in inner]
    if max(over) < x.ndim - 1:
        rows = np.moveaxis(flushed(x), inner, range(len(inner))).reshape(-1, *np.delete(x.shape, inner))
        sums = (
            reduce(lambda total, row: fma(row, row, total), rows, np.zeros_like(rows[0]))
            if squares
            else added_in_order(rows, (0,))
        )
        return flushed(added_in_order(flushed(sums * scale), tuple(outer)) if outer else sums * scale + np.float32(0))
    sums = of_rows(x.reshape(*x.shape[: min(inner)], -1))
    parts = np.moveaxis(sums, outer, range(len(outer))).reshape(
        -1, *(n for i, n in enumerate(sums.shape) if i not in outer)
    )
    return reduce(lambda total, part: fma(part, scale, total), parts, np.zeros_like(parts[0]))


def average(seen: Array, scale: Array) -> Array:
    """Windows' sums in rounds of nine taps, column by column, times ``scale`` (``src/f32-avgpool/avgpool.c.in``).

    Shapes: seen (n, h, w, taps_h, taps_w, c), zeros beyond the image; scale (h, w, 1) -> (n, h, w, c).
    """
    columns = np.moveaxis(flushed(seen), (4, 3), (0, 1))
    taps = columns.reshape(-1, *columns.shape[2:])
    taps = np.concatenate([taps, np.zeros((-len(taps) % NINE, *taps.shape[1:]), np.float32)])
    total = np.zeros(taps.shape[1:], np.float32)
    for k in range(0, len(taps), NINE):
        a, b, c, d, e, f, g, h, i = taps[k : k + NINE]
        total = total + (((c + d) + (e + f)) + (((a + b) + i) + (g + h)))
    return flushed(total * scale)


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
