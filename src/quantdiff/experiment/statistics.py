"""What a few dozen runs say: intervals by bootstrap, an exact sign test, the five numbers of a box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE, RESAMPLES, SEED = 0.95, 10_000, 0
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval that holds it with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Box:
    """The five numbers of a box plot: extremes, quartiles, median."""

    low: float
    lower: float
    median: float
    upper: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Percentile bootstrap of the mean (Efron 1979): 10,000 resamples with replacement, seeded.

    Of one value the interval is that value: nothing is known about its spread.
    """
    sample = np.asarray(values, np.float64)
    drawn = np.random.default_rng(SEED).integers(0, len(sample), (RESAMPLES, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(math.fsum(values) / len(values), float(low), float(high))


def sign_test(worse: int, better: int) -> float:
    """Two-sided p-value of the exact sign test; pairs without a difference are left out, as is usual.

    ``min(1, 2 · Σ C(n, k) / 2ⁿ)`` over k up to the smaller count; 1 where there is no difference at all.
    """
    n = worse + better
    tail = sum(math.comb(n, k) for k in range(min(worse, better) + 1))
    return float(min(1.0, 2 * tail / (1 << n)))


def box(values: Sequence[float]) -> Box:
    """Quartiles interpolated linearly between ordered values."""
    return Box(*(float(q) for q in np.quantile(np.asarray(values, np.float64), QUARTERS)))
