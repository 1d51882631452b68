"""Stats by hand, from arrays and from rows; those of parts of the data add up to the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from quantdiff.errors import NotComparable
from quantdiff.quant import Array, Grid, QuantParams, Value, quantize
from quantdiff.tally.rows import row_sums
from quantdiff.tally.stats import COLUMNS, Stats, counted, stats_of, stats_of_rows

STEPS = QuantParams((0.5,), (0,))
GRID = Grid(STEPS, "int8", "t")
A, B = np.array([[1.0, 2.0], [0.0, -4.0]]), np.array([[1.5, 2.0], [0.25, -3.0]])


def measure(reference: Array, candidate: Array, first: int = 0) -> Stats:
    """The stats of floats and integers of ``GRID``, by rows."""
    values = Value("r", reference.astype(np.float32)), Value("c", candidate.astype(np.int8), STEPS, GRID)
    return stats_of_rows(row_sums(*values, GRID), candidate.size, first, "r or c")


def test_sums_hold_by_hand() -> None:
    seen = stats_of(A, B, 0.25)
    sums = (seen.abs_error, seen.squared_error, seen.squared_reference, seen.squared_candidate, seen.product)
    assert [float(counted(each)) for each in sums] == [1.75, 1.3125, 21.0, 15.3125, 17.5]
    assert (seen.count, seen.far, seen.decisions, seen.agreeing) == (4, 2, 2, 2)
    assert (seen.max_abs_error, seen.max_relative_error) == (1.0, 0.5)
    assert (seen.differing, seen.max_steps) == (None, None)


def test_both_ways_count_the_same() -> None:
    dice = np.random.default_rng(2)
    real = np.rint(dice.normal(0, 90, (20, 9))).astype(np.float32) / 4  # so that no sum is rounded
    integers = quantize(real, STEPS, "int8")
    by_rows = measure(real, integers)
    by_arrays = stats_of(real, integers * 0.5, steps=(integers, integers))
    for column in ("count", "squared_error", "squared_reference", "squared_candidate", "product", "max_abs_error"):
        assert getattr(by_rows, column) == getattr(by_arrays, column)
    assert (by_rows.differing, by_rows.max_steps) == (by_arrays.differing, by_arrays.max_steps) == (0, 0)


def test_what_was_not_counted_in_a_part_is_not_counted_at_all() -> None:
    a, b = np.array([[1, 2]]), np.array([[1, 3]])
    assert (stats_of(a, b, 0, (a, b)) + stats_of(a, b, 0, (a, b))).differing == 2
    assert (stats_of(a, b, 0, (a, b)) + stats_of(a, b, 0)).differing is None
    assert (stats_of(a, b) + measure(A, 2 * B)).far is None
    assert Stats() + stats_of(a, b) == stats_of(a, b) == stats_of(a, b) + Stats()


def test_parts_of_arrays_add_up() -> None:
    dice = np.random.default_rng(1)
    a, b = dice.normal(0, 9, (2, 50, 3)) * 10.0 ** dice.integers(-9, 2, (50, 1))
    a[:7] = 0
    parts = [stats_of(a[i:j], b[i:j], 0.1) for i, j in pairwise([0, 7, 8, 30, 50])]
    assert sum(parts, Stats()) == sum(reversed(parts), Stats()) == stats_of(a, b, 0.1)


def test_parts_add_up_to_the_last_bit() -> None:
    dice = np.random.default_rng(3)
    x = dice.normal(0, 20, (97, 13)) * 10.0 ** dice.integers(-9, 2, (97, 1))
    q = quantize(x + dice.normal(0, 0.3, x.shape), STEPS, "int8")
    whole = measure(x, q)
    for cuts in ([1, 2, 50], [40], [96], range(1, 97)):
        parts = [measure(x[a:b], q[a:b], a) for a, b in pairwise([0, *cuts, 97])]
        assert sum(reversed(parts), Stats()) == whole


def test_of_equal_errors_the_first_sample_is_the_worst() -> None:
    stats = [measure(np.zeros((1, 1)), np.array([[3]]), i) for i in (5, 2, 9)]
    assert sum(stats, Stats()).worst == (2.25, 2)


def test_rows_and_stats_call_the_same_columns_the_same() -> None:
    assert {*COLUMNS} - {*Stats.__dataclass_fields__} == {"steps"}, "tally/stats.py: Stats has no such column"


def test_every_column_is_counted() -> None:
    by_rows, by_arrays = measure(A, np.array([[3, 4], [0, -6]])), stats_of(A, B, 0.25, (A.astype(int), B.astype(int)))
    counted_by_rows, by_any = (
        {name for name in Stats.__dataclass_fields__ if any(getattr(each, name) is not None for each in sides)}
        for sides in ((by_rows,), (by_rows, by_arrays))
    )
    assert {*COLUMNS} - counted_by_rows == {"steps"}, "tally/stats.py: stats_of_rows"
    assert {*Stats.__dataclass_fields__} - by_any == set(), "tally/stats.py: stats_of, or stats_of_rows"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(bad: float) -> None:
    with pytest.raises(NotComparable, match="NaN or infinity"):
        measure(np.array([[bad, 1.0]]), np.array([[1, 2]]))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(NotComparable, match="shapes differ"):
        measure(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(NotComparable, match="nothing to compare"):
        measure(np.zeros((0, 2)), np.zeros((0, 2)))
