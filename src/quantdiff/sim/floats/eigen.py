"""Sums, curves and products as Eigen makes them in vectors of four floats, without FMA, as LiteRT's wheel is built.

Eigen: ``src/Core/Redux.h`` (``LinearVectorizedTraversal``), ``src/Core/arch/SSE/PacketMath.h`` (``predux``); each
curve names its own file. What does not fill a vector is computed one by one. Products of matrices: LiteRT
``tflite/kernels/cpu_backend_gemm_eigen.cc``; Eigen ``src/Core/products/GeneralMatrixMatrix.h``,
``GeneralBlockPanelKernel.h`` (``gebp_kernel``, ``evaluateProductBlockingSizesHeuristic``); for one row
``GeneralMatrixVector.h`` and ``src/Core/InnerProduct.h``, for very small ones ``src/Core/Redux.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import libm, neon
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime, level_1_data_cache

Curve = Callable[[Array], Array]
LANES = 4
"""Floats in a vector of Eigen's."""
ONE, HALF, LOG2_E = np.float32(1), np.float32(0.5), np.float32(1.44269504088896341)
MINUS_LOG_2_HIGH, MINUS_LOG_2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
EXP_LOW, EXP_HIGH, LOGISTIC_IS_ONE = np.float32(-104), np.float32(88.723), np.float32(16.6355324)
EXP = dict(
    zip(
        range(2, 7),
        map(np.float32, (0.49999988079, 0.16666518152, 4.1669651866e-2, 8.3689447492e-3, 1.3744963799e-3)),
        strict=True,
    )
)
LOGISTIC = dict(
    zip(range(2, 6), map(np.float32, (0.49999141693, 0.16666877270, 4.1898667812e-2, 8.3347130537e-3)), strict=True)
)
"""By the power that they stand before."""
TANH_IS_ONE, TANH_IS_ONE_FUSED = np.float32(7.90738964080810547), np.float32(8.01773357391357422)
TANH_ABOVE = tuple(map(np.float32, (1.394553628e-8, 2.102733560e-5, 3.520756727e-3, 1.340216100e-1)))
CUBIC, MINUS_ROOT_HALF, ROOT_2_OVER_PI = map(np.float32, (0.044715, -0.70710678118654752, 0.79788456080286536))
ERFC_ENDS = np.float32(11)
ERFC = tuple(
    map(np.float32, (5.61802299e-04, -4.91381669e-03, 2.67075151e-02, -1.12800106e-01, 3.76122952e-01, -1.12837911))
)
"""Up to 1; beyond it a fraction of the two below, times ``exp(-x**2)``."""
ERFC_ABOVE = tuple(map(np.float32, (1.02081165e-01, 4.29206669e-01, 3.23790789e-01, 5.39719760e-02)))
ERFC_BELOW = tuple(map(np.float32, (1.72516778e-02, 3.91371638e-01, 1, 6.21732414e-01, 9.56628621e-02)))
TANH_BELOW = tuple(map(np.float32, (8.015776984e-7, 3.326951409e-4, 2.597254514e-2, 4.673548340e-1, 1)))


def joined(sums: Array, runtime: Runtime = Runtime.BUILTIN) -> Array:
    """The four partial sums of a vector as one (``predux``), on ARM64 neighbours first. Shapes: (…, 4) -> (…)."""
    if runtime.on_arm64:
        return np.asarray((sums[..., 0] + sums[..., 1]) + (sums[..., 2] + sums[..., 3]))
    return np.asarray((sums[..., 0] + sums[..., 2]) + (sums[..., 1] + sums[..., 3]))


def one_by_one(total: Array, others: Array) -> Array:
    """The others onto ``total``, from first to last. Shapes: (rows,), (rows, n) -> (rows,)."""
    for k in range(others.shape[1]):
        total = total + others[:, k]
    return total


