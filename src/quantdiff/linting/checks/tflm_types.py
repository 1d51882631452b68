"""Types that TFLM has no kernel for."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring

TYPES = {("float32", "float32"), ("int8", "int8"), ("int8", "int4"), ("int16", "int8")}
"""Input and weights that TFLM takes (``micro/kernels/{conv,depthwise_conv,fully_connected,transpose_conv}.cc``)."""


@check("TFLM02", Severity.INFO, Wiring)
def tflm_types(wiring: Wiring) -> Iterator[Found]:
    """TensorFlow Lite Micro has this operator, but not for these types.

    It computes int8, int16 with int8 weights, or float throughout: not the old uint8 scheme, and no float input with
    int8 weights (dynamic range). For a microcontroller convert to full int8; elsewhere this does not matter.
    """
    for layer in weighted(wiring):
        if layer.x is not None and (layer.x.dtype, layer.weights.dtype) not in TYPES:
            yield Found(layer.place, f"{layer.x.dtype} input with {layer.weights.dtype} weights")
