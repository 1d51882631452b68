"""The real multiplier ``s_x · s_w / s_y``: three ways to round it, each used by some kernel."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.runtime import Runtime


def product_scale(node: Node, rounding: Rounding, factors: tuple[int, int] = (0, 1)) -> Array:
    """Effective scale of two inputs, per channel when the weights are.

    float32 throughout for XNNPACK (``convolution-nhwc.c``, ``init_requantization_scale_*``), else
    float64 throughout (``kernel_util.cc``, ``PopulateConvolutionQuantizationParams``).
    """
    x, w, y = scale_of(node.at(factors[0])), scale_of(node.at(factors[1])), scale_of(node.y)
    if rounding is Rounding.XNNPACK:
        return x * w / y
    return np.float64(x) * np.asarray(w, np.float64) / np.float64(y)


def convolution_scale(node: Node, runtime: Runtime) -> Array:
    """``product_scale`` for int8, and for uint8 the older way by ``float_product_scale``; XNNPACK has its own."""
    if by_xnnpack(runtime):
        return product_scale(node, Rounding.XNNPACK)
    return float_product_scale(node) if node.x.dtype == "uint8" else product_scale(node, Rounding.DOUBLE)


def by_xnnpack(runtime: Runtime) -> bool:
    """Whether scales and clamps are XNNPACK's, however it rounds."""
    return runtime.family is Runtime.XNNPACK


def check_8_bit(node: Node) -> None:
    """Refuse all but int8 × int8 → int8 and uint8 × uint8 → uint8, the weights perhaps stored in 4 or 2 bits."""
    x, w, y = node.x, node.at(1), node.y
    narrow = x.dtype == "int8" and w.dtype in ("int4", "int2")
    if not (is_quantized(x, "int8", "uint8") and x.dtype == y.dtype and (w.dtype == x.dtype or narrow)):
        raise NoKernel(f"types {x.dtype} × {w.dtype} -> {y.dtype}")


def refuse_wrapping_zero_points(node: Node) -> None:
    """Ruy and its kin hold a zero point in the type of its matrix: of -300 in int8 they make -44."""
    for tensor in (node.x, node.at(1), node.y):
        low, high = INTEGER_RANGE[tensor.dtype]
        if not low <= zero_point_of(tensor) <= high:
            point = f"zero point {zero_point_of(tensor)} of {tensor.label!r}"
            raise NoKernel(f"{point}: {tensor.dtype} has no such value, and builtin's products keep its low 8 bits")


def float_product_scale(node: Node) -> Array:
    """The same with the product rounded to float32 first (``GetQuantizedConvolutionMultipler``)."""
    product = scale_of(node.at(0)) * scale_of(node.at(1))
    return np.asarray(product, np.float64) / np.float64(scale_of(node.y))
