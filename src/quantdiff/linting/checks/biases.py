"""What is added to sums, and what these are multiplied by: cut off, too small, too large, in another unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from quantdiff.linting.lint import Found, Severity, check
from quantdiff.linting.wiring import (
    Weighted,
    Wiring,
    input_of,
    is_integer_value,
    is_quantized,
    listed,
    scale,
    scales,
    weighted,
)
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import is_wide
from quantdiff.sim.rounding.fixed_point import is_misread, quantize_multiplier


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


@check("MULT01", Severity.ERROR, Wiring)
def multiplier_underflow(wiring: Wiring) -> Iterator[Found]:
    """The output multiplier is so small that it becomes 0.

    s_x · s_w / s_y is below 2**-32; `QuantizeMultiplier` stores 0 and the output is its zero point, whatever the input.
    One of the three scales is wrong: compare them with those of the neighbouring layers (`quantdiff inspect`), look
    for weights close to 0 or an output range far too wide, and calibrate or train again.
    """
    for layer in weighted(wiring):
        multiplier, ends = layer.multiplier, layer.ends()
        if multiplier is None or ends is None or multiplier.size not in (1, ends[0].size):
            continue
        live = (ends[0] != 0) | (ends[1] != 0)
        gone = np.flatnonzero(live & (quantize_multiplier(multiplier)[0] == 0))
        if gone.size:
            smallest = np.broadcast_to(multiplier, live.shape)[gone].min()
            yield Found(layer.place, f"{listed(gone, live.size)}, multiplier {smallest:.3g}")


@check("MULT02", Severity.WARNING, Wiring)
def output_constant(wiring: Wiring) -> Iterator[Found]:
    """No input can move the layer's output by half a step.

    The largest sum that the weights allow, times s_x · s_w / s_y, stays below one half: the output is constant. Its
    range is far too wide for what the layer gives, or the weights' scale far too small; calibrate or train again.
    """
    for layer in weighted(wiring):
        sums, multiplier = layer.once(_weight_sums), layer.multiplier
        if sums is None or multiplier is None or layer.x is None:
            continue
        if multiplier.size not in (1, len(sums)) or not quantize_multiplier(multiplier)[0].any():
            continue  # a multiplier of 0 is MULT01's
        if not wiring.varies(layer.x):
            continue  # the state from which a recurrent layer starts, for one
        low, high = INTEGER_RANGE.get(layer.x.dtype, (0, 0))
        moved = float((sums * multiplier).max()) * (high - low)
        if 0 < moved < HALF_A_STEP:
            yield Found(layer.place, f"at most {moved:.3g} steps")


def _weight_sums(layer: Weighted) -> Array | None:
    """The sum of the absolute weights of each channel, where they are there; row by row, to stay small in memory."""
    rows = layer.rows()
    if rows is None or not layer.fits(rows):
        return None
    points = np.broadcast_to(layer.zero_points()[:, 0], len(rows))
    return np.array([np.abs(row - point).sum() for row, point in zip(rows, points, strict=True)], np.float64)


LEFT_SHIFT = 20
"""Bits that ``add.cc`` and ``sub.cc`` shift 8-bit inputs up."""


@check("MULT03", Severity.ERROR, Wiring)
def add_overflow(wiring: Wiring) -> Iterator[Found]:
    """The output scale of an ADD or SUB is so small that its multiplier exceeds 1.

    TFLite's kernels abort the whole process over it (`QuantizeMultiplierSmallerThanOneExp`). The output's range has
    collapsed: no calibration sample reached it, or min = max in training. Calibrate or train again.
    """
    for node in wiring.nodes:
        if node.operator.op not in ("ADD", "SUB") or not node.outputs:
            continue
        steps = [s for t in node.inputs if t and is_integer_value(t) and (s := scale(t))]
        out = scale(node.outputs[0])
        if steps and out and (multiplier := 2 * max(steps) / (out * 2**LEFT_SHIFT)) >= 1:
            yield Found(wiring.operator(node), f"multiplier {multiplier:.4g}, output scale {out:.4g}")
