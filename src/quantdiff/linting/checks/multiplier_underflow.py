"""Multipliers too small for 31 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import listed, weighted
from quantdiff.linting.wiring import Wiring
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
