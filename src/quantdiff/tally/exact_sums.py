"""Sums of floats without rounding: any order, any split into parts, gives the same number to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