def row_sums(x: Array, runtime: Runtime) -> Array:
    """The sum of each row of a matrix that begins where vectors do; a row's own vectors begin where addresses allow.

    Shapes: (rows, n) -> (rows,).
    """
    total = np.empty(len(x), np.float32)
    for first in range(LANES):  # rows of one place in a vector together
        rows = slice(first, None, LANES)
        total[rows] = aligned_sums(x[rows], -first * x.shape[1] % LANES, runtime)
    return total


def aligned_sums(x: Array, start: int, runtime: Runtime = Runtime.BUILTIN) -> Array:
    """Two vectors of partial sums from ``start`` on, then what is before and behind. Shapes: (rows, n) -> (rows,)."""
    start = min(start, x.shape[1])
    vectors = (x.shape[1] - start) // LANES
    if not vectors:
        return one_by_one(x[:, 0], x[:, 1:])
    end, pairs = start + vectors * LANES, vectors // 2
    body = x[:, start:end].reshape(len(x), vectors, LANES)
    sums = body[:, 0]
    if vectors > 1:
        other = body[:, 1]
        for k in range(1, pairs):
            sums, other = sums + body[:, 2 * k], other + body[:, 2 * k + 1]
        sums = sums + other
        if vectors > 2 * pairs:
            sums = sums + body[:, -1]
    return one_by_one(one_by_one(joined(sums, runtime), x[:, :start]), x[:, end:])


def exp(x: Array, runtime: Runtime) -> Array:
    """``pexp_float`` in whole vectors, the C library's ``expf`` in what is left. Shape as ``x``."""
    return _in_vectors(x, partial(_exp, runtime=runtime), partial(libm.apply, "expf"))


def exp_of_rows(x: Array, runtime: Runtime) -> Array:
    """The same with a tail to each row, where it is summed as it comes. Shape (rows, n)."""
    body = x.shape[1] // LANES * LANES
    return np.concatenate([_exp(x[:, :body], runtime), libm.apply("expf", x[:, body:])], axis=1)


def logistic(x: Array, runtime: Runtime) -> Array:
    """``scalar_logistic_op<float>`` (``src/Core/functors/UnaryFunctors.h``). Shape as ``x``."""
    return _in_vectors(x, partial(_logistic, runtime=runtime), _logistic_alone)


def logistic_of_rows(x: Array, start: int, runtime: Runtime) -> Array:
    """The same of rows whose vectors begin at ``start``. Shape (rows, n)."""
    start = min(start, x.shape[1])
    end = start + (x.shape[1] - start) // LANES * LANES
    parts = _logistic_alone(x[:, :start]), _logistic(x[:, start:end], runtime), _logistic_alone(x[:, end:])
    return np.concatenate(parts, axis=1)


def tanh(x: Array, runtime: Runtime) -> Array:
    """``ptanh_float`` (``src/Core/arch/Default/GenericPacketMathTrig.h``), one by one too. Shape as ``x``."""
    end = TANH_IS_ONE_FUSED if runtime.on_arm64 else TANH_IS_ONE
    x = np.clip(x, -end, end)
    x2 = x * x
    above = multiply_add(x2 * x, _polynomial(TANH_ABOVE, x2, runtime), x, runtime)
    return np.asarray(above / _polynomial(TANH_BELOW, x2, runtime))


def gelu(x: Array, runtime: Runtime) -> Array:
    """LiteRT ``internal/reference/gelu.h`` (``Gelu``), by ``erfc``. Shape as ``x``."""
    return (HALF * x) * erfc(x * MINUS_ROOT_HALF, runtime)


def gelu_by_tanh(x: Array, runtime: Runtime) -> Array:
    """The same, approximate. Shape as ``x``."""
    return (HALF * x) * (ONE + tanh(ROOT_2_OVER_PI * (x + CUBIC * (x * x * x)), runtime))


def erfc(x: Array, runtime: Runtime) -> Array:
    """``unsupported/Eigen/src/SpecialFunctions/SpecialFunctionsImpl.h`` (``generic_fast_erfc``). Shape as ``x``."""
    alone = partial(_erfc, runtime=runtime, exp=partial(libm.apply, "expf"), inverse=partial(np.divide, ONE))
    inverse = neon.reciprocal if runtime.on_arm64 else partial(np.divide, ONE)
    return _in_vectors(x, partial(_erfc, runtime=runtime, exp=partial(_exp, runtime=runtime), inverse=inverse), alone)


