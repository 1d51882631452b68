"""Stats: sums of differences over any part of the data, which add up to those of the whole to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import add
from typing import Any, TypeVar

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.quant import Array

BITS, LEAST = 53, -1022  # of a double: bits of its significand, exponent of its smallest normal number
UNIT = 1073 + BITS  # frexp gives the smallest double as 0.5 · 2**-1073: this many powers hold every bit
LOG_AT_ONCE = 16
AT_ONCE = 1 << LOG_AT_ONCE  # values; they lie in the processor's cache
LARGEST = 2.0**960  # leaves room for the magnet


@dataclass(frozen=True, slots=True)
class ExactSum:
    """A sum of doubles as the whole number ``units``, each worth ``2**-UNIT``; sums add up to sums."""

    units: int = 0

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.units + other.units)

    def __float__(self) -> float:
        """The double nearest to the sum."""
        return self.over(1)

    def over(self, count: int) -> float:
        """The double nearest to sum / ``count``: Python divides whole numbers with one rounding."""
        return self.units / (count << UNIT)


def exact_sum(values: Array) -> ExactSum:
    """The sum of all ``values``, any shape, in double.

    Adding a number far larger and taking it away again leaves the upper bits of a value, on a grid so coarse that
    doubles hold every sum of them exactly; what was cut off is exact too, and goes the same way until nothing is
    left (Demmel and Nguyen, *Fast Reproducible Floating-Point Summation*, 2013). The sums meet as Python's integers.

    Raises:
        NotComparable: a value is NaN, infinite or beyond 2**960.
    """
    flat = np.asarray(values, np.float64).ravel()
    if flat.size and not np.abs(flat).max() <= LARGEST:
        raise NotComparable("a sum over NaN, infinity, or squares beyond 2**960; scale the outputs down")
    return ExactSum(sum(_units(flat[i : i + AT_ONCE]) for i in range(0, len(flat), AT_ONCE)))


def _units(values: Array) -> int:
    """Sum of up to 2**16 values: the parts of one pass are whole multiples of ``magnet``'s last bit, 2**52 at most."""
    units, rest = 0, values
    while largest := float(np.abs(rest).max()):
        magnet = math.ldexp(1.5, max(math.frexp(largest)[1] + LOG_AT_ONCE, LEAST))
        parts = (rest + magnet) - magnet
        rest = rest - parts
        significand, exponent = math.frexp(float(parts.sum()))
        units += int(math.ldexp(significand, BITS)) << (exponent - BITS + UNIT)
    return units


CLASSES_AT_LEAST = 2  # a decision needs two classes to choose from
FEW, NO_SUM = 32, ExactSum()
T = TypeVar("T")


def _worse(a: tuple[float, int], b: tuple[float, int]) -> tuple[float, int]:
    return max(a, b, key=lambda worst: (worst[0], -worst[1]))


JOIN: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("max_abs_error", "max_relative_error", "max_steps", "reference_max", "candidate_max"), max),
    **dict.fromkeys(("reference_min", "candidate_min"), min),
    "worst": _worse,
}
"""How the columns of two parts become one; the others add up."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Over all elements so far, reference and candidate side by side; stats of parts of the data add up.

    No sum is rounded, so it does not matter in which order the parts came, or how large they were. An error is
    candidate − reference in real units, steps are differences of integers on one grid, candidate − reference. What was
    not counted in a part is None in the whole: by ``stats_of`` signed sums, extremes and clipping, by ``stats_of_rows``
    tolerance, ratios and decisions.

    Attributes:
        count: elements.
        far: errors beyond the tolerance.
        max_relative_error: largest ``|error / reference|``, −inf where the reference is 0 everywhere.
        differing: how many are not the same integer.
        clipped_low, clipped_high: reference values that the candidate's integers cannot hold.
        at_low, at_high: candidate integers at the ends of their range.
        worst: the sample with the largest squared error, the first of equals: (error, number).
        decisions: on how many both sides decide, and how many are ``agreeing``.
    """

    count: int = 0
    squared_error: ExactSum = NO_SUM
    squared_reference: ExactSum = NO_SUM
    squared_candidate: ExactSum = NO_SUM
    product: ExactSum = NO_SUM
    max_abs_error: float = 0.0
    error: ExactSum | None = None
    abs_error: ExactSum | None = None
    max_relative_error: float | None = None
    far: int | None = None
    reference_min: float | None = None
    reference_max: float | None = None
    candidate_min: float | None = None
    candidate_max: float | None = None
    differing: int | None = None
    max_steps: int | None = None
    abs_steps: int | None = None
    clipped_low: int | None = None
    clipped_high: int | None = None
    at_low: int | None = None
    at_high: int | None = None
    worst: tuple[float, int] | None = None
    decisions: int | None = None
    agreeing: int | None = None

    def __add__(self, other: Stats) -> Stats:
        if not self.count or not other.count:
            return self if self.count else other
        names = [each.name for each in fields(self)]
        return Stats(*(_joined(JOIN.get(name, add), getattr(self, name), getattr(other, name)) for name in names))


def _joined(join: Callable[[Any, Any], Any], ours: Any, theirs: Any) -> Any:
    return None if ours is None or theirs is None else join(ours, theirs)


def counted(column: T | None) -> T:
    """A column that is known to have been counted."""
    assert column is not None
    return column


