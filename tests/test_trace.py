"""What counts as an output that changed because its model's inner values were read."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.quant import ROUNDING, changed_elements

LARGEST = 8.0


def test_integers_change_by_one() -> None:
    plain = np.array([[1, -2, 3]], np.int8)
    assert changed_elements(plain.copy(), plain) == 0
    assert changed_elements(plain + np.array([0, 1, 0], np.int8), plain) == 1
    assert changed_elements(np.array([[-128]], np.int8), np.array([[127]], np.int8)) == 1


@pytest.mark.parametrize(("by", "count"), [(0.9, 0), (1.1, 1)])
def test_floats_change_by_more_than_another_order_of_sums(by: float, count: int) -> None:
    plain = np.array([[0.5, -LARGEST, np.nan, np.inf]], np.float32)
    watched = plain + np.array([by * ROUNDING * LARGEST, 0, 0, 0], np.float32)
    assert changed_elements(watched, plain) == count


@pytest.mark.parametrize("plain", [1.0, np.nan, np.inf])
@pytest.mark.parametrize("watched", [2.0, np.nan, -np.inf])
def test_what_is_no_number_stays_what_it_is(plain: float, watched: float) -> None:
    same = np.isnan(plain) and np.isnan(watched)
    assert changed_elements(np.array([watched], np.float32), np.array([plain], np.float32)) == (not same)


def test_axes_of_size_1_may_differ_and_sizes_may_not() -> None:
    plain = np.zeros((3, 1, 4), np.int8)
    assert changed_elements(plain[:, 0], plain) == 0
    assert changed_elements(plain[:2], plain) == plain.size
