"""Weights that pile up at the ends of the range."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np

from quantdiff.linting.channels import clipped_share, code_counts
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import listed, weighted
from quantdiff.linting.wiring import Wiring


@check("CHAN03", Severity.WARNING, Wiring)
def channel_clipped(wiring: Wiring) -> Iterator[Found]:
    """Many weights of a channel stand at the ends of the range.

    The range was too small and cut them off, which no later rounding repairs. A weight range from quantization-aware
    training that is not the weights' own (a fixed or unsettled one), or clipping on purpose: take min and max of the
    weights (LastValueQuantizer), or train on until they fit.
    """
    for layer in weighted(wiring):
        rows = layer.rows()
        if rows is None or layer.weights.dtype not in ("int8", "uint8"):
            continue
        groups = code_counts(rows)
        if not layer.per_channel:
            groups = iter([reduce(np.add, groups)])
        shares = np.array([clipped_share(counts, rows.dtype.name) for counts in groups])
        if shares.any():
            where = listed(np.flatnonzero(shares), len(shares)) if layer.per_channel else "the tensor"
            yield Found(layer.place, f"{where}, up to {shares.max():.1%} of the values")
