"""How the errors of an output are spread, in steps of its grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantdiff.compare.exact_sums import exact_sum
from quantdiff.quant import Array

FINEST, BINS = 1 / 8, 64  # steps; bins at most, but for the one in the middle


@dataclass(frozen=True, slots=True)
class StepHistogram:
    """Counts of (candidate − reference) / scale, before rounding to the grid.

    Bins are ``width`` steps wide and centred on multiples of it, so that a whole step falls in the middle of a bin;
    ``first`` is the lowest centre. A value between two bins belongs to the upper one. ``rmse`` is the root of the
    mean squared error in steps: 1/√12 where errors are those of rounding alone.
    """

    step: float
    width: float
    first: float
    counts: tuple[int, ...]
    rmse: float

    @property
    def centres(self) -> tuple[float, ...]:
        """The middle of each bin, in steps."""
        return tuple(self.first + self.width * i for i in range(len(self.counts)))


def step_histogram(errors: Array, step: float) -> StepHistogram:
    """The histogram of ``errors`` (real units, not empty) over the scale ``step``."""
    steps = errors.astype(np.float64).ravel() / step
    reach = float(np.abs(steps).max())
    width = max(FINEST, 2.0 ** math.ceil(math.log2(2 * reach / BINS))) if reach else FINEST
    bins = np.floor(steps / width + 0.5).astype(np.int64)
    lowest = int(bins.min())
    rmse = math.sqrt(exact_sum(np.square(steps)).over(steps.size))
    return StepHistogram(step, width, lowest * width, tuple(np.bincount(bins - lowest).tolist()), rmse)