def stats_of(
    reference: Array, candidate: Array, tolerance: float = 0.0, steps: tuple[Array, Array] | None = None
) -> Stats:
    """The stats of two arrays of real values of one shape, samples along axis 0.

    Args:
        reference: any type, compared as float64.
        candidate: likewise.
        tolerance: absolute, in real units.
        steps: both sides as integers of one grid, for the figures in steps.

    Raises:
        NotComparable: shapes differ, nothing to compare, NaN or infinity, steps that are no integers.
    """
    a, b = _checked(reference, candidate)
    errors, nonzero = np.abs(a - b), a != 0
    decided = _decisions(a, b)
    apart = None if steps is None else np.abs(_step_difference(*steps))
    return Stats(
        count=a.size,
        abs_error=exact_sum(errors),
        squared_error=exact_sum(np.square(errors)),
        squared_reference=exact_sum(np.square(a)),
        squared_candidate=exact_sum(np.square(b)),
        product=exact_sum(a * b),
        max_abs_error=float(errors.max()),
        max_relative_error=float((errors[nonzero] / np.abs(a[nonzero])).max(initial=-math.inf)),
        far=int(np.count_nonzero(errors > tolerance)),
        differing=None if apart is None else int(np.count_nonzero(apart)),
        max_steps=None if apart is None else int(apart.max()),
        decisions=decided.size,
        agreeing=int(np.count_nonzero(decided)),
    )


def _checked(reference: Array, candidate: Array) -> tuple[Array, Array]:
    """Both arrays as float64, once they are fit to be compared."""
    if reference.shape != candidate.shape:
        raise NotComparable(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.size == 0:
        raise NotComparable("nothing to compare: the outputs are empty")
    for side, array in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(array).all():
            raise NotComparable(f"the {side}'s output holds NaN or infinity; look for the layer that makes it")
    return reference.astype(np.float64), candidate.astype(np.float64)


def _decisions(reference: Array, candidate: Array) -> Array:
    """Where both sides decide alike: the first of the largest over the last axis; nothing below two classes."""
    if reference.ndim < CLASSES_AT_LEAST or reference.shape[-1] < CLASSES_AT_LEAST:
        return np.empty(0, np.bool_)
    same: Array = reference.argmax(axis=-1) == candidate.argmax(axis=-1)
    return same


def _step_difference(reference: Array, candidate: Array) -> Array:
    if reference.shape != candidate.shape:
        raise NotComparable(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.dtype.kind not in "iub" or candidate.dtype.kind not in "iub":
        raise NotComparable(f"steps are counted on integers, not on {reference.dtype} and {candidate.dtype}")
    difference: Array = candidate.astype(np.int64) - reference.astype(np.int64)
    return difference


def stats_of_rows(rows: RowSums, count: int, first: int, name: str) -> Stats:
    """The stats of one slice of ``count`` elements, whose first sample has the number ``first``.

    A sample is summed in double, in one pass; over samples the sums are exact.

    Raises:
        NotComparable: NaN or infinity.
    """
    if not np.isfinite(rows.sums).all():
        raise NotComparable(f"{name} holds NaN or infinity; look for the layer that makes it")
    squared = rows["squared_error"]
    worst = int(squared.argmax())
    return Stats(
        count=count,
        error=_exact_sum(rows["error"]),
        squared_error=_exact_sum(squared),
        squared_reference=_exact_sum(rows["squared_reference"]),
        squared_candidate=_exact_sum(rows["squared_candidate"]),
        product=_exact_sum(rows["product"]),
        max_abs_error=float(rows["max_abs_error"].max()),
        reference_min=float(rows["reference_min"].min()),
        reference_max=float(rows["reference_max"].max()),
        candidate_min=float(rows["candidate_min"].min()),
        candidate_max=float(rows["candidate_max"].max()),
        differing=_whole(rows["differing"]),
        max_steps=int(rows["max_steps"].max()),
        abs_steps=_whole(rows["abs_steps"]),
        clipped_low=_whole(rows["clipped_low"]),
        clipped_high=_whole(rows["clipped_high"]),
        at_low=_whole(rows["at_low"]),
        at_high=_whole(rows["at_high"]),
        worst=(float(squared[worst]), first + worst),
    )


def _exact_sum(values: Array) -> ExactSum:
    """The sum of one value a sample; for a few samples it is faster to take the doubles apart one by one."""
    if len(values) > FEW:
        return exact_sum(values)
    parts = map(math.frexp, values.tolist())
    return ExactSum(sum(int(math.ldexp(part, BITS)) << (exponent - BITS + UNIT) for part, exponent in parts))


def _whole(values: Array) -> int:
    return int(values.astype(np.int64).sum())


SUMS = ("error", "squared_error", "squared_reference", "squared_candidate", "product")
EXTREMES = ("max_abs_error", "reference_min", "reference_max", "candidate_min", "candidate_max")
COUNTS = ("differing", "max_steps", "steps", "abs_steps", "clipped_low", "clipped_high", "at_low", "at_high")
COLUMNS = (*SUMS, *EXTREMES, *COUNTS)
"""Of a row, in the order in which ``loops.add_rows`` writes them.

An error is candidate − reference in real units. The last ones are counted on a grid, steps as candidate − reference:
``clipped`` are reference values that the grid cuts off, ``at`` candidate integers at its ends.
"""


@dataclass(frozen=True, slots=True)
class RowSums:
    """One row a sample, ``WIDTH`` doubles each; whole numbers among them stay exact up to 2**53."""

    packed: Array

    def __getitem__(self, column: str) -> Array:
        """One of ``COLUMNS``, a double a sample."""
        values: Array = self.packed[:, COLUMNS.index(column)]
        return values

    @property
    def sums(self) -> Array:
        """The columns ``SUMS``."""
        return self.packed[:, : len(SUMS)]

    @property
    def extremes(self) -> Array:
        """The columns ``EXTREMES``."""
        return self.packed[:, len(SUMS) : -len(COUNTS)]

    @property
    def counts(self) -> Array:
        """The columns ``COUNTS``, int64."""
        return self.packed[:, -len(COUNTS) :].astype(np.int64)
