"""The sums of a pair of values, sample by sample: in compiled loops, or in NumPy, which says the same to read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import INTEGER_RANGE, Array, Grid, QuantParams, Value, dequantize, quantize
from quantdiff.tally.stats import COLUMNS, RowSums

WIDTH = len(COLUMNS)
FLOAT = np.dtype(np.float32)
AT_ONCE = 2**16  # elements that NumPy takes at once: its intermediate arrays stay in the cache

Kind = tuple[QuantParams | None, np.dtype[Any]]
"""How an array is to be read: its quantization, None for plain numbers, and its dtype."""
Write = Callable[[Array, Array, Array], None]
"""Writes the rows of two arrays, reference and candidate, (samples, elements), over what its third argument holds."""


NOTHING = np.asarray([[{"min": np.inf, "max": -np.inf}.get(column[-3:], 0.0) for column in COLUMNS]])
"""A row before anything is added."""


def row_sums(reference: Value, candidate: Value, grid: Grid | None, *, compiled: bool = True) -> RowSums:
    """Both values as (samples, elements), any type; in real units as float32, the sums in double.

    Raises:
        NotComparable: sizes differ, or there is nothing to compare.
    """
    check_sizes(reference.array, candidate.array, reference.name)
    rows = np.empty((len(reference.array), WIDTH))
    ours_kind, theirs_kind = ((value.quant, value.array.dtype) for value in (reference, candidate))
    write = writer(ours_kind, theirs_kind, grid, compiled=compiled)
    ours, theirs = (value.array.reshape(len(rows), -1) for value in (reference, candidate))
    write(ours, theirs, rows)
    return RowSums(rows)


def check_sizes(reference: Array, candidate: Array, name: str) -> None:
    """Refuse what has no rows; raises ``NotComparable``."""
    if reference.size != candidate.size or len(reference) != len(candidate):
        raise NotComparable(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.size == 0:
        raise NotComparable(f"nothing to compare: {name} is empty")


def writer(reference: Kind, candidate: Kind, grid: Grid | None, *, compiled: bool = True) -> Write:
    """What writes the rows of arrays of these kinds, (samples, elements) of one size.

    ``compiled``: by the loops, where they can be had; they are fifty times as fast, and take seconds to load.
    """
    (quant, dtype), (their_quant, their_dtype), module = reference, candidate, loops() if compiled else None
    if module is None or _is_read_float(reference) or _is_read_float(candidate):
        return lambda ours, theirs, rows: _write_by_numpy((ours, quant), (theirs, their_quant), grid, rows)
    plain, their_plain = FLOAT if quant is None else dtype, FLOAT if their_quant is None else their_dtype
    facts, add_rows = _facts((quant, plain), (their_quant, their_plain), grid), module.add_rows

    def write(ours: Array, theirs: Array, rows: Array) -> None:
        if not ours.shape == theirs.shape == (len(rows), ours.shape[1]):  # the loops would read what is not there
            raise NotComparable(f"shapes differ: {ours.shape} and {theirs.shape}")
        rows[...] = NOTHING
        add_rows(np.ascontiguousarray(ours, plain), np.ascontiguousarray(theirs, their_plain), facts, rows)

    return write


def _is_read_float(kind: Kind) -> bool:
    return kind[0] is not None and kind[1].kind == "f"


def _write_by_numpy(
    ours: tuple[Array, QuantParams | None], theirs: tuple[Array, QuantParams | None], grid: Grid | None, rows: Array
) -> None:
    step = max(1, AT_ONCE // max(1, ours[0].shape[1]))
    for start in range(0, len(rows), step):
        a, b = ((x[start : start + step], quant) for x, quant in (ours, theirs))
        rows[start : start + step] = by_numpy(a, b, grid).packed


@cache
def loops() -> ModuleType | None:
    """The compiled loops, or None where numba cannot be had."""
    try:
        return import_module("quantdiff.tally.loops")
    except ImportError:
        return None


@lru_cache(maxsize=4096)
def _facts(reference: Kind, candidate: Kind, grid: Grid | None) -> Array:
    """What ``loops.add_rows`` is told: both sides, then the grid."""
    facts = np.asarray([*_map(reference, grid), *_map(candidate, grid), *_grid(grid)], np.float64)
    facts.flags.writeable = False
    return facts


def _map(kind: Kind, grid: Grid | None) -> tuple[float, int, bool]:
    """Scale, zero point, whether the array holds integers of the grid."""
    quant = kind[0]
    if quant is None:
        return 1.0, 0, False
    return float(np.float32(quant.scale[0])), quant.zero_point[0], is_own(kind, grid)


def is_own(kind: Kind, grid: Grid | None) -> bool:
    """Whether these are integers of the grid."""
    return grid is not None and kind[0] == grid.params and kind[1] == np.dtype(grid.dtype)


def _grid(grid: Grid | None) -> tuple[float, ...]:
    if grid is None:
        return (False, 1.0, 0, 0, 0, 0.0, 0.0)
    scale = float(np.float32(grid.params.scale[0]))
    return (True, scale, grid.params.zero_point[0], *INTEGER_RANGE[grid.dtype], *cut(grid))


def cut(grid: Grid) -> tuple[float, float]:
    """Half a step below the lowest and above the highest real value: what lies beyond is clipped, not rounded."""
    scale, zero_point = float(np.float32(grid.params.scale[0])), grid.params.zero_point[0]
    low, high = INTEGER_RANGE[grid.dtype]
    return float(np.float32((low - 0.5 - zero_point) * scale)), float(np.float32((high + 0.5 - zero_point) * scale))


def by_numpy(
    reference: tuple[Array, QuantParams | None], candidate: tuple[Array, QuantParams | None], grid: Grid | None
) -> RowSums:
    """The same in NumPy, an array a step. What is no number shows in the sums; its counts mean nothing."""
    with np.errstate(invalid="ignore", over="ignore"):
        return _by_numpy(reference, candidate, grid)


def _by_numpy(
    reference: tuple[Array, QuantParams | None], candidate: tuple[Array, QuantParams | None], grid: Grid | None
) -> RowSums:
    a, b = (_real(*side) for side in (reference, candidate))
    ours, theirs = a.astype(np.float64), b.astype(np.float64)
    error = theirs - ours
    sums: dict[str, Array] = {
        "error": error,
        "squared_error": error**2,
        "squared_reference": ours**2,
        "squared_candidate": theirs**2,
        "product": ours * theirs,
    }
    largest: dict[str, Array] = {"max_abs_error": np.abs(b - a), "reference_max": a, "candidate_max": b}
    if grid is not None:
        (low, high), (lower, upper) = INTEGER_RANGE[grid.dtype], cut(grid)
        own, other = (_steps(x, *side, grid) for x, side in ((a, reference), (b, candidate)))
        steps = other - own
        largest["max_steps"] = np.abs(steps)
        sums |= {"differing": steps != 0, "steps": steps, "abs_steps": np.abs(steps)}
        sums |= {"clipped_low": a < lower, "clipped_high": a > upper, "at_low": other == low, "at_high": other == high}
    columns = {"reference_min": a.min(1), "candidate_min": b.min(1)}
    columns |= {name: x.max(1) for name, x in largest.items()} | {name: x.sum(1) for name, x in sums.items()}
    nothing = np.zeros(len(a))
    return RowSums(np.stack([columns.get(name, nothing) for name in COLUMNS], 1).astype(np.float64, copy=False))


def _real(array: Array, quant: QuantParams | None) -> Array:
    return array.astype(np.float32) if quant is None else dequantize(array, quant)


def _steps(real: Array, array: Array, quant: QuantParams | None, grid: Grid) -> Array:
    if is_own((quant, array.dtype), grid):
        return array.astype(np.int64)
    return quantize(np.where(np.isnan(real), 0, real), grid.params, grid.dtype).astype(np.int64)
