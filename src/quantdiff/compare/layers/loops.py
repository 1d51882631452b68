"""The sums of a pair in one pass over the data, compiled by numba; ``rows.py`` is the text that they must equal.

Nothing but ``rows.py`` imports this module, since numba takes a second to load. Blocks stay in the first cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

from quantdiff.quant import Array

Function = TypeVar("Function", bound=Callable[..., None])
BLOCK, TOP = 2048, 2**31 - 1
ANY_ORDER = {"reassoc", "nsz", "contract"}
"""Let sums run in several lanes at once; the order then depends on the processor, not on the data or their parts."""


def compiled(function: Function) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    try:
        return cast(Function, njit(cache=True, nogil=True, fastmath=ANY_ORDER)(function))
    except RuntimeError:  # no folder that a cache could be written to
        return cast(Function, njit(nogil=True, fastmath=ANY_ORDER)(function))


@compiled
def real_block(x: Array, scale: float, zero_point: int, is_integer: bool, real: Array) -> None:  # pragma: no cover
    """Real values, float32."""
    if is_integer:
        for j in range(x.shape[0]):
            real[j] = np.float32(scale * np.float64(np.int32(x[j]) - zero_point))
    else:
        for j in range(x.shape[0]):
            real[j] = np.float32(x[j])


@compiled
def step_block(  # pragma: no cover
    x: Array, real: Array, scale: float, integers: tuple[int, int, int], is_own: bool, steps: Array
) -> None:
    """Integers of the grid: the values themselves, or the nearest ones, halves away from zero, clipped.

    ``integers``: zero point, lowest, highest.
    """
    zero_point = integers[0]
    if is_own:
        for j in range(x.shape[0]):
            steps[j] = np.int32(x[j])
    else:
        low, high, size = np.float32(integers[1] - zero_point), np.float32(integers[2] - zero_point), np.float32(scale)
        for j in range(x.shape[0]):
            t = real[j] / size
            whole = np.copysign(np.float32(np.floor(np.float64(abs(t)) + 0.5)), t)
            whole = low if whole < low else whole
            whole = high if whole > high else whole
            steps[j] = np.int32(whole) + zero_point


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
def widen(a: Array, b: Array, errors: Array, extremes: Array) -> None:  # pragma: no cover
    """Largest absolute error, smallest and largest of both.

    The bits of floats, the lower ones turned over where the sign is set, are integers in the same order: several
    of these are compared at once. ``errors`` is room for a block.
    """
    for j in range(a.shape[0]):
        errors[j] = abs(b[j] - a[j])
    worst, bits = np.int32(0), errors.view(np.int32)
    for j in range(a.shape[0]):
        worst = max(worst, bits[j])
    bits[0] = worst
    extremes[0] = max(extremes[0], errors[0])
    for values, at in ((a, 1), (b, 3)):
        low, high = np.int32(TOP), np.int32(-TOP - 1)
        bits = values.view(np.int32)
        for j in range(a.shape[0]):
            key = bits[j] ^ ((bits[j] >> 31) & TOP)
            low = min(low, key)
            high = max(high, key)
        ends = np.array([low ^ ((low >> 31) & TOP), high ^ ((high >> 31) & TOP)], np.int32).view(np.float32)
        extremes[at], extremes[at + 1] = min(extremes[at], ends[0]), max(extremes[at + 1], ends[1])


@compiled
def count(  # pragma: no cover
    a: Array, ours: Array, theirs: Array, ends: tuple[int, int], bounds: tuple[float, float], counts: Array
) -> None:
    """Differing, largest, sum and absolute sum of steps; clipped below and above; at both ends."""
    differing, largest, total, absolute = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    below, above, at_low, at_high = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    low, high, lower, upper = np.int32(ends[0]), np.int32(ends[1]), np.float32(bounds[0]), np.float32(bounds[1])
    for j in range(a.shape[0]):
        d = theirs[j] - ours[j]
        size = abs(d)
        differing += np.int32(d != 0)
        largest = size if size > largest else largest
        total += d
        absolute += size
        below += np.int32(a[j] < lower)
        above += np.int32(a[j] > upper)
        at_low += np.int32(theirs[j] == low)
        at_high += np.int32(theirs[j] == high)
    counts[0] += differing
    counts[1] = max(counts[1], largest)
    counts[2] += total
    counts[3] += absolute
    counts[4] += below
    counts[5] += above
    counts[6] += at_low
    counts[7] += at_high


@compiled
def add_rows(  # pragma: no cover
    sides: tuple[Array, Array],
    maps: tuple[tuple[float, int, bool, bool], tuple[float, int, bool, bool]],
    grid: tuple[bool, float, int, int, int, float, float],
    results: tuple[Array, Array, Array],
) -> None:
    """All of it for every row; see ``rows.RowSums``.

    ``maps``: scale, zero point, whether the side holds integers, and whether these are the grid's own. ``grid``:
    whether there is one, scale, zero point, lowest and highest integer, and the real values beyond which it clips.
    """
    x, y = sides
    has_grid, scale, zero_point, low, high, lower, upper = grid
    real = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    steps, errors = (np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)), np.empty(BLOCK, np.float32)
    for i in range(x.shape[0]):
        for start in range(0, x.shape[1], BLOCK):
            ours, theirs = x[i, start : start + BLOCK], y[i, start : start + BLOCK]
            n = ours.shape[0]
            a, b = real[0][:n], real[1][:n]
            real_block(ours, maps[0][0], maps[0][1], maps[0][2], a)
            real_block(theirs, maps[1][0], maps[1][1], maps[1][2], b)
            add_floats(a, b, results[0][i])
            widen(a, b, errors[:n], results[1][i])
            if has_grid:
                p, q = steps[0][:n], steps[1][:n]
                step_block(ours, a, scale, (zero_point, low, high), maps[0][3], p)
                step_block(theirs, b, scale, (zero_point, low, high), maps[1][3], q)
                count(a, p, q, (low, high), (lower, upper), results[2][i])
