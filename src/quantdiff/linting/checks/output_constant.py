"""Layers whose sums never reach half a step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.rounding.fixed_point import quantize_multiplier


@check("MULT02", Severity.WARNING, Wiring)
def output_constant(wiring: Wiring) -> Iterator[Found]:
    """No input can move the layer's output by half a step.

    The largest sum that the weights allow, times s_x · s_w / s_y, stays below one half: the output is constant. Its
    range is far too wide for what the layer gives, or the weights' scale far too small; calibrate or train again.
    """
    for layer in weighted(wiring):
        rows, multiplier = layer.rows(), layer.multiplier
        if rows is None or multiplier is None or not layer.fits(rows) or layer.x is None:
            continue
        if multiplier.size not in (1, len(rows)) or not quantize_multiplier(multiplier)[0].any():
            continue  # a multiplier of 0 is MULT01's
        low, high = INTEGER_RANGE.get(layer.x.dtype, (0, 0))
        moved = float((_weight_sums(rows, layer.zero_points()) * multiplier).max()) * (high - low)
        if 0 < moved < HALF_A_STEP:
            yield Found(layer.place, f"at most {moved:.3g} steps")


HALF_A_STEP = 0.5


def _weight_sums(rows: Array, zero_points: Array) -> Array:
    """The sum of the absolute weights of each channel; row by row, to stay small in memory."""
    points = np.broadcast_to(zero_points[:, 0], len(rows))
    return np.array([np.abs(row - point).sum() for row, point in zip(rows, points, strict=True)], np.float64)
