"""The sums of a pair in one pass over the data, compiled by numba; ``rows.py`` is the text that they must equal.

Nothing but ``rows.py`` imports this module, since numba takes a second to load. Blocks stay in the first cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from quantdiff.quant import Array

Function = TypeVar("Function", bound=Callable[..., object])
BLOCK, TOP = 2048, 2**31 - 1
NEARLY_HALF = np.float32(0.49999997)  # the float below 0.5: adding 0.5 itself would carry 0.49999997 over to 1
ANY_ORDER = {"reassoc", "nsz", "contract"}
"""Let sums run in several lanes at once; the order then depends on the processor, not on the data or their parts."""


def compiled(function: Function) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    try:
        return cast(Function, njit(cache=True, nogil=True, fastmath=ANY_ORDER)(function))
    except RuntimeError:  # no folder that a cache could be written to
        return cast(Function, njit(nogil=True, fastmath=ANY_ORDER)(function))


@compiled
def real_block(x: Array, scale: np.float32, zero_point: int, is_integer: bool, real: Array) -> None:  # pragma: no cover
    """Real values, float32: an integer of up to 17 bits is exact in float32, so that the product is rounded once."""
    if is_integer:
        offset = np.int32(zero_point)
        for j in range(x.shape[0]):
            real[j] = scale * np.float32(np.int32(np.int32(x[j]) - offset))
    else:
        for j in range(x.shape[0]):
            real[j] = np.float32(x[j])


@compiled
def step_block(  # pragma: no cover
    x: Array, real: Array, scale: np.float32, integers: tuple[int, int, int], is_own: bool, steps: Array
) -> None:
    """Integers of the grid: the values themselves, or the nearest ones, halves away from zero, clipped.

    ``integers``: zero point, lowest, highest. Clipping comes first: the ends are whole, so it changes nothing.
    """
    zero_point = np.int32(integers[0])
    if is_own:
        for j in range(x.shape[0]):
            steps[j] = np.int32(x[j])
    else:
        low, high = np.float32(integers[1] - zero_point), np.float32(integers[2] - zero_point)
        for j in range(x.shape[0]):
            t = real[j] / scale
            t = low if t < low else t
            t = high if t > high else t
            steps[j] = np.int32(t + np.copysign(NEARLY_HALF, t)) + zero_point


@compiled
def add_floats(a: Array, b: Array, sums: Array) -> None:  # pragma: no cover
    """Error, squared error, squares of both, product."""
    error, squared, ours, theirs, product = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(a.shape[0]):
        r, c = np.float64(a[j]), np.float64(b[j])
        e = c - r
        error += e
        squared += e * e
        ours += r * r
        theirs += c * c
        product += r * c
    sums[0] += error
    sums[1] += squared
    sums[2] += ours
    sums[3] += theirs
    sums[4] += product


@compiled
def float_of(key: Any) -> Any:  # pragma: no cover
    """The float whose place in the order is ``key``."""
    return np.int32(key ^ ((key >> 31) & TOP)).view(np.float32)


@compiled
def block_extremes(a: Array, b: Array) -> tuple[float, float, float, float, float]:  # pragma: no cover
    """Largest absolute error, smallest and largest of both.

    The bits of floats, the lower ones turned over where the sign is set, are integers in the same order: several
    of these are compared at once.
    """
    worst, low_a, low_b, high_a, high_b = np.int32(0), np.int32(TOP), np.int32(TOP), np.int32(~TOP), np.int32(~TOP)
    bits_a, bits_b = a.view(np.int32), b.view(np.int32)
    for j in range(a.shape[0]):
        worst = max(worst, np.float32(abs(b[j] - a[j])).view(np.int32))
        key = np.int32(bits_a[j] ^ ((bits_a[j] >> 31) & TOP))
        low_a, high_a = min(low_a, key), max(high_a, key)
        key = np.int32(bits_b[j] ^ ((bits_b[j] >> 31) & TOP))
        low_b, high_b = min(low_b, key), max(high_b, key)
    return float_of(worst), float_of(low_a), float_of(high_a), float_of(low_b), float_of(high_b)


@compiled
def count_steps(ours: Array, theirs: Array, ends: tuple[int, int], counts: Array) -> None:  # pragma: no cover
    """Differing, largest, sum and absolute sum of steps; candidate integers at both ends."""
    differing, largest, total, absolute = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    at_low, at_high, low, high = np.int32(0), np.int32(0), np.int32(ends[0]), np.int32(ends[1])
    for j in range(ours.shape[0]):
        d = np.int32(theirs[j] - ours[j])
        size = np.int32(abs(d))
        differing = np.int32(differing + (d != 0))
        largest = max(largest, size)
        total = np.int32(total + d)
        absolute = np.int32(absolute + size)
        at_low = np.int32(at_low + (theirs[j] == low))
        at_high = np.int32(at_high + (theirs[j] == high))
    counts[0] += differing
    counts[1] = max(counts[1], largest)
    counts[2] += total
    counts[3] += absolute
    counts[6] += at_low
    counts[7] += at_high


@compiled
def count_clipped(a: Array, lower: np.float32, upper: np.float32, counts: Array) -> None:  # pragma: no cover
    """Reference values that the grid cuts off below and above."""
    below, above = np.int32(0), np.int32(0)
    for j in range(a.shape[0]):
        below = np.int32(below + (a[j] < lower))
        above = np.int32(above + (a[j] > upper))
    counts[4] += below
    counts[5] += above


@compiled
def add_rows(x: Array, y: Array, facts: Array, rows: Array) -> None:  # pragma: no cover
    """All of it for every row, see ``rows.RowSums``.

    ``facts`` of each side: scale, zero point, whether it holds integers, and whether these are the grid's own. Then of
    the grid: whether there is one, scale, zero point, lowest and highest integer, and the real values where it clips.
    """
    has_grid, zero_point, low, high = facts[8] > 0, int(facts[10]), int(facts[11]), int(facts[12])
    scale, lower, upper = np.float32(facts[9]), np.float32(facts[13]), np.float32(facts[14])
    scales, zero_points = (np.float32(facts[0]), np.float32(facts[4])), (int(facts[1]), int(facts[5]))
    real = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    steps = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    for i in range(x.shape[0]):
        sums, ends, counts = rows[i, :5], rows[i, 5:10], rows[i, 10:]
        for start in range(0, x.shape[1], BLOCK):
            ours, theirs = x[i, start : start + BLOCK], y[i, start : start + BLOCK]
            n = ours.shape[0]
            a, b = real[0][:n], real[1][:n]
            real_block(ours, scales[0], zero_points[0], facts[2] > 0, a)
            real_block(theirs, scales[1], zero_points[1], facts[6] > 0, b)
            add_floats(a, b, sums)
            worst, low_a, high_a, low_b, high_b = block_extremes(a, b)
            ends[0], ends[1], ends[2] = max(ends[0], worst), min(ends[1], low_a), max(ends[2], high_a)
            ends[3], ends[4] = min(ends[3], low_b), max(ends[4], high_b)
            if has_grid:
                p, q = steps[0][:n], steps[1][:n]
                step_block(ours, a, scale, (zero_point, low, high), facts[3] > 0, p)
                step_block(theirs, b, scale, (zero_point, low, high), facts[7] > 0, q)
                count_steps(p, q, (low, high), counts)
                if low_a < lower or high_a > upper:  # else there is nothing to count
                    count_clipped(a, lower, upper, counts)
