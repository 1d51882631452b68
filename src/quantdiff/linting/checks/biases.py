"""Stored biases: cut off, or in another unit than the sums that they are added to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from quantdiff.linting.registry import Found, Severity, check
from quantdiff.linting.weighted import Weighted, input_of, listed, weighted
from quantdiff.linting.wiring import Wiring, is_quantized, scale, scales
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import is_wide
from quantdiff.sim.rounding.fixed_point import is_misread


@check("BIAS01", Severity.ERROR, Wiring)
def bias_saturated(wiring: Wiring) -> Iterator[Found]:
    """An int32 bias stands at the end of its range.

    It was clipped when the model was converted: the channel's output is off by an unknown amount. Its weights are tiny
    beside its bias, so that input scale × weight scale is too fine a unit. Look at the layer's weights for a dead or
    badly scaled channel, or regularize it; a newer converter widens the weight scale instead.
    """
    low, high = INTEGER_RANGE["int32"]
    for layer in weighted(wiring):
        biases = layer.biases()
        if biases is None or biases.dtype != np.int32:
            continue
        # -2**31 + 1 is where a symmetric clip ends.
        hit = np.flatnonzero((biases <= low + 1) | (biases == high))
        if hit.size:
            yield Found(layer.place, f"{listed(hit, biases.size)} at {biases[hit[0]]}")


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


@check("BIAS03", Severity.INFO, Wiring)
def bias_scale_off(wiring: Wiring) -> Iterator[Found]:
    """The stored bias scale differs a little from input scale × weight scale.

    The kernels use the product and ignore what is stored; here the difference is far below one step of the output. A
    tool that reads the stored scale (a simulator, an FPGA port) should use the product too.
    """
    for layer in weighted(wiring):
        if (off := bias_offset(layer)) and not off.matters:
            yield Found(layer.place, off.text)


@check("BIAS04", Severity.ERROR, Wiring)
def bias_too_narrow(wiring: Wiring) -> Iterator[Found]:
    """An int16 layer has an int32 bias and does not say so.

    LiteRT reads it as int64 unless the option `quantized_bias_type` is INT32: two biases become one, and the memory
    behind the last ones goes into the sums. TensorFlow Lite Micro reads what is stored, but for TRANSPOSE_CONV. onnx2tf
    writes such files with `-oiqt`; quantize its float file with litert-quantizer instead, or store the biases as int64.
    """
    for layer in weighted(wiring):
        given = input_of(layer.node, traits(layer.node.operator.op).x) and input_of(layer.node, 1)
        if given and is_wide(layer.node) and is_misread(layer.node, layer.bias):
            yield Found(layer.place, "int16 input, int32 bias")


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
