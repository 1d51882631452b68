"""The real multiplier ``s_x · s_w / s_y``: three ways to round it, each used by some kernel."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.fixed_point import Rounding
from quantdiff.sim.node import Node, scale_of


def product_scale(node: Node, rounding: Rounding) -> Array:
    """Effective scale of input 0 times input 1, per channel when the weights are.

    float32 throughout for XNNPACK (``convolution-nhwc.c``, ``init_requantization_scale_*``), else
    float64 throughout (``kernel_util.cc``, ``PopulateConvolutionQuantizationParams``).
    """
    x, w, y = scale_of(node.at(0)), scale_of(node.at(1)), scale_of(node.y)
    if rounding is Rounding.XNNPACK:
        return x * w / y
    return np.float64(x) * np.asarray(w, np.float64) / np.float64(y)


def float_product_scale(node: Node) -> Array:
    """The same with the product rounded to float32 first (``GetQuantizedConvolutionMultipler``)."""
    product = scale_of(node.at(0)) * scale_of(node.at(1))
    return np.asarray(product, np.float64) / np.float64(scale_of(node.y))
