"""Kernels of layers and constants of the file: found by name, confirmed or found by value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quantdiff.align.chains import by_name, fused_chain, owners
from quantdiff.align.pairs import Pair
from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.layer import Layer
from quantdiff.quant import Array

BIAS_AT = {"FULLY_CONNECTED": 2, "CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "TRANSPOSE_CONV": 3}
SAME_WEIGHTS = 0.25  # largest relative error (Euclidean) of two kernels, one of them rounded to as little as 4 bits


def weight_pairs(layers: Sequence[Layer], graph: Graph) -> Iterator[Pair]:
    """Kernel and bias of every operator that has them."""
    free = [layer for layer in layers if layer.kernel is not None]
    for op in graph.operators:
        kernel = graph.tensors[op.inputs[1]] if op.op in BIAS_AT else None
        found = _owner(free, layers, kernel) if kernel is not None and kernel.data is not None else None
        if kernel is None or found is None:
            continue
        layer, found_by = found
        free.remove(layer)
        error, folded = mismatch(layers, layer, kernel)
        chain = fused_chain(layers, layer)
        fused = tuple(each.name for each in (chain if folded else _before_norm(chain)))
        yield Pair(layer.name, "kernel", kernel.index, op.index, found_by, fused, error < SAME_WEIGHTS)
        if (bias := _bias(op)) is not None:
            yield Pair(layer.name, "bias", bias, op.index, found_by, fused)


def _owner(free: Sequence[Layer], layers: Sequence[Layer], kernel: Tensor) -> tuple[Layer, str] | None:
    """The layer that a kernel belongs to: named and with these values, else with these values, else named alone."""
    fitting = [layer for layer in free if _fits(layer, kernel)]
    named = [layer for layer in owners(kernel.name, by_name(layers)) if layer in fitting]
    for candidates, found_by in ((named, "name"), (fitting, "values")):
        errors = {layer.name: mismatch(layers, layer, kernel)[0] for layer in candidates}
        best = min(candidates, key=lambda layer: errors[layer.name], default=None)
        if best is not None and errors[best.name] < SAME_WEIGHTS:
            return best, found_by
    return (named[0], "name") if named else None


def _bias(op: Operator) -> int | None:
    at = BIAS_AT[op.op]
    return op.inputs[at] if len(op.inputs) > at and op.inputs[at] >= 0 else None


def _before_norm(chain: Sequence[Layer]) -> Sequence[Layer]:
    """The layers up to a batch norm that stayed an operator of its own."""
    norms = [i for i, layer in enumerate(chain) if layer.norm is not None]
    return chain[: norms[0]] if norms else chain


def mismatch(layers: Sequence[Layer], layer: Layer, kernel: Tensor) -> tuple[float, bool]:
    """Relative error of a stored kernel against the layer's, and whether batch norm is folded into it."""
    assert layer.kernel is not None
    stored, own = real_values(kernel).ravel(), tflite_layout(layer, layer.kernel).astype(np.float64)
    errors = [(relative_error(stored, own.ravel()), False)]
    norms = [each.norm.factor for each in fused_chain(layers, layer) if each.norm is not None]
    if norms:
        shape = (-1,) if layer.kind == "DepthwiseConv2D" else (-1, *[1] * (own.ndim - 1))
        errors.append((relative_error(stored, (own * np.prod(norms, axis=0).reshape(shape)).ravel()), True))
    error, folded = min(errors)
    return error, folded or not norms


def tflite_layout(layer: Layer, kernel: Array) -> Array:
    """A kernel in TFLite's order of axes: the output channels first, for a depthwise one last."""
    if layer.kind == "DepthwiseConv2D":
        return kernel.reshape(1, *kernel.shape[:2], -1)
    if layer.kind == "Conv2DTranspose":
        return kernel.transpose(2, 0, 1, 3)
    if layer.kind == "Conv1D":
        return kernel.transpose(2, 0, 1)[:, None]
    return np.moveaxis(kernel, -1, 0)


def real_values(tensor: Tensor) -> Array:
    """A constant in real units, double."""
    assert tensor.data is not None
    if tensor.quant is None:
        return tensor.data.astype(np.float64)
    scale, zero_point = tensor.quant.along(tensor.data.ndim)
    values: Array = (tensor.data.astype(np.int64) - zero_point) * scale.astype(np.float64)
    return values


def _fits(layer: Layer, kernel: Tensor) -> bool:
    """Whether the shapes agree, axes of size 1 aside."""
    if layer.kernel is None or kernel.data is None:
        return False
    own = tflite_layout(layer, layer.kernel).shape
    return [n for n in own if n != 1] == [n for n in kernel.data.shape if n != 1]


def relative_error(stored: Array, own: Array) -> float:
    """Euclidean length of the difference over that of ``own``."""
    size = float(np.linalg.norm(own))
    return float(np.linalg.norm(stored - own)) / size if size else float(stored.any())
