"""Biases at the end of int32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import listed, weighted
from quantdiff.linting.wiring import Wiring
from quantdiff.quant import INTEGER_RANGE


@check("BIAS01", Severity.ERROR, Wiring)
def bias_saturated(wiring: Wiring) -> Iterator[Found]:
    """An int32 bias stands at the end of its range.

    It was clipped when the model was converted: the channel's output is off by an unknown amount. Its weights are tiny
    beside its bias, so that input scale × weight scale is too fine a unit. Look at the layer's weights for a dead or
    badly scaled channel, or regularize it; a newer converter widens the weight scale instead.
    """
    low, high = INTEGER_RANGE["int32"]
    for layer in weighted(wiring):
        biases = layer.biases()
        if biases is None or biases.dtype != np.int32:
            continue
        # -2**31 + 1 is where a symmetric clip ends.
        hit = np.flatnonzero((biases <= low + 1) | (biases == high))
        if hit.size:
            yield Found(layer.place, f"{listed(hit, biases.size)} at {biases[hit[0]]}")
