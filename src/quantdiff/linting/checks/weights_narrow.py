"""Weights that leave codes unused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.channels import held_by_bias, used_share
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import listed, weighted
from quantdiff.linting.wiring import Wiring


@check("RANGE01", Severity.WARNING, Wiring)
def weights_narrow(wiring: Wiring) -> Iterator[Found]:
    """Weights use less than half of their codes.

    The scale is made for a larger range than the weights have, so at least one bit of precision is given away. Usual
    cause: a weight range from training that outlived the weights (AllValuesQuantizer, an early stop, weights pruned or
    decayed later). Quantize the final weights by their own min and max.
    """
    for layer in weighted(wiring):
        ends = layer.ends()
        if ends is None or layer.weights.dtype not in ("int8", "uint8", "int16"):
            continue
        used = used_share(layer, *ends)
        narrow = np.flatnonzero((used > 0) & (used < ONE_BIT) & ~held_by_bias(layer, len(used)))
        if narrow.size:
            scope = listed(narrow, len(used)) if layer.per_channel else "the whole tensor"
            yield Found(layer.place, f"{scope}: {used[narrow].min():.1%} of the codes")


ONE_BIT = 0.5
