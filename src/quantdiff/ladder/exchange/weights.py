"""Kernels: the stored integers times their scale instead of the trained kernel, through a folded batch norm too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantdiff.align.alignment import TensorPair
from quantdiff.graph import Tensor, real_values
from quantdiff.ladder.exchange.changes import Change, Exchange, assign, replace
from quantdiff.ladder.exchange.variables import variable_of
from quantdiff.layer import KERNEL_RANGES, Layer, along_channels
from quantdiff.parameters.folding import factor, quantized_kernel
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import Array

SAME = 2.0**-8
"""Steps: further from its integer no weight of a kernel gets by float rounding alone."""


def exchange_weights(sides: ModelPair, live: dict[str, Any]) -> Exchange:
    """Every kernel that the file stores otherwise than the model uses it."""
    return Exchange(tuple(change for layer in sides.layers for change in _of_layer(sides, live, layer)))


def residues(sides: ModelPair, layer: Layer, pair: TensorPair) -> Array | None:
    """How far the stored integers lie from the kernel that the reference uses, in steps; None without integers.

    Shape: that of the stored kernel. A quantization-aware kernel lies on its integers, a float one within half a step.
    """
    tensor, own = sides.graph.tensors[pair.tensor], _own(sides, layer, pair)
    if tensor.quant is None or tensor.data is None or own.size != tensor.data.size:
        return None
    scale, zero_point = tensor.quant.along(tensor.data.ndim)
    steps = own.reshape(tensor.data.shape) / scale.astype(np.float64)
    difference: Array = tensor.data.astype(np.float64) - zero_point - steps
    return difference


def _of_layer(sides: ModelPair, live: dict[str, Any], layer: Layer) -> Iterator[Change]:
    pair = sides.alignment.find(layer.name, "kernel")
    if pair is None or layer.kernel is None:
        return
    tensor, keras = sides.graph.tensors[pair.tensor], live[layer.name]
    steps = residues(sides, layer, pair)
    variable = variable_of(keras, *KERNEL_RANGES)
    if variable is None or tensor.data is None or (steps is not None and np.abs(steps).max(initial=0) < SAME):
        return
    yield assign(layer.name, variable, _in_keras(sides, layer, pair, tensor).reshape(variable.shape))
    if getattr(keras, "_weight_vars", None):  # TFMOT's fake-quant would move what is on its grid already
        as_is = [(weight, _as_is, variables) for weight, _, variables in keras._weight_vars]
        yield replace(layer.name, keras, "_weight_vars", as_is)


def _own(sides: ModelPair, layer: Layer, pair: TensorPair) -> Array:
    """The kernel as the reference uses it, folded, in TFLite's order of axes, double."""
    own: Array = quantized_kernel(layer, layer.range_of(*KERNEL_RANGES)).astype(np.float64)
    scale = factor(sides.chain(layer, pair))
    return own if scale is None else own * along_channels(layer, scale)


def _in_keras(sides: ModelPair, layer: Layer, pair: TensorPair, tensor: Tensor) -> Array:
    """The stored kernel in Keras' order of axes, with the batch norm's factor, which Keras applies later, taken out."""
    assert layer.kernel is not None
    stored, scale = real_values(tensor).reshape(layer.kernel.shape), factor(sides.chain(layer, pair))
    if scale is not None:
        along = along_channels(layer, scale)
        stored = stored / np.where(along == 0, 1, along)
    if layer.op == "DEPTHWISE_CONV_2D":
        return np.asarray(stored[0])
    return np.asarray(stored.transpose(1, 2, 0, 3) if layer.op == "TRANSPOSE_CONV" else np.moveaxis(stored, 0, -1))


def _as_is(x: Any, training: Any, weights: Any, **_: Any) -> Any:
    del training, weights
    return x
