"""Multipliers that are too small for a layer's output to move, or too large for the kernels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.registry import Found, Severity, check
from quantdiff.linting.weighted import Weighted, listed, weighted
from quantdiff.linting.wiring import Wiring, is_integer_value, scale
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.rounding.fixed_point import quantize_multiplier


@check("MULT01", Severity.ERROR, Wiring)
def multiplier_underflow(wiring: Wiring) -> Iterator[Found]:
    """The output multiplier is so small that it becomes 0.

    s_x · s_w / s_y is below 2**-32; `QuantizeMultiplier` stores 0 and the output is its zero point, whatever the input.
    One of the three scales is wrong: compare them with those of the neighbouring layers (`quantdiff inspect`), look
    for weights close to 0 or an output range far too wide, and calibrate or train again.
    """
    for layer in weighted(wiring):
        multiplier, ends = layer.multiplier, layer.ends()
        if multiplier is None or ends is None or multiplier.size not in (1, ends[0].size):
            continue
        live = (ends[0] != 0) | (ends[1] != 0)
        gone = np.flatnonzero(live & (quantize_multiplier(multiplier)[0] == 0))
        if gone.size:
            smallest = np.broadcast_to(multiplier, live.shape)[gone].min()
            yield Found(layer.place, f"{listed(gone, live.size)}, multiplier {smallest:.3g}")


@check("MULT02", Severity.WARNING, Wiring)
def output_constant(wiring: Wiring) -> Iterator[Found]:
    """No input can move the layer's output by half a step.

    The largest sum that the weights allow, times s_x · s_w / s_y, stays below one half: the output is constant. Its
    range is far too wide for what the layer gives, or the weights' scale far too small; calibrate or train again.
    """
    for layer in weighted(wiring):
        sums, multiplier = layer.once(_weight_sums), layer.multiplier
        if sums is None or multiplier is None or layer.x is None:
            continue
        if multiplier.size not in (1, len(sums)) or not quantize_multiplier(multiplier)[0].any():
            continue  # a multiplier of 0 is MULT01's
        if not wiring.varies(layer.x):
            continue  # the state from which a recurrent layer starts, for one
        low, high = INTEGER_RANGE.get(layer.x.dtype, (0, 0))
        moved = float((sums * multiplier).max()) * (high - low)
        if 0 < moved < HALF_A_STEP:
            yield Found(layer.place, f"at most {moved:.3g} steps")


HALF_A_STEP = 0.5


def _weight_sums(layer: Weighted) -> Array | None:
    """The sum of the absolute weights of each channel, where they are there; row by row, to stay small in memory."""
    rows = layer.rows()
    if rows is None or not layer.fits(rows):
        return None
    points = np.broadcast_to(layer.zero_points()[:, 0], len(rows))
    return np.array([np.abs(row - point).sum() for row, point in zip(rows, points, strict=True)], np.float64)


LEFT_SHIFT = 20
"""Bits that ``add.cc`` and ``sub.cc`` shift 8-bit inputs up."""


@check("MULT03", Severity.ERROR, Wiring)
def add_overflow(wiring: Wiring) -> Iterator[Found]:
    """The output scale of an ADD or SUB is so small that its multiplier exceeds 1.

    TFLite's kernels abort the whole process over it (`QuantizeMultiplierSmallerThanOneExp`). The output's range has
    collapsed: no calibration sample reached it, or min = max in training. Calibrate or train again.
    """
    for node in wiring.nodes:
        if node.operator.op not in ("ADD", "SUB") or not node.outputs:
            continue
        steps = [s for t in node.inputs if t and is_integer_value(t) and (s := scale(t))]
        out = scale(node.outputs[0])
        if steps and out and (multiplier := 2 * max(steps) / (out * 2**LEFT_SHIFT)) >= 1:
            yield Found(wiring.operator(node), f"multiplier {multiplier:.4g}, output scale {out:.4g}")
