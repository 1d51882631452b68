"""Sums without rounding, against ``math.fsum`` and fractions; any order and any split gives the same bits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantdiff.errors import NotComparable
from quantdiff.tally.stats import AT_ONCE, ExactSum, exact_sum

LARGEST = 2.0**960
doubles = st.floats(-LARGEST, LARGEST, allow_subnormal=True)


@given(st.lists(doubles))
def test_the_sum_is_the_exact_one_rounded_once(values: list[float]) -> None:
    assert float(exact_sum(np.array(values))) == math.fsum(values)


@given(st.lists(doubles, min_size=1))
def test_the_mean_is_the_exact_one_rounded_once(values: list[float]) -> None:
    exact = sum(map(Fraction, values)) / len(values)
    assert exact_sum(np.array(values)).over(len(values)) == float(exact)


def test_what_plain_sums_lose() -> None:
    assert float(exact_sum(np.array([1e100, 1.0, -1e100]))) == 1.0
    assert float(exact_sum(np.array([2.0**53, 1.0, 1.0]))) == 2.0**53 + 2
    assert float(exact_sum(np.array([5e-324, 5e-324]))) == 1e-323
    assert exact_sum(np.array([])) == ExactSum()


def test_order_and_split_do_not_matter() -> None:
    dice = np.random.default_rng(1)
    values = dice.standard_normal(3 * AT_ONCE + 7) * 10.0 ** dice.integers(-200, 200, 3 * AT_ONCE + 7)
    whole = exact_sum(values)
    assert float(whole) == math.fsum(values)
    assert exact_sum(dice.permutation(values)) == whole
    first, second = np.split(values, [12_345])
    assert exact_sum(first) + exact_sum(second) == whole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**961])
def test_what_has_no_sum(value: float) -> None:
    with pytest.raises(NotComparable, match="scale the outputs down"):
        exact_sum(np.array([1.0, value]))
