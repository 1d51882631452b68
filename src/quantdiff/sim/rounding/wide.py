"""16-bit activations on 8-bit weights: wider sums, and rules of their own.

Sources: LiteRT ``tflite/kernels/conv.cc`` (``EvalQuantizedPerChannel16x8``), ``fully_connected.cc``
(``FullyConnectedInt16``), ``internal/reference/integer_ops/{conv,depthwise_conv}.h``; tflm:
``tensorflow/lite/micro/kernels/{conv,depthwise_conv,fully_connected}.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_int64_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    wrap_int32,
)
from quantdiff.sim.runtime import Runtime

OFF = 0
"""What the kernels of convolutions take off and add as zero points: nothing. LiteRT refuses others, TFLM runs them."""
REACH = 2**15
"""The largest distance of an int16 from 0."""


def has_int64_sum(node: Node, position: int, runtime: Runtime) -> bool:
    """True where the sum has 64 bits: ``quantized_bias_type`` says so, or nothing does; TFLM goes by a bias first."""
    bias = node.inputs[position] if position < len(node.inputs) else None
    if bias is not None and runtime is Runtime.TFLM:
        return bias.dtype != "int32"
    if is_misread(node, bias):
        raise NoKernel("an int32 bias without quantized_bias_type, which LiteRT reads as int64")
    return _bias_type(node) != "int32"


def is_misread(node: Node, bias: Tensor | None) -> bool:
    """True where LiteRT takes a bias of 32 bits for one of 64."""
    return bias is not None and bias.dtype == "int32" and _bias_type(node) == "float32"


def _bias_type(node: Node) -> str:
    return str(node.option("quantized_bias_type", "FLOAT32")).lower()


def symmetric(node: Node) -> bool:
    """True where no zero point stands in the way of the fast kernels."""
    return not any(zero_point_of(tensor) for tensor in (node.x, node.at(1), node.y))


def round_sum(acc: Array, bias: Array | None, scale: Array, rounding: Rounding, int64_sum: bool) -> Array:
    """The sum of products and bias, scaled: one rounding from 64 bits, the rule asked for from 32.

    Shapes: acc (…, n), bias (n,), scale () or (n,).
    """
    total = acc if bias is None else acc + bias
    if not int64_sum:
        return requantize(wrap_int32(total), scale, rounding)
    if rounding is Rounding.DOUBLE:
        return requantize(total, scale, rounding)
    return multiply_int64_by_quantized_multiplier(total, *quantize_multiplier(scale))


def refuse_narrow_bias(bias: Array | None, whose: str) -> None:
    """Kernels whose sums have 64 bits alone take any bias for one of 64."""
    if bias is not None and bias.dtype != np.int64:
        raise NoKernel(f"16-bit values with a bias of 32 bits, which {whose} reads as int64")


def refuse_weights_off_zero(node: Node) -> None:
    """The 16-bit kernels know no zero point of the weights."""
    if zero_point_of(node.at(1)):
        raise NoKernel("16-bit activations on weights whose zero point is not 0")
