"""How the errors of an output are spread, in steps of its grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.tally.exact_sums import ExactSum, exact_sum

NOTHING = ExactSum()
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


def step_histogram(errors: Callable[[], Iterable[Array]], step: float) -> StepHistogram:
    """The histogram of errors (real units) over the scale ``step``; they are asked for twice, part by part.

    The first pass finds how far they reach, the second counts.
    """
    reach = max(float(np.abs(part).max()) for part in errors()) / step
    width = max(FINEST, 2.0 ** math.ceil(math.log2(2 * reach / BINS))) if reach else FINEST
    last = math.floor(reach / width + 0.5) + 1
    counts, squares, count = np.zeros(2 * last + 1, np.int64), NOTHING, 0
    for part in errors():
        steps = part.astype(np.float64).ravel() / step
        bins = np.floor(steps / width + 0.5).astype(np.int64)
        counts += np.bincount(bins + last, minlength=len(counts))
        squares, count = squares + exact_sum(np.square(steps)), count + steps.size
    filled = np.flatnonzero(counts)
    kept = counts[filled[0] : filled[-1] + 1]
    return StepHistogram(
        step, width, int(filled[0] - last) * width, tuple(kept.tolist()), math.sqrt(squares.over(count))
    )
