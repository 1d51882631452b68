"""Floats on ARM64: curves and sums as XNNPACK makes them in vectors of four, and products as ruy makes them.

XNNPACK: ``src/configs/unary-elementwise-config.c``, ``reduce-config.c``, ``raddstoreexpminusmax-config.c`` choose the
kernels; each function names its own. The estimate that NEON divides by is laid down: Arm Architecture Reference Manual,
``RecipEstimate``. Products of ``builtin``: ruy ``kernel_arm64.cc``, and LiteRT ``cpu_backend_gemm_custom_gemv.h``. They
were found by probing: two huge values of opposite sign among ones show which sums they meet in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import flushed, fused_multiply_add
from quantdiff.sim.floats.xnnpack import EXP_IS_ZERO, LOG2_E, ONE, fma, from_hex

LANES, SUMS = 4, 4
"""Floats in a vector, vectors of partial sums."""
PLACES, SHIFT = 64, 17
"""Powers in the table of an exponential, and how far the exponent lies from its place in a float."""
EXP_BIAS, EXP_2, LOG_2 = from_hex("0x1.8p17", "0x1.FFFF0Ap-2", "0x1.62E430p-1")
ELU_CUT, ELU_BIAS, ELU_3, ELU_2 = from_hex("-0x1.154246p+4", "0x1.8p19", "0x1.55561Cp-3", "0x1.0001ECp-1")
ELU_PLACES, ELU_SHIFT = 16, 19


def reciprocal(x: Array) -> Array:
    """About ``1 / x``: ``vrecpe``, then two steps of Newton's by ``vrecps``. Shape as ``x``."""
    bits = np.abs(x).view(np.int32)
    eighth = 2 * (256 + (bits >> 15 & 255)) + 1
    fraction = ((1 << 19) // eighth + 1) // 2 & 255
    estimate = ((253 - (bits >> 23)) << 23 | fraction << 15).astype(np.int32).view(np.float32)
    estimate = np.copysign(np.where(np.isnan(x), x, np.where(np.isinf(x), np.float32(0), estimate)), x)
    for _ in range(2):
        left = fused_multiply_add(-x, estimate, np.asarray(2, np.float32))
        estimate = estimate * np.where(np.isinf(x), np.float32(2), left)
    return estimate


@np.errstate(all="ignore")
def logistic(x: Array) -> Array:
    """``src/f32-vsigmoid/neon-lut64-p2.c.in``. Shape as ``x``."""
    x = flushed(x)
    z = np.abs(x)
    power, t = _power_and_rest(z, -LOG2_E, LOG_2)
    y = fma(-power, fma(-flushed(t * EXP_2), t, t), power)
    y = flushed(y * reciprocal(y + ONE))
    y = np.where(z > -EXP_IS_ZERO, np.float32(0), y)
    return np.where(x < 0, y, ONE - y)


@np.errstate(all="ignore")
def softmax(x: Array) -> Array:
    """``src/operators/softmax-nc.c``, ``src/f32-raddstoreexpminusmax/neon-lut64-p2.c.in``. Shape (…, n)."""
    x = flushed(x)
    x = flushed(x - x.max(axis=-1, keepdims=True))
    power, t = _power_and_rest(x, LOG2_E, -LOG_2)
    terms = np.where(x < EXP_IS_ZERO, np.float32(0), fma(power, fma(t, flushed(t * EXP_2), t), power))
    vectors, rest = _vectors_and_rest(terms)
    total = _across(reduce(np.add, np.moveaxis(vectors, -2, 0), np.zeros((*x.shape[:-1], LANES), np.float32)))
    if rest.shape[-1] > 1:
        total = total + (rest[..., 0] + rest[..., 1])
    if rest.shape[-1] % 2:
        total = total + rest[..., -1]
    return flushed(terms * (ONE / total)[..., None])


@np.errstate(all="ignore")
def elu(x: Array) -> Array:
    """``src/f32-velu/neon-lut16-p3.c.in``. Shape as ``x``."""
    x = flushed(x)
    z = np.maximum(x, ELU_CUT)
    n = fma(z, LOG2_E, ELU_BIAS)
    power = _power(n, ELU_PLACES, ELU_SHIFT)
    t = fma(n - ELU_BIAS, -LOG_2, z)
    p = flushed(fma(t, ELU_3, ELU_2) * t)
    t = flushed(t * power)
    return np.where(x < 0, flushed(fma(p, t, t) + flushed(power - ONE)), x)


def _power_and_rest(x: Array, per_step: np.float32, step: np.float32) -> tuple[Array, Array]:
    """``2**(n / 64)`` for the whole ``n`` next to ``x * per_step``, and what is left of ``x``. Shapes as ``x``."""
    n = fma(x, per_step, EXP_BIAS)
    return _power(n, PLACES, SHIFT), fma(n - EXP_BIAS, step, x)


def _power(n: Array, places: int, shift: int) -> Array:
    table = (2.0 ** (np.arange(places) / places)).astype(np.float32).view(np.int32)
    bits = n.view(np.int32)
    shifted: Array = (table[bits & (places - 1)] + ((bits & -places) << shift)).astype(np.int32)
    return shifted.view(np.float32)


def row_sums(x: Array, *, squares: bool = False) -> Array:
    """Four vectors of partial sums, then what fills none: ``src/f32-rsum``, ``src/f32-rsum2``. Shape: (…, n) -> (…)."""
    vectors, rest = _vectors_and_rest(flushed(x))
    sums = [np.zeros((*x.shape[:-1], LANES), np.float32) for _ in range(SUMS)]
    for k in range(vectors.shape[-2]):
        vector = vectors[..., k, :]
        sums[k % SUMS] = fma(vector, vector, sums[k % SUMS]) if squares else sums[k % SUMS] + vector
    if squares:
        rest = flushed(rest * rest)
    whole = (sums[0] + sums[2]) + (sums[1] + sums[3])
    pair = whole[..., :2] + whole[..., 2:]
    if rest.shape[-1] > 1:
        pair = pair + rest[..., :2]
    total = pair[..., 0] + pair[..., 1]
    return np.asarray(total + rest[..., -1] if rest.shape[-1] % 2 else total)


def row_sums_of_squares(x: Array) -> Array:
    """The same of squares. Shape: (…, n) -> (…)."""
    return row_sums(x, squares=True)


def _vectors_and_rest(x: Array) -> tuple[Array, Array]:
    body = x.shape[-1] // LANES * LANES
    return x[..., :body].reshape(*x.shape[:-1], -1, LANES), x[..., body:]


def _across(vector: Array) -> Array:
    """Neighbours first (``vaddvq_f32``). Shape: (…, 4) -> (…)."""
    return np.asarray((vector[..., 0] + vector[..., 1]) + (vector[..., 2] + vector[..., 3]))


TILE, HALF = 8, 4
"""Rows and units that a kernel takes at once; those of the first half are loaded first."""
PIPELINED = 8
"""Depth from which the loop ends with four products that were loaded ahead."""


def product(x: Array, w: Array, bias: Array | None = None) -> Array:
    """``x @ w.T + bias`` as one call has it. Shapes: x (rows, depth), w (units, depth) -> (rows, units).

    Floats below the smallest normal one are zeros, but in the product with a single row.
    """
    units, depth = w.shape
    if len(x) == 1 and units >= LANES and depth >= LANES:
        y = row_by_row(x, w)
        return y if bias is None else y + bias
    return flushed(_in_tiles(flushed(x), flushed(w)) + flushed(np.zeros(units, np.float32) if bias is None else bias))


def _in_tiles(x: Array, w: Array) -> Array:
    units, depth = w.shape
    last = depth // LANES * LANES - LANES
    zero = np.zeros((len(x), units), np.float32)
    if depth < PIPELINED:
        return _added(x, w, range(depth), zero, flushed)
    before = _added(x, w, range(last), zero, flushed)
    first = _added(x, w, range(last, depth), before, flushed)
    turned = _added(x, w, (last + 1, last + 2, last + 3, last, *range(last + LANES, depth)), before, flushed)
    ahead = np.ix_(np.arange(len(x)) % TILE < HALF, np.arange(units) % TILE < HALF)
    turned[ahead] = first[ahead]
    return turned


def row_by_row(x: Array, w: Array) -> Array:
    """Each row by itself: four partial sums in turn.

    What is left of the depth goes to the last of them, as the end of a vector that begins earlier: what it holds of the
    row for a second time is made 0, and the others are multiplied by that, which can turn their zeros.
    """
    left = x.shape[1] % LANES
    if left:
        ahead, again = x.shape[1] - left, np.arange(LANES) < LANES - left
        x = np.concatenate([x[:, :ahead], np.where(again, np.float32(0), x[:, -LANES:])], axis=1)
        w = np.concatenate([w[:, :ahead], w[:, -LANES:]], axis=1)
    zero = np.zeros((len(x), len(w)), np.float32)
    sums = [_added(x, w, range(k, x.shape[1], LANES), zero) for k in range(LANES)]
    return np.asarray((sums[0] + sums[1]) + (sums[2] + sums[3]))


def _added(
    x: Array, w: Array, order: Iterable[int], total: Array, rounded: Callable[[Array], Array] = np.asarray
) -> Array:
    for k in order:
        total = rounded(fused_multiply_add(x[:, k, None], w[:, k], total))
    return total
