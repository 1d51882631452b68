"""What the trials of a store come to, with intervals by bootstrap: error rates, paired differences, ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.lazy import Shown

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


@dataclass(frozen=True, slots=True)
class Engine:
    """Whose numbers these are: model, condition with its calibration, and what ran it."""

    model: str
    condition: str
    engine: str


@dataclass(frozen=True, slots=True)
class Rates:
    """The error rates of all seeds; ``depth`` is the number of dense layers of ``denseN``."""

    engine: Engine
    depth: int | None
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    interval: Interval
    box: Box


@dataclass(frozen=True, slots=True)
class Difference:
    """Error rate of ``engine`` minus that of ``against``, seed by seed."""

    engine: Engine
    against: Engine
    pairs: int
    interval: Interval
    worse: int
    better: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Gap:
    """How far outputs lie apart, over all seeds: means of shares, the largest of steps; None without a grid."""

    model: str
    condition: str
    reference: str
    candidate: str
    runs: int
    differing: float | None
    max_steps: int | None
    not_close: float
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class OwnMeans:
    """A number of the user's metric on both sides, means over all seeds; ``interval`` is candidate minus reference."""

    model: str
    condition: str
    reference: str
    candidate: str
    metric: str
    runs: int
    means: tuple[float, float]
    interval: Interval


@dataclass(frozen=True, slots=True)
class RangePair:
    """One quantizer in two files of the same training, means over ``runs`` seeds; ``equal`` in how many."""

    model: str
    calibration: str
    layer: str
    role: str
    own: tuple[float, float]
    copied: tuple[float, float]
    runs: int
    equal: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial without a result."""

    engine: Engine
    seed: int
    error: str


@dataclass(frozen=True, slots=True)
class Summary(Shown):
    """Everything that ``report`` shows of a study."""

    trials: int
    data: tuple[str, ...]
    versions: tuple[Mapping[str, str], ...]
    rates: tuple[Rates, ...]
    differences: tuple[Difference, ...]
    gaps: tuple[Gap, ...]
    ranges: tuple[RangePair, ...]
    failed: tuple[Failed, ...]
    metrics: tuple[OwnMeans, ...] = ()
