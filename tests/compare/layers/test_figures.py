"""Figures from stats by hand, and which figures cannot be those of one pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from contradictions import contradictions

from quantdiff.compare.layers.figures import YARDSTICK, Gathered, figures_of
from quantdiff.quant import Array, Grid, QuantParams, Value, quantize
from quantdiff.tally.rows import row_sums
from quantdiff.tally.stats import Stats, stats_of_rows

STEPS = QuantParams((0.5,), (0,))
GRID = Grid(STEPS, "int8", "t")


def pair(reference: Array, candidate: Array) -> tuple[Value, Value]:
    return Value("r", reference.astype(np.float32)), Value("c", candidate.astype(np.int8), STEPS, GRID)


def measure(reference: Value, candidate: Value, grid: Grid | None, first: int) -> Stats:
    return stats_of_rows(row_sums(reference, candidate, grid), candidate.array.size, first, "r or c")


def test_figures_by_hand() -> None:
    stats = measure(*pair(np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([[2, 6], [5, -8]])), GRID, 10)
    figures = figures_of(stats, GRID)  # the candidate is 1, 3, 2.5, -4: errors 0, 1, -0.5, 0
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
    assert gathered.stats == measure(reference, candidate, GRID, 0)


SOME = figures_of(measure(*pair(np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([[2, 6], [5, -8]])), GRID, 0), GRID)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"max_steps": 1, "mean_steps": 9.4}, "the mean is beyond"),
        ({"mean_steps": 9.4, "rmse_steps": 9.5, "max_abs_error": 9.0}, "differ by more than the integers"),
        ({"reference_min": 5.0}, "smallest value is larger"),
        ({"max_abs_error": 0.25, "rmse_steps": 0.2, "mean_steps": 0.1, "candidate_max": 2.0}, "distance of the ends"),
        ({"max_abs_error": 9.0}, "larger than the ranges allow"),
        ({"sqnr_db": math.inf}, "SQNR is infinite"),
        ({"max_abs_error": 0.0}, "SQNR is infinite"),
        ({"sqnr_db": -math.inf}, "SQNR is -inf"),
        ({"cosine": None}, "a cosine beside zeros"),
        ({"sqnr_db": 40.0}, "SQNR does not fit the largest error"),
        ({"cosine": 1.01}, "cosine is beyond 1"),
        ({"cosine": 0.5}, "cosine does not fit the SQNR"),
        ({"differing": 0}, "no largest step"),
        ({"max_steps": 0}, "no largest step"),
        ({"at_low": 1.5}, "share is beyond"),
        ({"mean_abs_steps": 0.25}, "fewer steps than differing"),
        ({"mean_abs_steps": 1.5}, "more steps than differing"),
        ({"mean_steps": 2.0}, "mean is beyond the RMSE"),
        ({"rmse_steps": 2.5}, "RMSE is beyond the largest error"),
        ({"max_steps": 4}, "integers differ by more than the values"),
        ({"mean_abs_steps": 2.0, "max_steps": 4, "rmse_steps": 0.9}, "more than the RMSE allows"),
        ({"max_steps": 1, "max_abs_error": 2.0}, "values differ by more than the integers"),
        ({"max_steps": 1, "rmse_steps": 2.5}, "RMSE is beyond what the integers allow"),
        ({"mean_steps": 1.9, "rmse_steps": 2.0}, "mean is beyond what the integers allow"),
        ({"rmse_steps": 2.0}, "a signal beyond the range"),
    ],
)
def test_figures_that_cannot_hold_together_are_told(changed: dict[str, float], words: str) -> None:
    assert contradictions(SOME) == ()
    assert any(words in found for found in contradictions(replace(SOME, **changed)))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.4, 3.0, 1000.0])
@pytest.mark.parametrize("offset", [0.0, -100.0, 1e5])
def test_figures_of_any_arrays_hold_together(dtype: str, noise: float, offset: float) -> None:
    """Whatever is clipped, on both sides; with a grid and without."""
    dice = np.random.default_rng(5)
    steps = QuantParams((float(np.float32(0.0235)),), (1,))
    grid, real = Grid(steps, dtype, "t"), dice.normal(offset, 3, (7, 50))
    integers = quantize(real + dice.normal(0, noise, real.shape), steps, dtype)
    quantized = Value("c", integers, steps, grid)
    for theirs in (quantized, Value("c", quantized.real), Value("c", (real * 1.5).astype(np.float32))):
        for used in (grid, None):
            assert contradictions(figures_of(measure(Value("r", real.astype(np.float32)), theirs, used, 0), used)) == ()
