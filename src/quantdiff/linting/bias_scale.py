"""How far a stored bias scale is from input scale × weight scale, and whether that shows in the output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from quantdiff.linting.weighted import Weighted
from quantdiff.linting.wiring import is_quantized, scale, scales
from quantdiff.quant import Array

ROUNDING = 1e-6
"""Relative; products of two float32 differ by 1.2e-7 with the order of rounding."""
SMALL = 1e-3
"""Relative; above it the scale was not computed from these two."""
REFUSED = 0.02
"""Of one output step: ``GetQuantizedConvolutionMultipler`` in TFLite's ``kernel_util.cc`` refuses more."""
HALF_A_STEP = 0.5


class BiasOffset(NamedTuple):
    """The worst channel's difference; ``matters`` when outputs are wrong or the file may be refused."""

    text: str
    matters: bool


def bias_offset(layer: Weighted) -> BiasOffset | None:
    """The difference, None where there is none beyond rounding, or nothing to compare."""
    product, stored, step = layer.product_scale, scales(layer.bias), scale(layer.y)
    if product is None or stored is None or step is None or not is_quantized(layer.bias) or not product.all():
        return None
    if stored.size != product.size and 1 not in (stored.size, product.size):
        return BiasOffset(f"{stored.size} bias scales for {product.size} weight scales", matters=True)
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(stored - product)
        relative = difference / product
    if not relative.max() > ROUNDING:
        return None
    worst = int(relative.argmax())
    expected, found = (float(np.broadcast_to(each, relative.shape)[worst]) for each in (product, stored))
    shift = _shift(layer, difference / step)
    wrong = shift > 0 and bool(relative[worst] > SMALL or shift >= HALF_A_STEP)
    refused = product.size == 1 and bool((difference / step).max() > REFUSED)
    if not (shift or refused):
        return None  # no bias, no unit: converters store any scale then
    text = f"stored {found:.6g}, product {expected:.6g}; moves the output by up to {shift:.3g} steps"
    return BiasOffset(text, wrong or refused)


def _shift(layer: Weighted, steps_per_unit: Array) -> float:
    """Output steps between the bias as its scale says and as the kernel adds it; infinite when it cannot be told."""
    biases = layer.biases()
    if biases is None or steps_per_unit.size not in (1, biases.size):
        return float("inf")
    return float((np.abs(biases.astype(np.float64)) * steps_per_unit).max(initial=0.0))
