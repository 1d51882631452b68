"""The sums of a pair in one pass over the data, compiled by numba; ``rows.py`` is the text that they must equal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from quantdiff.quant import NEARLY_HALF, Array

ANY_NUMBER = ("nnan", "nsz")
"""NaN may give either operand, and so may zeros of two signs: as the processor finds it fastest."""
READ, KEPT_NEAR, DATA = 0, 3, 1


def _choice(comparison: str) -> Any:  # pragma: no cover
    def choose(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        is_first = builder.fcmp_ordered(comparison, *arguments, flags=ANY_NUMBER)
        return builder.select(is_first, *arguments, flags=ANY_NUMBER)

    return choose


def _lower(typing: Any, a: Any, b: Any) -> Any:  # pragma: no cover
    del typing, b
    return a(a, a), _choice("<")


def _upper(typing: Any, a: Any, b: Any) -> Any:  # pragma: no cover
    del typing, b
    return a(a, a), _choice(">")


def _fetch(typing: Any, array: Any, index: Any) -> Any:  # pragma: no cover
    del typing
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)

    def ask(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        place = builder.bitcast(builder.gep(start, [arguments[1]]), byte)
        builder.call(prefetch, [place, number(READ), number(KEPT_NEAR), number(DATA)])
        return context.get_dummy_value()

    return types.void(array, index), ask


lower: Any = intrinsic(_lower)
"""The smaller of two floats of one type; Python's own ``min`` heeds NaN and does not run in lanes."""
upper: Any = intrinsic(_upper)
"""The larger of two floats of one type."""
fetch: Any = intrinsic(_fetch)
"""Ask for the memory around an element of an array without gaps, and do not wait for it."""


Function = TypeVar("Function", bound=Callable[..., object])
BLOCK = 1024
AT_ONCE = 64  # bytes that memory gives at once
LARGE = np.float32(np.inf)
ANY_ORDER = {"reassoc", "nsz"}
"""Let sums run in several lanes at once; the order then depends on the processor, not on the data or their parts."""
FUSED = ANY_ORDER | {"contract"}
"""A product that is added need not be rounded before. A real value must: so it is, wherever it is stored."""


def compiled(function: Function, freedom: Collection[str] = ANY_ORDER) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    try:
        return cast(Function, njit(cache=True, nogil=True, fastmath=set(freedom))(function))
    except RuntimeError:  # no folder that a cache could be written to
        return cast(Function, njit(nogil=True, fastmath=set(freedom))(function))


def fused(function: Function) -> Function:
    """The same, for sums of products of doubles."""
    return compiled(function, FUSED)


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


@fused
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
def add_steps(  # pragma: no cover
    x: Array, y: Array, maps: tuple[Any, Any, Any, Any], own: tuple[bool, bool], grid: tuple[Any, ...], counts: Array
) -> tuple[Any, ...]:
    """Differing, largest, sum and absolute sum of steps; gives the largest absolute error, and the ends of ours."""
    worst, low, high = np.float32(0), LARGE, -LARGE
    differing, largest, total, absolute = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for j in range(x.shape[0]):
        r, c = real_of(x[j], maps[0], maps[1]), real_of(y[j], maps[2], maps[3])
        worst = upper(np.float32(abs(c - r)), worst)
        low, high = lower(r, low), upper(r, high)
        d = np.int32(step_of(y[j], c, own[1], grid) - step_of(x[j], r, own[0], grid))
        size = np.int32(abs(d))
        differing = np.int32(differing + min(size, np.int32(1)))
        largest = max(largest, size)
        total = np.int32(total + d)
        absolute = np.int32(absolute + size)
    counts[0] += differing
    counts[1] = max(counts[1], largest)
    counts[2] += total
    counts[3] += absolute
    return worst, low, high


def ends_of(x: Any, scale: Any, zero_point: Any) -> Any:
    """The smallest and the largest real value of some."""
    raise NotImplementedError  # compiled only, by the type of ``x``


