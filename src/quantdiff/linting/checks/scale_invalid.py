"""Scales that are no positive number."""

from __future__ import annotations

import math
from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity, counted
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring
from quantdiff.quant import INTEGER_RANGE


@check("SCALE01", Severity.ERROR, Wiring)
def scale_invalid(wiring: Wiring) -> Iterator[Found]:
    """A scale is zero, negative, infinite or NaN.

    No real value can be read from such a tensor; kernels divide by it, and some abort the whole process over it. Usual
    cause: a range that was never observed (no calibration sample reached the tensor), a constant that is 0 throughout,
    or min = max in quantization-aware training. Calibrate or train again.
    """
    for tensor in wiring.graph.tensors:
        used = tensor.index in wiring.consumers or tensor.index in wiring.producers
        if not used or tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
            continue
        bad = [s for s in tensor.quant.scale if not (math.isfinite(s) and s > 0)]
        if bad:
            yield Found(
                wiring.tensor(tensor), f"{len(bad)} of {counted(len(tensor.quant.scale), 'scale')}, first {bad[0]:g}"
            )
