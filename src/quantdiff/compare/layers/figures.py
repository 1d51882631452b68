"""Figures of one aligned pair of values, from its sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantdiff.compare.layers.sums import Sums
from quantdiff.quant import Grid

YARDSTICK = 1 / math.sqrt(12)  # RMSE ÷ scale of rounding alone: an error spread evenly over one step


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What the sums say; figures in steps are None where the values lie on no integer grid.

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


def figures_of(sums: Sums, grid: Grid | None) -> LayerFigures:
    """The figures after the last sample."""
    step = None if grid is None else grid.params.scale[0]
    n = sums.count
    return LayerFigures(
        count=n,
        differing=None if grid is None else sums.differing,
        max_steps=None if grid is None else sums.max_steps,
        mean_steps=None if step is None else sums.error.over(n) / step,
        mean_abs_steps=None if grid is None else sums.abs_steps / n,
        rmse_steps=None if step is None else math.sqrt(sums.squared_error.over(n)) / step,
        sqnr_db=_sqnr(sums),
        cosine=_cosine(sums),
        max_abs_error=sums.max_abs_error,
        clipped_low=None if grid is None else sums.clipped[0] / n,
        clipped_high=None if grid is None else sums.clipped[1] / n,
        at_low=None if grid is None else sums.at_end[0] / n,
        at_high=None if grid is None else sums.at_end[1] / n,
        step=step,
        reference_min=sums.reference_range[0],
        reference_max=sums.reference_range[1],
        candidate_min=sums.candidate_range[0],
        candidate_max=sums.candidate_range[1],
        worst_sample=sums.worst[1],
    )


def _sqnr(sums: Sums) -> float:
    """As ``metrics.sqnr_db``: inf when the two are equal, -inf when the reference is 0 everywhere."""
    noise, signal = float(sums.squared_error), float(sums.squared_reference)
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _cosine(sums: Sums) -> float | None:
    lengths = math.sqrt(float(sums.squared_reference)) * math.sqrt(float(sums.squared_candidate))
    return min(1.0, float(sums.product) / lengths) if lengths else None
