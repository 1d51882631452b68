"""Kernels of layers and constants of the file, held against each other by value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.align.chains import fused_chain
from quantdiff.graph import Tensor
from quantdiff.load.layers import Layer
from quantdiff.quant import Array

SAME_WEIGHTS = 0.95  # cosine of two kernels, one of them rounded to 8 bits


def tflite_layout(layer: Layer, kernel: Array) -> Array:
    """A kernel in TFLite's order of axes: the output channels first, for a depthwise one last."""
    if layer.kind == "DepthwiseConv2D":
        return kernel.reshape(1, *kernel.shape[:2], -1)
    if layer.kind == "Conv2DTranspose":
        return kernel.transpose(2, 0, 1, 3)
    if layer.kind == "Conv1D":
        return kernel.transpose(2, 0, 1)[:, None]
    return np.moveaxis(kernel, -1, 0)


def same_weights(layers: Sequence[Layer], layer: Layer, kernel: Tensor) -> bool:
    """Whether a stored kernel holds the layer's weights, batch norm folded or not, up to rounding."""
    if not fits(layer, kernel) or kernel.data is None or layer.kernel is None:
        return False
    stored = real_values(kernel).ravel()
    own = tflite_layout(layer, layer.kernel)
    factors = [norm.norm.factor for norm in fused_chain(layers, layer) if norm.norm is not None]
    shape = (-1,) if layer.kind == "DepthwiseConv2D" else (-1, *[1] * (own.ndim - 1))
    candidates = [own, *(own * factor.reshape(shape) for factor in factors if factor.size in own.shape)]
    return any(_cosine(stored, each.ravel()) > SAME_WEIGHTS for each in candidates)


def real_values(tensor: Tensor) -> Array:
    """A constant in real units, double."""
    assert tensor.data is not None
    if tensor.quant is None:
        return tensor.data.astype(np.float64)
    scale, zero_point = tensor.quant.along(tensor.data.ndim)
    values: Array = (tensor.data.astype(np.int64) - zero_point) * scale.astype(np.float64)
    return values


def fits(layer: Layer, kernel: Tensor) -> bool:
    """Whether the shapes agree, axes of size 1 aside."""
    if layer.kernel is None or kernel.data is None:
        return False
    own = tflite_layout(layer, layer.kernel).shape
    return [n for n in own if n != 1] == [n for n in kernel.data.shape if n != 1]


def _cosine(a: Array, b: Array) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else float(not a.any() and not b.any())
