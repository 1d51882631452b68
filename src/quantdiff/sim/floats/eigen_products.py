"""Products of float matrices as Eigen makes them for LiteRT's ``builtin`` kernels, in vectors of four, without FMA.

LiteRT ``tflite/kernels/cpu_backend_gemm_eigen.cc``; Eigen ``src/Core/products/GeneralMatrixMatrix.h``,
``GeneralBlockPanelKernel.h`` (``gebp_kernel``, ``evaluateProductBlockingSizesHeuristic``); for one row
``GeneralMatrixVector.h`` and ``src/Core/InnerProduct.h``, for very small ones ``src/Core/Redux.h``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.eigen import LANES, aligned_sums, joined, one_by_one
from quantdiff.sim.node import NoKernel
from quantdiff.sim.processor import level_1_data_cache

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
