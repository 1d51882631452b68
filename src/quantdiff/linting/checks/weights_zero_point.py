"""Weights that are not symmetric."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring


@check("ZERO02", Severity.WARNING, Wiring)
def weights_zero_point(wiring: Wiring) -> Iterator[Found]:
    """Signed weights have a zero point other than 0.

    TFLite's specification wants symmetric weights. Convolution kernels ignore the zero point, so the result is wrong;
    XNNPACK declines such a dense layer. Quantize weights with zero point 0. (The old uint8 scheme is not concerned.)
    """
    for layer in weighted(wiring):
        points = layer.zero_points()
        if layer.weights.dtype.startswith("int") and points.any():
            yield Found(layer.place, f"{layer.weights.dtype} weights with zero point {points[points != 0][0]}")
