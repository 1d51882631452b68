"""What is kept of a pair of values while the data stream by: exact sums and extremes; it does not grow with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantdiff.compare.exact_sums import BITS, UNIT, ExactSum, exact_sum
from quantdiff.errors import NotComparable
from quantdiff.quant import Array
from quantdiff.tally.rows import RowSums

FEW = 32
NO_SUM, NOTHING = ExactSum(), (np.inf, -np.inf)


@dataclass(frozen=True, slots=True)
class Sums:
    """Over all elements so far; sums over parts of the data add up to those of the whole, to the last bit.

    ``steps`` are differences of integers, candidate minus reference; errors and squares are in real units. ``clipped``
    counts reference values that the candidate's integers cannot hold, below and above; ``at_end`` candidate integers
    at the ends of their range. ``worst`` is the sample with the largest squared error, the first of equals: (error,
    number).
    """

    count: int = 0
    error: ExactSum = NO_SUM
    squared_error: ExactSum = NO_SUM
    squared_reference: ExactSum = NO_SUM
    squared_candidate: ExactSum = NO_SUM
    product: ExactSum = NO_SUM
    max_abs_error: float = 0.0
    reference_range: tuple[float, float] = NOTHING
    candidate_range: tuple[float, float] = NOTHING
    differing: int = 0
    max_steps: int = 0
    steps: int = 0
    abs_steps: int = 0
    clipped: tuple[int, int] = (0, 0)
    at_end: tuple[int, int] = (0, 0)
    worst: tuple[float, int] = (-1.0, -1)

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            count=self.count + other.count,
            error=self.error + other.error,
            squared_error=self.squared_error + other.squared_error,
            squared_reference=self.squared_reference + other.squared_reference,
            squared_candidate=self.squared_candidate + other.squared_candidate,
            product=self.product + other.product,
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            reference_range=_joined(self.reference_range, other.reference_range),
            candidate_range=_joined(self.candidate_range, other.candidate_range),
            differing=self.differing + other.differing,
            max_steps=max(self.max_steps, other.max_steps),
            steps=self.steps + other.steps,
            abs_steps=self.abs_steps + other.abs_steps,
            clipped=_added(self.clipped, other.clipped),
            at_end=_added(self.at_end, other.at_end),
            worst=max(self.worst, other.worst, key=lambda worst: (worst[0], -worst[1])),
        )


def _joined(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return min(a[0], b[0]), max(a[1], b[1])


def _added(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], a[1] + b[1]


def sums_of(rows: RowSums, count: int, first: int, name: str) -> Sums:
    """The sums of one slice of ``count`` elements, whose first sample has the number ``first``.

    A sample is summed in double, in one pass; over samples the sums are exact.

    Raises:
        NotComparable: NaN or infinity.
    """
    if not np.isfinite(rows.sums).all():
        raise NotComparable(f"{name} holds NaN or infinity; look for the layer that makes it")
    return _over_samples(rows, count, first)


def _over_samples(rows: RowSums, count: int, first: int) -> Sums:
    error, squared, ours, theirs, product = map(_exact_sum, rows.sums.T)
    worst = int(rows.sums[:, 1].argmax())
    counts, ends = [*map(int, rows.counts.sum(0))], rows.extremes
    return Sums(
        count,
        error,
        squared,
        ours,
        theirs,
        product,
        float(ends[:, 0].max()),
        _range(ends[:, 1:3]),
        _range(ends[:, 3:5]),
        counts[0],
        int(rows.counts[:, 1].max()),
        counts[2],
        counts[3],
        (counts[4], counts[5]),
        (counts[6], counts[7]),
        (float(rows.sums[worst, 1]), first + worst),
    )


def _exact_sum(values: Array) -> ExactSum:
    """The sum of one value a sample; for a few samples it is faster to take the doubles apart one by one."""
    if len(values) > FEW:
        return exact_sum(values)
    parts = map(math.frexp, values.tolist())
    return ExactSum(sum(int(math.ldexp(part, BITS)) << (exponent - BITS + UNIT) for part, exponent in parts))


def _range(ends: Array) -> tuple[float, float]:
    return float(ends[:, 0].min()), float(ends[:, 1].max())
