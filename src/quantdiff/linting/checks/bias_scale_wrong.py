"""A bias in another unit than the sums that it is added to."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.bias_scale import bias_offset
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring


@check("BIAS02", Severity.ERROR, Wiring)
def bias_scale_wrong(wiring: Wiring) -> Iterator[Found]:
    """The bias is not in units of input scale × weight scale.

    The kernels add the stored integers to the sums and ignore the bias's own scale, so the output is wrong; where
    scales are per tensor, TFLite may refuse the file (`scale_diff / output_scale <= 0.02`). Convert again; if you
    write or edit the file yourself, store round(bias / (s_x · s_w)) with that scale and zero point 0.
    """
    for layer in weighted(wiring):
        if (off := bias_offset(layer)) and off.matters:
            yield Found(layer.place, off.text)
