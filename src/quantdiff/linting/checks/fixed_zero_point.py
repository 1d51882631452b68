"""Tensors whose zero point the kernels take for 0."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring, is_quantized


@check("ZERO03", Severity.ERROR, Wiring)
def fixed_zero_point(wiring: Wiring) -> Iterator[Found]:
    """A bias or an int16 activation has a zero point other than 0.

    The kernels take it for 0: they refuse the file, or compute as if it were not there. Convert again, or shift the
    stored integers so that the zero point is 0.
    """
    biases = {layer.bias.index: layer.bias for layer in weighted(wiring) if layer.bias and is_quantized(layer.bias)}
    wide = {t.index: t for layer in weighted(wiring) for t in (layer.x, layer.y) if t and t.dtype == "int16"}
    for tensor in (biases | wide).values():
        points = [z for z in tensor.quant.zero_point if z] if tensor.quant else []
        if points:
            yield Found(wiring.tensor(tensor), f"{tensor.dtype} with zero point {points[0]}")
