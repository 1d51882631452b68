"""Zero points that the dtype cannot hold."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring
from quantdiff.quant import INTEGER_RANGE


@check("ZERO01", Severity.ERROR, Wiring)
def zero_point_outside(wiring: Wiring) -> Iterator[Found]:
    """A zero point is no value of its dtype.

    Real 0 has no code: padding and ReLU are wrong, and runtimes refuse the file or give garbage. A mix-up of uint8 and
    int8 looks like this (they differ by 128). Convert again, or subtract 128 when you rewrite uint8 as int8.
    """
    for tensor in wiring.graph.tensors:
        if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
            continue
        low, high = INTEGER_RANGE[tensor.dtype]
        outside = [z for z in tensor.quant.zero_point if not low <= z <= high]
        if outside:
            yield Found(wiring.tensor(tensor), f"zero point {outside[0]}, {tensor.dtype} holds {low} to {high}")
