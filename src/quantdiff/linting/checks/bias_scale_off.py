"""A bias scale that is off by too little to matter."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.bias_scale import bias_offset
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring


@check("BIAS03", Severity.INFO, Wiring)
def bias_scale_off(wiring: Wiring) -> Iterator[Found]:
    """The stored bias scale differs a little from input scale × weight scale.

    The kernels use the product and ignore what is stored; here the difference is far below one step of the output. A
    tool that reads the stored scale (a simulator, an FPGA port) should use the product too.
    """
    for layer in weighted(wiring):
        if (off := bias_offset(layer)) and not off.matters:
            yield Found(layer.place, off.text)