@overload(ends_of, strict=False)
def _ends_of(x: Any, scale: Any, zero_point: Any) -> Any:  # pragma: no cover
    del scale, zero_point

    def of_floats(x: Any, scale: Any, zero_point: Any) -> Any:
        low, high = LARGE, -LARGE
        for j in range(x.shape[0]):
            low, high = lower(np.float32(x[j]), low), upper(np.float32(x[j]), high)
        return low, high

    def of_integers(x: Any, scale: Any, zero_point: Any) -> Any:
        low, high = x[0], x[0]
        for j in range(x.shape[0]):
            low, high = min(low, x[j]), max(high, x[j])
        return real_of(low, scale, zero_point), real_of(high, scale, zero_point)

    return of_floats if isinstance(x.dtype, types.Float) else of_integers


@compiled
def count_of(  # pragma: no cover
    y: Array, maps: tuple[Any, Any, Any, Any], own: tuple[bool, bool], grid: tuple[Any, ...], wanted: Any
) -> Any:
    """How many candidate integers are this one, less the zero point."""
    count = np.int32(0)
    for j in range(y.shape[0]):
        count = np.int32(count + (step_of(y[j], real_of(y[j], maps[2], maps[3]), own[1], grid) == wanted))
    return count


@compiled
def count_clipped(  # pragma: no cover
    x: Array, maps: tuple[Any, Any, Any, Any], cut_low: Any, cut_high: Any, counts: Array
) -> None:
    """Reference values that the grid cuts off below and above."""
    below, above = np.int32(0), np.int32(0)
    for j in range(x.shape[0]):
        r = real_of(x[j], maps[0], maps[1])
        below = np.int32(below + (r < cut_low))
        above = np.int32(above + (r > cut_high))
    counts[4] += below
    counts[5] += above


@compiled
def fetch_part(x: Array, start: Any, stop: Any) -> None:  # pragma: no cover
    """Ask for a part of a row, where there is one."""
    for j in range(start, min(stop, x.shape[0]), AT_ONCE // x.itemsize):
        fetch(x, j)


@compiled
def add_rows(x: Array, y: Array, facts: Array, rows: Array) -> None:  # pragma: no cover
    """All of it for every row, see ``stats.RowSums``.

    ``facts`` of each side: scale, zero point, and whether it holds integers of the grid. Then of the grid: whether
    there is one, scale, zero point, lowest and highest integer, and the real values where it clips.
    """
    maps = np.float32(facts[0]), np.int32(facts[1]), np.float32(facts[3]), np.int32(facts[4])
    own, has_grid, zero_point = (facts[2] > 0, facts[5] > 0), facts[6] > 0, np.int32(facts[8])
    grid = np.float32(facts[7]), zero_point, np.float32(facts[9] - zero_point), np.float32(facts[10] - zero_point)
    cut_low, cut_high = np.float32(facts[11]), np.float32(facts[12])
    unused = np.zeros(8)
    for i in range(x.shape[0]):
        sums, ends, counts = rows[i, :5], rows[i, 5:10], rows[i, 10:] if has_grid else unused
        for start in range(0, x.shape[1], BLOCK):
            ours, theirs = x[i, start : start + BLOCK], y[i, start : start + BLOCK]
            half, stop = start + BLOCK + BLOCK // 2, start + 2 * BLOCK
            fetch_part(x[i], start + BLOCK, half)  # of the next block; more than a few at once have to wait
            add_floats(ours, theirs, maps, sums)
            fetch_part(x[i], half, stop)
            fetch_part(y[i], start + BLOCK, stop)
            worst, low, high = add_steps(ours, theirs, maps, own, grid, counts)
            ends[0], ends[1], ends[2] = max(ends[0], worst), min(ends[1], low), max(ends[2], high)
            if low < cut_low or high > cut_high:  # else there is nothing to count
                count_clipped(ours, maps, cut_low, cut_high, counts)
            low, high = ends_of(theirs, maps[2], maps[3])
            ends[3], ends[4] = min(ends[3], low), max(ends[4], high)
            first, last = nearest(low, grid[0], grid[2], grid[3]), nearest(high, grid[0], grid[2], grid[3])
            if first == grid[2]:
                counts[6] += count_of(theirs, maps, own, grid, first)
            if last == grid[3]:
                counts[7] += count_of(theirs, maps, own, grid, last)
