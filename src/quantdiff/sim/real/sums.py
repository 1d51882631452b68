"""Sums of products: the exact accumulator times the product of the scales."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, quant_of, scale_of
from quantdiff.sim.ops import transpose_conv
from quantdiff.sim.real.registry import real
from quantdiff.sim.rounding.requantization import ACCUMULATE

BIAS = 2


@real("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", stored=True)
def sum_of_products(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    """``(sum of (x - z_x) (w - z_w)) s_x s_w + bias s_b``. Shapes as the op has them; scales per output channel."""
    if node.x.dtype == "float32":
        raise NoKernel("weights alone are quantized")
    return _scaled(node, ACCUMULATE[node.operator.op](node, x, w), (0, 1), bias)


@real("TRANSPOSE_CONV", stored=True)
def transposed(node: Node, shape: Array, w: Array, x: Array, bias: Array | None = None) -> Array:
    """The same for the transpose of a convolution."""
    return _scaled(node, transpose_conv.accumulate(node, [int(size) for size in shape], w, x), (2, 1), bias)


@real("BATCH_MATMUL")
def batch_matmul(node: Node, a: Array, b: Array) -> Array:
    """``a @ b``, each side transposed on request; exact, as every product is one of integers times two scales."""
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    product: Array = left @ right
    return product


def _scaled(node: Node, acc: Array, factors: tuple[int, int], bias: Array | None) -> Array:
    x, w = (np.asarray(scale_of(node.at(i)), np.float64) for i in factors)
    y = acc.astype(np.float64) * (x * w)
    if bias is not None:
        given = node.at(BIAS if factors == (0, 1) else BIAS + 1)
        scale = np.asarray(quant_of(given).scale, np.float32).astype(np.float64)
        y += bias.reshape(-1).astype(np.float64) * scale
    return y
