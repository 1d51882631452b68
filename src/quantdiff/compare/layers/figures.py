"""Figures of one aligned pair of values, from its stats."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantdiff.compare import metrics
from quantdiff.quant import Grid
from quantdiff.tally.stats import Stats, counted

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
