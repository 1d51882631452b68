"""Float products of ``builtin`` on ARM64: ruy ``kernel_arm64.cc``, and LiteRT ``cpu_backend_gemm_custom_gemv.h``.

Found by probing: two huge values of opposite sign among ones show which sums they meet in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import flushed, fused_multiply_add

LANES = 4
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
