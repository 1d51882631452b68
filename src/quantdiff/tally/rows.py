"""The sums of a pair of values, sample by sample: in compiled loops, or in NumPy, which says the same to read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, dequantize, quantize
from quantdiff.trace import Grid, Value

WIDTH = 18  # of a row


@dataclass(frozen=True, slots=True)
class RowSums:
    """One row a sample, double or int64.

    ``sums``: error (candidate − reference), its square, squares of reference and candidate, their product.
    ``extremes``: largest absolute error, smallest and largest of the reference, of the candidate. ``counts``, on a
    grid: integers that differ, largest difference, its sum and absolute sum; reference values that the grid cuts off
    below and above; candidate integers at its lower and upper end.
    """

    sums: Array
    extremes: Array
    counts: Array

    def packed(self) -> Array:
        """All of it as doubles, (rows, ``WIDTH``); counts stay whole numbers below 2**53."""
        return np.concatenate([self.sums, self.extremes, self.counts], axis=1)

    @staticmethod
    def unpacked(packed: Array) -> RowSums:
        """What ``packed`` gave, in memory of its own."""
        return RowSums(packed[:, :5].copy(), packed[:, 5:10].copy(), packed[:, 10:].astype(np.int64))


def row_sums(reference: Value, candidate: Value, grid: Grid | None) -> RowSums:
    """Both values as (samples, elements), any type; in real units as float32, the sums in double.

    Raises:
        NotComparable: sizes differ, or there is nothing to compare.
    """
    _check_sizes(reference.array, candidate.array, reference.name)
    a, b = (value.array.reshape(len(value.array), -1) for value in (reference, candidate))
    compiled = loops()
    if compiled is None:
        return by_numpy((a, reference.quant), (b, candidate.quant), grid)
    n = len(a)
    extremes = np.tile([0.0, np.inf, -np.inf, np.inf, -np.inf], (n, 1))
    rows = RowSums(np.zeros((n, 5)), extremes, np.zeros((n, 8), np.int64))
    arrays = tuple(np.ascontiguousarray(x) for x in (a, b))
    maps = _map(reference, grid), _map(candidate, grid)
    compiled.add_rows(arrays, maps, _grid(grid), (rows.sums, rows.extremes, rows.counts))
    return rows


def _check_sizes(reference: Array, candidate: Array, name: str) -> None:
    if reference.size != candidate.size or len(reference) != len(candidate):
        raise NotComparable(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.size == 0:
        raise NotComparable(f"nothing to compare: {name} is empty")


@cache
def loops() -> ModuleType | None:
    """The compiled loops, or None where numba cannot be had."""
    try:
        return import_module("quantdiff.tally.loops")
    except ImportError:
        return None


def _map(value: Value, grid: Grid | None) -> tuple[float, int, bool, bool]:
    """Scale, zero point, whether the array holds integers, whether these are the grid's own."""
    if value.quant is None:
        return 1.0, 0, False, False
    return float(np.float32(value.quant.scale[0])), value.quant.zero_point[0], True, is_own(value, grid)


def is_own(value: Value, grid: Grid | None) -> bool:
    """Whether the array holds integers of the grid."""
    return grid is not None and value.quant == grid.params and value.array.dtype.name == grid.dtype


def _grid(grid: Grid | None) -> tuple[bool, float, int, int, int, float, float]:
    if grid is None:
        return False, 1.0, 0, 0, 0, 0.0, 0.0
    return (
        True,
        float(np.float32(grid.params.scale[0])),
        grid.params.zero_point[0],
        *INTEGER_RANGE[grid.dtype],
        *cut(grid),
    )


def cut(grid: Grid) -> tuple[float, float]:
    """Half a step below the lowest and above the highest real value: what lies beyond is clipped, not rounded."""
    scale, zero_point = float(np.float32(grid.params.scale[0])), grid.params.zero_point[0]
    low, high = INTEGER_RANGE[grid.dtype]
    return float(np.float32((low - 0.5 - zero_point) * scale)), float(np.float32((high + 0.5 - zero_point) * scale))


def by_numpy(
    reference: tuple[Array, QuantParams | None], candidate: tuple[Array, QuantParams | None], grid: Grid | None
) -> RowSums:
    """The same in NumPy, an array a step."""
    a, b = (_real(*side) for side in (reference, candidate))
    wide = a.astype(np.float64), b.astype(np.float64)
    error = wide[1] - wide[0]
    products = (error, error**2, wide[0] ** 2, wide[1] ** 2, wide[0] * wide[1])
    ends = (np.abs(b - a).max(1), a.min(1), a.max(1), b.min(1), b.max(1))
    counts = np.zeros((len(a), 8), np.int64)
    if grid is not None:
        (low, high), (lower, upper) = INTEGER_RANGE[grid.dtype], cut(grid)
        ours, theirs = (_steps(x, *side, grid) for x, side in ((a, reference), (b, candidate)))
        steps = theirs - ours
        facts = (steps != 0, np.abs(steps), steps, np.abs(steps), a < lower, a > upper, theirs == low, theirs == high)
        counts = np.stack([fact.max(1) if i == 1 else fact.sum(1) for i, fact in enumerate(facts)], 1)
    return RowSums(np.stack([x.sum(1) for x in products], 1), np.stack(ends, 1).astype(np.float64), counts)


def _real(array: Array, quant: QuantParams | None) -> Array:
    return array.astype(np.float32) if quant is None else dequantize(array, quant)


def _steps(real: Array, array: Array, quant: QuantParams | None, grid: Grid) -> Array:
    own = quant == grid.params and array.dtype.name == grid.dtype
    integers = array if own else quantize(real, grid.params, grid.dtype)
    return integers.astype(np.int64)