@np.errstate(all="ignore")
def _erfc(x: Array, runtime: Runtime, exp: Curve, inverse: Curve) -> Array:
    x = np.clip(x, -ERFC_ENDS, ERFC_ENDS)
    squared = x * x
    lost = (x.astype(np.float64) ** 2 - squared).astype(np.float32)  # as two halves of x would have it
    e, small = exp(-squared), inverse(squared)
    ratio = _polynomial(ERFC_ABOVE, small, runtime) / (x * _polynomial(ERFC_BELOW, small, runtime))
    two = np.where(x < 0, np.float32(2), np.float32(0))
    far = multiply_add(multiply_add(-e, lost, e, runtime), ratio, two, runtime)
    return np.where(squared > 1, far, multiply_add(x, _polynomial(ERFC, squared, runtime), ONE, runtime))


def _in_vectors(x: Array, vectors: Callable[[Array], Array], tail: Callable[[Array], Array]) -> Array:
    flat = x.reshape(-1)
    body = flat.size // LANES * LANES
    return np.concatenate([vectors(flat[:body]), tail(flat[body:])]).reshape(x.shape)


def _exp(x: Array, runtime: Runtime) -> Array:
    """``src/Core/arch/Default/GenericPacketMathFunctions.h``: ``2**m * p(r)``, ``x = m * log(2) + r``."""
    kept = np.clip(x, EXP_LOW, EXP_HIGH)
    m = np.floor(multiply_add(kept, LOG2_E, HALF, runtime))
    r, half = _remainder(kept, m, runtime), np.trunc((m + 254) / 2).astype(np.int32) - 127
    y = _near_1(r, EXP, runtime)
    return np.asarray(np.ldexp(np.ldexp(y, half), m.astype(np.int32) - half))


def _logistic(x: Array, runtime: Runtime) -> Array:
    """Of ``exp(x / 2)``, squared."""
    halved = np.minimum(x, LOGISTIC_IS_ONE) * HALF
    m = np.floor(multiply_add(halved, LOG2_E, HALF, runtime))
    root = np.ldexp(_near_1(_remainder(halved, m, runtime), LOGISTIC, runtime), m.astype(np.int32))
    e = root * root
    return np.where(x < EXP_LOW, np.float32(0), e / (ONE + e))


def _logistic_alone(x: Array) -> Array:
    e = libm.apply("expf", np.minimum(x, LOGISTIC_IS_ONE))
    return np.asarray(e / (ONE + e))


def _remainder(x: Array, m: Array, runtime: Runtime) -> Array:
    """``x - m * log(2)``, the logarithm in two parts. Shape as ``x``."""
    return multiply_add(m, MINUS_LOG_2_LOW, multiply_add(m, MINUS_LOG_2_HIGH, x, runtime), runtime)


def _near_1(r: Array, powers: Mapping[int, np.float32], runtime: Runtime) -> Array:
    """``1 + r`` and the powers of ``r``, even and odd ones apart. Shape as ``r``."""
    r2 = r * r
    even, odd = (
        _polynomial([powers[k] for k in sorted(powers, reverse=True) if k % 2 == rest], r2, runtime) for rest in (0, 1)
    )
    return multiply_add(r2, multiply_add(r, odd, even, runtime), r + ONE, runtime)


def _polynomial(coefficients: Sequence[np.float32], x: Array, runtime: Runtime) -> Array:
    """Horner's scheme, the highest power first. Shape as ``x``."""
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = multiply_add(total, x, coefficient, runtime)
    return total


SMALL = 20
"""Rows, units and depth together, below which each sum is made by itself (``EIGEN_GEMM_TO_COEFFBASED_THRESHOLD``)."""
WIDE, PEELED = 8, 8
"""Units that are summed together in two vectors, and products that a loop takes at once."""
STEP_BYTES, TILE_BYTES = 48, 128
"""What one step along the depth, and the sums themselves, take of the first cache."""
SMALLEST_CACHE = 2**15


