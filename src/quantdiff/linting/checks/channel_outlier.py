"""One channel that sets the scale for all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring

TOLERATED = 8.0
"""How far the widest channel may reach beyond the middle one: three bits."""


@check("CHAN04", Severity.WARNING, Wiring)
def channel_outlier(wiring: Wiring) -> Iterator[Found]:
    """One channel's weights reach far beyond the others', and all share one scale.

    The scale is made for the widest channel, so the others get a few codes only: with a factor of 8, five bits of the
    eight. Quantize weights per channel, or bring the channels to one range (cross-layer equalization, weight
    regularization; a folded batch norm with a tiny variance is a usual cause).
    """
    for layer in weighted(wiring):
        if layer.per_channel or (ends := layer.ends()) is None:
            continue
        reach = np.maximum(-ends[0], ends[1])
        live = reach[reach > 0]
        if live.size and live.max() > TOLERATED * (middle := float(np.median(live))):
            widest = int(reach.argmax())
            evidence = f"channel {widest} reaches {reach[widest]} steps, the median of {reach.size} channels {middle:g}"
            yield Found(layer.place, evidence)
