"""Figures of one aligned pair of values, and samples to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nlargest

import numpy as np

from quantdiff.compare import metrics
from quantdiff.quant import Array, Grid, Value
from quantdiff.tally.stats import CLASSES_AT_LEAST, Stats, counted

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

    def __add__(self, other: Decisions) -> Decisions:
        """Both parts of the data together."""
        return Decisions(
            self.ends,
            self.flipped + other.flipped,
            self.decided + other.decided,
            nlargest(KEPT, [*self.flips, *other.flips], key=lambda each: (each.margin, -each.sample)),
            nlargest(KEPT, [*self.worst, *other.worst], key=lambda each: (each.max_abs_error, -each.sample)),
        )


def _flips(a: Array, b: Array, first: int) -> Iterator[Flip]:
    ours, theirs = a.argmax(axis=1), b.argmax(axis=1)
    for i in np.flatnonzero(ours != theirs):
        x, y = int(ours[i]), int(theirs[i])
        yield Flip(first + int(i), x, y, float(a[i, x] - a[i, y]))


YARDSTICK = 1 / math.sqrt(12)  # RMSE ÷ scale of rounding alone: an error spread evenly over one step


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What the stats say; figures in steps are None where the values lie on no integer grid.

    ``mean_steps`` is the mean error, candidate minus reference, signed, before rounding to the grid; ``rmse_steps``
    the root of the mean squared error; both over ``step``, the scale. ``clipped_…`` are shares of reference
    values beyond what the candidate's integers hold, ``at_…`` shares of candidate integers at the end of their range.
    """

    count: int
    differing: int | None
    max_steps: int | None
    mean_steps: float | None
    mean_abs_steps: float | None
    rmse_steps: float | None
    sqnr_db: float
    cosine: float | None
    max_abs_error: float
    clipped_low: float | None
    clipped_high: float | None
    at_low: float | None
    at_high: float | None
    step: float | None
    reference_min: float
    reference_max: float
    candidate_min: float
    candidate_max: float
    worst_sample: int


def figures_of(stats: Stats, grid: Grid | None) -> LayerFigures:
    """The figures after the last sample."""
    step = None if grid is None else grid.params.scale[0]
    n = stats.count
    return LayerFigures(
        count=n,
        differing=None if grid is None else stats.differing,
        max_steps=None if grid is None else stats.max_steps,
        mean_steps=None if step is None else metrics.mean_error(stats) / step,
        mean_abs_steps=None if grid is None else counted(stats.abs_steps) / n,
        rmse_steps=None if step is None else metrics.rmse(stats) / step,
        sqnr_db=metrics.sqnr_db(stats),
        cosine=metrics.cosine(stats),
        max_abs_error=stats.max_abs_error,
        clipped_low=None if grid is None else counted(stats.clipped_low) / n,
        clipped_high=None if grid is None else counted(stats.clipped_high) / n,
        at_low=None if grid is None else counted(stats.at_low) / n,
        at_high=None if grid is None else counted(stats.at_high) / n,
        step=step,
        reference_min=counted(stats.reference_min),
        reference_max=counted(stats.reference_max),
        candidate_min=counted(stats.candidate_min),
        candidate_max=counted(stats.candidate_max),
        worst_sample=counted(stats.worst)[1],
    )
