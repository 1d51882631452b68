"""Samples to look at: the largest errors at the end, and decisions that flipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nlargest

import numpy as np

from quantdiff.quant import Array
from quantdiff.tally.stats import CLASSES_AT_LEAST
from quantdiff.trace import Value

KEPT = 10  # of each


@dataclass(frozen=True, slots=True)
class WorstSample:
    """A sample by its number in the data, and the largest difference of its values there, in real units."""

    sample: int
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class Flip:
    """A decision that is another one: the classes on both sides, and how far the reference's lead was (real units)."""

    sample: int
    reference: int
    candidate: int
    margin: float


@dataclass(slots=True)
class Decisions:
    """Gathers both over the slices, for the pairs of the numbers ``ends``."""

    ends: frozenset[int] = frozenset()
    flipped: int = 0
    decided: int = 0
    flips: list[Flip] = field(default_factory=list)
    worst: list[WorstSample] = field(default_factory=list)

    def add(self, pair: int, reference: Value, candidate: Value, first: int) -> None:
        """Look at one slice of a pair; ``first`` is the number of its first sample."""
        if pair not in self.ends:
            return
        a, b = (value.real.reshape(len(value.array), -1).astype(np.float64) for value in (reference, candidate))
        errors = np.abs(a - b).max(axis=1)
        found = [WorstSample(first + int(i), float(errors[i])) for i in np.argsort(-errors)[:KEPT] if errors[i] > 0]
        self.worst = nlargest(KEPT, [*self.worst, *found], key=lambda each: (each.max_abs_error, -each.sample))
        if a.shape[1] >= CLASSES_AT_LEAST and a.shape[1] == candidate.array.shape[-1]:
            self.decided += len(a)
            flips = list(_flips(a, b, first))
            self.flipped += len(flips)
            self.flips = nlargest(KEPT, [*self.flips, *flips], key=lambda each: (each.margin, -each.sample))


def _flips(a: Array, b: Array, first: int) -> Iterator[Flip]:
    ours, theirs = a.argmax(axis=1), b.argmax(axis=1)
    for i in np.flatnonzero(ours != theirs):
        x, y = int(ours[i]), int(theirs[i])
        yield Flip(first + int(i), x, y, float(a[i, x] - a[i, y]))
