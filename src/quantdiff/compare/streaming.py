"""What the figures of a comparison are made of: tallies over parts of the data add up to the tally of the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.compare import metrics
from quantdiff.compare.exact_sums import ExactSum, exact_sum
from quantdiff.quant import Array


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts, extremes and exact sums over all values of an output, reference and candidate side by side.

    ``far`` counts errors beyond the tolerance. ``errors`` is the sum of ``|reference − candidate|``, ``noise`` that of
    its squares, ``signal`` and ``power`` those of the squares of reference and candidate, ``product`` that of
    reference × candidate. ``differing`` and ``max_steps`` are None without an integer grid. No sum is rounded, so it
    does not matter in which order the parts of the data came, or how large they were.
    """

    count: int
    far: int
    max_abs_error: float
    max_relative_error: float | None
    errors: ExactSum
    noise: ExactSum
    signal: ExactSum
    power: ExactSum
    product: ExactSum
    differing: int | None
    max_steps: int | None
    decisions: int
    agreeing: int

    def __add__(self, other: Tally) -> Tally:
        on_a_grid = self.differing is not None and other.differing is not None
        ratios = [r for r in (self.max_relative_error, other.max_relative_error) if r is not None]
        return Tally(
            count=self.count + other.count,
            far=self.far + other.far,
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            max_relative_error=max(ratios, default=None),
            errors=self.errors + other.errors,
            noise=self.noise + other.noise,
            signal=self.signal + other.signal,
            power=self.power + other.power,
            product=self.product + other.product,
            differing=(self.differing or 0) + (other.differing or 0) if on_a_grid else None,
            max_steps=max(self.max_steps or 0, other.max_steps or 0) if on_a_grid else None,
            decisions=self.decisions + other.decisions,
            agreeing=self.agreeing + other.agreeing,
        )


def tally(reference: Array, candidate: Array, tolerance: float, steps: tuple[Array, Array] | None = None) -> Tally:
    """The tally of one output for some samples, samples along axis 0; ``steps`` are both sides on one integer grid.

    Raises:
        NotComparable: shapes differ, nothing to compare, NaN or infinity.
    """
    decided = metrics.decisions(reference, candidate)
    a, b = metrics.checked(reference, candidate)
    errors = np.abs(a - b)
    nonzero = a != 0
    return Tally(
        count=a.size,
        far=int(np.count_nonzero(errors > tolerance)),
        max_abs_error=float(errors.max()),
        max_relative_error=float((errors[nonzero] / np.abs(a[nonzero])).max()) if nonzero.any() else None,
        errors=exact_sum(errors),
        noise=exact_sum(np.square(errors)),
        signal=exact_sum(np.square(a)),
        power=exact_sum(np.square(b)),
        product=exact_sum(a * b),
        differing=None if steps is None else metrics.differing(*steps),
        max_steps=None if steps is None else metrics.max_steps(*steps),
        decisions=0 if decided is None else decided.size,
        agreeing=0 if decided is None else int(np.count_nonzero(decided)),
    )
