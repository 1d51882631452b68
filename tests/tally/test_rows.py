"""Sums of one pair, worked out by hand, and the compiled loops against the text in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.quant import Array, Grid, QuantParams, Value, dequantize
from quantdiff.tally import rows
from quantdiff.tally.rows import by_numpy, cut, row_sums
from quantdiff.tally.stats import RowSums

HALF = QuantParams((0.5,), (1,))
GRID = Grid(HALF, "int8", "t")


def test_by_hand() -> None:
    reference = Value("r", np.array([[0.0, 0.3, -0.25, 70.0]], np.float32))
    candidate = Value("c", np.array([[1, 1, 1, 127]], np.int8), HALF, GRID)  # 0, 0, 0, 63
    for found in (
        row_sums(reference, candidate, GRID),
        by_numpy((reference.array, None), (candidate.array, HALF), GRID),
    ):
        third = float(np.float32(0.3))
        assert found.sums[0] == pytest.approx(
            [-third + 0.25 - 7, third**2 + 0.0625 + 49, third**2 + 0.0625 + 4900, 3969, 4410]
        )
        assert found.extremes[0].tolist() == [7, -0.25, 70, 0, 63]
        # 0.3 is 0.6 steps: rounds to 1; -0.25 is half a step: away from zero; 70 is cut off to 127
        assert found.counts[0].tolist() == [2, 1, 0, 2, 0, 1, 0, 1]


def test_clipping_begins_half_a_step_beyond_the_end() -> None:
    assert cut(GRID) == (-64.75, 63.25)
    edges = np.array([[-64.75, np.nextafter(np.float32(-64.75), np.float32(-99)), 63.25, 63.5]], np.float32)
    found = row_sums(Value("r", edges), Value("c", np.array([[-128, -128, 127, 127]], np.int8), HALF, GRID), GRID)
    assert found.counts[0, 4:].tolist() == [1, 1, 2, 2]


ODD = QuantParams((float(np.float32(0.0235)),), (1,))  # whose products with integers have to be rounded


def values(dtype: str, seed: int, quant: QuantParams = HALF) -> tuple[Array, QuantParams | None]:
    dice = np.random.default_rng(seed)
    if dtype == "float32":
        real = dice.normal(0, 30, (3, 5000)).astype(np.float32)
        real[:, ::7] = np.rint(real[:, ::7]) / 4  # ties
        return real, None
    ends = np.iinfo(dtype)
    return dice.integers(ends.min, ends.max, (3, 5000), endpoint=True).astype(dtype), quant


@pytest.mark.parametrize("quant", [HALF, ODD])
@pytest.mark.parametrize("candidate", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("reference", ["float32", "int8"])
def test_loops_give_what_the_text_says(reference: str, candidate: str, quant: QuantParams) -> None:
    assert rows.loops() is not None
    ours, theirs = values(reference, 1, quant), values(candidate, 2, quant)
    grid = Grid(quant, candidate, "t") if theirs[1] else None
    own = Grid(quant, reference, "t") if ours[1] else None
    found = row_sums(Value("r", *ours, own), Value("c", *theirs, grid), grid)
    text = by_numpy(ours, theirs, grid)
    assert np.array_equal(found.counts, text.counts)
    assert np.array_equal(found.extremes, text.extremes)
    assert found.sums == pytest.approx(text.sums, rel=1e-11)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_float_on_the_grid_has_no_error(compiled: bool) -> None:
    (integers, quant) = values("int8", 4, ODD)
    grid = Grid(ODD, "int8", "t")
    found = row_sums(Value("r", dequantize(integers, ODD)), Value("c", integers, quant, grid), grid, compiled=compiled)
    assert not found.sums[:, :2].any()
    assert not found.extremes[:, 0].any()
    assert not found.counts[:, :6].any()


@pytest.mark.parametrize("spread", [1.0, 30.0])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_floats_counted_on_a_grid(dtype: str, spread: float) -> None:
    """Neither side holds integers, as where a DEQUANTIZE stands behind them; some blocks of elements reach no end."""
    dice, grid = np.random.default_rng(5), Grid(QuantParams((0.25,), (3,)), dtype, "t")
    ours, theirs = (np.rint(4 * dice.normal(0, spread, (2, 5000))).astype(np.float32) / 4 for _ in range(2))
    ours += np.float32(0.125)  # ties
    theirs[1, 4000] = 1e9
    found = row_sums(Value("r", ours), Value("c", theirs), grid)
    text = by_numpy((ours, None), (theirs, None), grid)
    assert np.array_equal(found.counts, text.counts)
    assert np.array_equal(found.extremes, text.extremes)
    assert found.sums == pytest.approx(text.sums, rel=1e-11)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_no_number_shows_in_the_sums(compiled: bool, side: int, wrong: float) -> None:
    arrays = [np.ones((2, 3000), np.float32) for _ in range(2)]
    arrays[side][1, 2500] = wrong
    found = row_sums(Value("r", arrays[0]), Value("c", arrays[1]), GRID, compiled=compiled)
    assert np.isfinite(found.sums).all(axis=1).tolist() == [True, False]
    assert found.counts[0].tolist() == by_numpy((arrays[0][:1], None), (arrays[1][:1], None), GRID).counts[0].tolist()


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool", "uint8"])
def test_plain_numbers_of_any_type(dtype: str) -> None:
    """Without a quantization they are what they say, in float32; whole numbers beyond int32 too."""
    dice = np.random.default_rng(3)
    plain = dice.integers(0, {"int64": 2**40, "uint8": 256}.get(dtype, 2), (2, 3000)).astype(dtype)
    theirs = values("int8", 2)[0][:2, :3000]
    found = row_sums(Value("r", plain), Value("c", theirs, HALF, GRID), GRID)
    text = by_numpy((plain, None), (theirs, HALF), GRID)
    assert np.array_equal(found.counts, text.counts)
    assert np.array_equal(found.extremes, text.extremes)
    assert found.sums == pytest.approx(text.sums, rel=1e-11)


def test_floats_that_carry_a_quantization_are_read_by_it() -> None:
    x = np.array([[3.0, 1.0, -2.0]], np.float32)
    found = row_sums(Value("r", x, HALF), Value("c", x.astype(np.int8), HALF, GRID), GRID)
    assert found.extremes[0].tolist() == [0, -1.5, 1, -1.5, 1]


def test_the_text_takes_rows_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    (ours, _), (theirs, quant) = values("float32", 1), values("int8", 2)
    sides = Value("r", ours), Value("c", theirs, quant, GRID)
    found = [row_sums(*sides, GRID, compiled=False).packed]
    for elements in (1, 10_000):
        monkeypatch.setattr(rows, "AT_ONCE", elements)
        found.append(row_sums(*sides, GRID, compiled=False).packed)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_without_numba_the_text_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "loops", lambda: None)
    x = np.ones((2, 3), np.float32)
    found: RowSums = row_sums(Value("r", x), Value("c", 2 * x), None)
    assert found.sums[:, 1].tolist() == [3, 3]
    assert not found.counts.any()
