"""The sums of a pair in one pass over the data, compiled by numba; ``rows.py`` is the text that they must equal.

Nothing but ``rows.py`` imports this module, since numba takes a second to load. Blocks stay in the first cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import overload

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


def real_of(x: Any, scale: Any, zero_point: Any) -> Any:
    """The real value of a stored one, float32: an integer of up to 17 bits is exact there, and rounded once."""
    raise NotImplementedError  # compiled only, by the type of ``x``


@overload(real_of, strict=False)
def _real_of(x: Any, scale: Any, zero_point: Any) -> Any:  # pragma: no cover
    del scale, zero_point
    if isinstance(x, types.Float):
        return lambda x, scale, zero_point: np.float32(x)
    return lambda x, scale, zero_point: scale * np.float32(np.int32(np.int32(x) - zero_point))


def step_of(x: Any, real: Any, is_own: Any, grid: Any) -> Any:
    """The integer of the grid less its zero point: of the value itself, or the nearest one, halves away from zero.

    ``grid``: scale, zero point, lowest and highest integer less it. Clipping comes first: the ends are whole, so it
    changes nothing.
    """
    raise NotImplementedError  # compiled only, by the type of ``x``


@compiled
def nearest(real: Any, scale: Any, low: Any, high: Any) -> Any:  # pragma: no cover
    """Steps from zero, clipped."""
    t = real / scale
    t = low if t < low else t
    t = high if t > high else t
    return np.int32(t + np.copysign(NEARLY_HALF, t))


@overload(step_of, strict=False)
def _step_of(x: Any, real: Any, is_own: Any, grid: Any) -> Any:  # pragma: no cover
    del real, is_own, grid
    if isinstance(x, types.Float):
        return lambda x, real, is_own, grid: nearest(real, grid[0], grid[2], grid[3])

    def of_integer(x: Any, real: Any, is_own: Any, grid: Any) -> Any:
        if is_own:
            return np.int32(np.int32(x) - grid[1])
        return nearest(real, grid[0], grid[2], grid[3])

    return of_integer


@compiled
def add_floats(x: Array, y: Array, maps: tuple[Any, Any, Any, Any], sums: Array) -> None:  # pragma: no cover
    """Error, squared error, squares of both, product; ``maps``: scale and zero point of both."""
    error, squared, ours, theirs, product = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(x.shape[0]):
        r, c = np.float64(real_of(x[j], maps[0], maps[1])), np.float64(real_of(y[j], maps[2], maps[3]))
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
def key_of(real: Any) -> Any:  # pragma: no cover
    """An integer in the order of the floats: their bits, the lower ones turned over where the sign is set."""
    bits = np.float32(real).view(np.int32)
    return np.int32(bits ^ ((bits >> 31) & TOP))


@compiled
def float_of(key: Any) -> Any:  # pragma: no cover
    """The float whose place in the order is ``key``."""
    return np.int32(key ^ ((key >> 31) & TOP)).view(np.float32)


@compiled
def block_extremes(x: Array, y: Array, maps: tuple[Any, Any, Any, Any]) -> tuple[Any, ...]:  # pragma: no cover
    """Largest absolute error, smallest and largest of both."""
    worst, low_a, low_b, high_a, high_b = np.int32(0), np.int32(TOP), np.int32(TOP), np.int32(~TOP), np.int32(~TOP)
    for j in range(x.shape[0]):
        r, c = real_of(x[j], maps[0], maps[1]), real_of(y[j], maps[2], maps[3])
        worst = max(worst, np.float32(abs(c - r)).view(np.int32))
        ours, theirs = key_of(r), key_of(c)
        low_a, high_a = min(low_a, ours), max(high_a, ours)
        low_b, high_b = min(low_b, theirs), max(high_b, theirs)
    return float_of(worst), float_of(low_a), float_of(high_a), float_of(low_b), float_of(high_b)


@compiled
def count_steps(  # pragma: no cover
    x: Array, y: Array, maps: tuple[Any, Any, Any, Any], own: tuple[bool, bool], grid: tuple[Any, ...], counts: Array
) -> None:
    """Differing, largest, sum and absolute sum of steps; candidate integers at both ends."""
    differing, largest, total, absolute = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    at_low, at_high, low, high = np.int32(0), np.int32(0), np.int32(grid[2]), np.int32(grid[3])
    for j in range(x.shape[0]):
        r, c = real_of(x[j], maps[0], maps[1]), real_of(y[j], maps[2], maps[3])
        theirs = step_of(y[j], c, own[1], grid)
        d = np.int32(theirs - step_of(x[j], r, own[0], grid))
        size = np.int32(abs(d))
        differing = np.int32(differing + (d != 0))
        largest = max(largest, size)
        total = np.int32(total + d)
        absolute = np.int32(absolute + size)
        at_low = np.int32(at_low + (theirs == low))
        at_high = np.int32(at_high + (theirs == high))
    counts[0] += differing
    counts[1] = max(counts[1], largest)
    counts[2] += total
    counts[3] += absolute
    counts[6] += at_low
    counts[7] += at_high


@compiled
def count_clipped(  # pragma: no cover
    x: Array, maps: tuple[Any, Any, Any, Any], lower: Any, upper: Any, counts: Array
) -> None:
    """Reference values that the grid cuts off below and above."""
    below, above = np.int32(0), np.int32(0)
    for j in range(x.shape[0]):
        r = real_of(x[j], maps[0], maps[1])
        below = np.int32(below + (r < lower))
        above = np.int32(above + (r > upper))
    counts[4] += below
    counts[5] += above


@compiled
def add_rows(x: Array, y: Array, facts: Array, rows: Array) -> None:  # pragma: no cover
    """All of it for every row, see ``rows.RowSums``.

    ``facts`` of each side: scale, zero point, and whether it holds integers of the grid. Then of the grid: whether
    there is one, scale, zero point, lowest and highest integer, and the real values where it clips.
    """
    maps = np.float32(facts[0]), np.int32(facts[1]), np.float32(facts[3]), np.int32(facts[4])
    own, has_grid, zero_point = (facts[2] > 0, facts[5] > 0), facts[6] > 0, np.int32(facts[8])
    grid = np.float32(facts[7]), zero_point, np.float32(facts[9] - zero_point), np.float32(facts[10] - zero_point)
    lower, upper = np.float32(facts[11]), np.float32(facts[12])
    for i in range(x.shape[0]):
        sums, ends, counts = rows[i, :5], rows[i, 5:10], rows[i, 10:]
        for start in range(0, x.shape[1], BLOCK):
            ours, theirs = x[i, start : start + BLOCK], y[i, start : start + BLOCK]
            add_floats(ours, theirs, maps, sums)
            worst, low_a, high_a, low_b, high_b = block_extremes(ours, theirs, maps)
            ends[0], ends[1], ends[2] = max(ends[0], worst), min(ends[1], low_a), max(ends[2], high_a)
            ends[3], ends[4] = min(ends[3], low_b), max(ends[4], high_b)
            if has_grid:
                count_steps(ours, theirs, maps, own, grid, counts)
                if low_a < lower or high_a > upper:  # else there is nothing to count
                    count_clipped(ours, maps, lower, upper, counts)