def product(x: Array, w: Array) -> Array:
    """Compute ``x @ w.T`` in one call of the kernel. Shapes: x (rows, depth), w (units, depth) -> (rows, units)."""
    (rows, depth), units = x.shape, len(w)
    if rows == 1:
        return in_one_sum(x, w) if units == 1 else in_four_sums(x, w)
    if units == 1:
        return in_four_sums(w, x).T
    if rows + units + depth < SMALL:
        return aligned_sums((x[:, None] * w).reshape(-1, depth), 0).reshape(rows, units)
    total, block = np.zeros((rows, units), np.float32), block_of(depth)
    for start in range(0, depth, block):
        total = total + _panel(x[:, start : start + block], w[:, start : start + block])
    return total


def block_of(depth: int) -> int:
    """How many products along the depth are summed before they join the result.

    Raises:
        NoKernel: it depends on the processor's first cache, whose size cannot be told.
    """
    cache = level_1_data_cache()
    most = ((cache or SMALLEST_CACHE) - TILE_BYTES) // STEP_BYTES // PEELED * PEELED
    if depth <= most:
        return depth
    if cache is None:
        raise NoKernel("long float sums, which Eigen cuts by the size of a cache that cannot be told here")
    left, sweeps = depth % most, depth // most
    return most - PEELED * ((most - 1 - left) // (PEELED * (sweeps + 1))) if left else most


def _panel(x: Array, w: Array) -> Array:
    """A block of the depth. Units in eights are summed in order; four that are left, and single ones, otherwise."""
    rows, eights, fours = len(x) // LANES * LANES, len(w) // WIDE * WIDE, len(w) // LANES * LANES
    y = np.empty((len(x), len(w)), np.float32)
    y[:, :eights] = _in_turns(x, w[:eights], 1, 1)
    y[:rows, eights:fours] = _in_turns(x[:rows], w[eights:fours], 2, PEELED)
    y[:rows, fours:] = _in_turns(x[:rows], w[fours:], LANES, LANES)
    y[rows:, eights:] = _in_turns(x[rows:], w[eights:], 1, 1)
    return y


def _in_turns(x: Array, w: Array, turns: int, peeled: int) -> Array:
    """One, two or four partial sums that products join in turn; what fills no whole round of ``peeled`` comes last."""
    whole = x.shape[1] // peeled * peeled
    sums = [np.zeros((len(x), len(w)), np.float32) for _ in range(turns)]
    for k in range(whole):
        sums[k % turns] = sums[k % turns] + x[:, k, None] * w[:, k]
    while len(sums) > 1:
        sums = [a + b for a, b in zip(sums[::2], sums[1::2], strict=True)]
    (total,) = sums
    for k in range(whole, x.shape[1]):
        total = total + x[:, k, None] * w[:, k]
    return total


def in_four_sums(x: Array, w: Array) -> Array:
    """Every fourth product joins the same partial sum; what does not fill a vector comes after."""
    body = x.shape[1] // LANES * LANES
    sums = np.zeros((len(x), len(w), LANES), np.float32)
    for k in range(0, body, LANES):
        sums = sums + x[:, None, k : k + LANES] * w[:, k : k + LANES]
    total = joined(sums)
    for k in range(body, x.shape[1]):
        total = total + x[:, k, None] * w[:, k]
    return total


def in_one_sum(x: Array, w: Array) -> Array:
    """A single unit: up to four vectors of partial sums, joined from the last to the first."""
    products, body = x * w[0], x.shape[1] // LANES * LANES
    if not body:
        return one_by_one(products[:, 0], products[:, 1:])[:, None]
    vectors = [products[:, k : k + LANES] for k in range(0, body, LANES)]
    sums = vectors[:LANES]
    for index, vector in enumerate(vectors[LANES:]):
        sums[index % LANES] = sums[index % LANES] + vector
    whole = sums[-1]
    for earlier in reversed(sums[:-1]):
        whole = earlier + whole
    return one_by_one(joined(whole), products[:, body:])[:, None]
