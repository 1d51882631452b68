"""Statistics against values worked out by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from quantdiff.experiment.summary import Box, box, mean_interval, sign_test


@pytest.mark.parametrize(
    ("worse", "better", "p"),
    [
        (0, 0, 1.0),  # nothing differs
        (1, 0, 1.0),  # 2 · 1/2
        (5, 0, 0.0625),  # 2 · 1/32
        (0, 6, 0.03125),  # 2 · 1/64
        (8, 2, 0.109375),  # 2 · (1 + 10 + 45)/1024
        (3, 3, 1.0),  # 2 · 42/64 is more than 1
        (15, 5, 2 * 21700 / 2**20),  # 1 + 20 + 190 + 1140 + 4845 + 15504 = 21700
    ],
)
def test_sign_test(worse: int, better: int, p: float) -> None:
    assert sign_test(worse, better) == p


def test_the_interval_of_two_values_is_both() -> None:
    """Of 0 and 1 the resampled mean is 0, ½, ½ or 1: a quarter lies at either end, more than 2.5 %."""
    interval = mean_interval([0.0, 1.0])
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_the_interval_agrees_with_all_resamples_there_are() -> None:
    values = [0.0, 1.0, 3.0, 9.0]  # means: 0 once, ¼ four times, ½ six times, …, 7 four times, 7½ four times, 9 once
    means = [np.mean(drawn) for drawn in product(values, repeat=4)]  # 256, equally likely
    interval = mean_interval(values)
    assert interval.mean == 3.25
    assert (interval.low, interval.high) == (np.quantile(means, 0.025), np.quantile(means, 0.975)) == (0.5, 7.0)


def test_equal_values_have_no_width() -> None:
    interval = mean_interval([0.25] * 20)
    assert (interval.mean, interval.low, interval.high) == (0.25, 0.25, 0.25)


def test_the_interval_is_the_same_every_time() -> None:
    assert mean_interval([1.0, 2.0, 4.0, 7.0]) == mean_interval([1.0, 2.0, 4.0, 7.0])


def test_box() -> None:
    assert box([4.0, 1.0, 3.0, 2.0, 5.0]) == Box(1.0, 2.0, 3.0, 4.0, 5.0)
    assert box([1.0, 2.0]) == Box(1.0, 1.25, 1.5, 1.75, 2.0)
