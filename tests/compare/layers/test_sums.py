"""Figures from sums by hand; parts of the data add up to the whole."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from quantdiff.compare.layers.figures import YARDSTICK, figures_of
from quantdiff.compare.layers.sums import Sums, sums_of
from quantdiff.compare.layers.watch import Gathered
from quantdiff.errors import NotComparable
from quantdiff.quant import Array, Grid, QuantParams, quantize
from quantdiff.tally.rows import row_sums
from quantdiff.trace import Value

STEPS = QuantParams((0.5,), (0,))
GRID = Grid(STEPS, "int8", "t")


def pair(reference: Array, candidate: Array) -> tuple[Value, Value]:
    return Value("r", reference.astype(np.float32)), Value("c", candidate.astype(np.int8), STEPS, GRID)


def measure(reference: Value, candidate: Value, grid: Grid | None, first: int) -> Sums:
    return sums_of(row_sums(reference, candidate, grid), candidate.array.size, first, "r or c")


def test_figures_by_hand() -> None:
    sums = measure(*pair(np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([[2, 6], [5, -8]])), GRID, 10)
    figures = figures_of(sums, GRID)  # the candidate is 1, 3, 2.5, -4: errors 0, 1, -0.5, 0
    assert (figures.count, figures.differing, figures.max_steps) == (4, 2, 2)
    assert figures.mean_steps == pytest.approx((0 + 2 - 1 + 0) / 4)
    assert figures.mean_abs_steps == pytest.approx(3 / 4)
    assert figures.rmse_steps == pytest.approx(math.sqrt(1.25 / 4) / 0.5)
    assert figures.sqnr_db == pytest.approx(10 * math.log10(30 / 1.25))
    assert figures.cosine == pytest.approx((1 + 6 + 7.5 + 16) / math.sqrt(30 * 32.25))
    assert (figures.max_abs_error, figures.step, figures.worst_sample) == (1.0, 0.5, 10)
    assert (figures.reference_min, figures.reference_max) == (-4, 3)
    assert (figures.candidate_min, figures.candidate_max) == (-4, 3)


def test_rounding_alone_comes_near_the_yardstick() -> None:
    x = np.random.default_rng(0).uniform(-60, 60, (100, 100)).astype(np.float32)
    figures = figures_of(measure(*pair(x, quantize(x, STEPS, "int8")), GRID, 0), GRID)
    assert figures.rmse_steps == pytest.approx(YARDSTICK, rel=0.02)
    assert figures.differing == 0


def test_without_a_grid_steps_have_no_value() -> None:
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    figures = figures_of(measure(Value("r", x), Value("c", x), None, 0), None)
    assert (figures.differing, figures.rmse_steps, figures.clipped_low, figures.step) == (None, None, None, None)
    assert figures.sqnr_db == math.inf


def test_parts_add_up_to_the_last_bit() -> None:
    dice = np.random.default_rng(3)
    x = dice.normal(0, 20, (97, 13)) * 10.0 ** dice.integers(-9, 2, (97, 1))
    q = quantize(x + dice.normal(0, 0.3, x.shape), STEPS, "int8")
    whole = measure(*pair(x, q), GRID, 0)
    for cuts in ([1, 2, 50], [40], [96], range(1, 97)):
        bounds = [0, *cuts, 97]
        parts = [measure(*pair(x[a:b], q[a:b]), GRID, a) for a, b in pairwise(bounds)]
        assert sum(reversed(parts), Sums()) == whole


@pytest.mark.parametrize("at_once", [1, 3, 64, 97])
def test_rows_that_wait_add_up_to_the_same(at_once: int) -> None:
    dice = np.random.default_rng(4)
    x = dice.normal(0, 20, (97, 13))
    reference, candidate = pair(x, quantize(x + dice.normal(0, 0.3, x.shape), STEPS, "int8"))
    gathered = Gathered("r or c")
    for start in range(0, 97, at_once):
        a, b = (Value(v.name, v.array[start : start + at_once], v.quant, v.grid) for v in (reference, candidate))
        gathered.add(row_sums(a, b, GRID), 13, start)
    gathered.flush()
    assert gathered.sums == measure(reference, candidate, GRID, 0)


def test_of_equal_errors_the_first_sample_is_the_worst() -> None:
    sums = [measure(*pair(np.zeros((1, 1)), np.array([[3]])), GRID, i) for i in (5, 2, 9)]
    assert sum(sums, Sums()).worst == (2.25, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(bad: float) -> None:
    with pytest.raises(NotComparable, match="NaN or infinity"):
        measure(*pair(np.array([[bad, 1.0]]), np.array([[1, 2]])), GRID, 0)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(NotComparable, match="shapes differ"):
        measure(*pair(np.zeros((2, 2)), np.zeros((2, 3))), GRID, 0)
    with pytest.raises(NotComparable, match="nothing to compare"):
        measure(*pair(np.zeros((0, 2)), np.zeros((0, 2))), GRID, 0)
