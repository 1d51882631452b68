"""A chain of Keras layers as the one operator that a converter makes of it: batch norm folded in, ReLU as a clamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.layer import KERNEL_RANGES, Layer, TrainedRange
from quantdiff.nudge import fake_quant, nudge_fake_quant
from quantdiff.parameters.by_hand import CLAMPS, Linear
from quantdiff.quant import Array

LINEAR = ("Dense", "Conv2D", "DepthwiseConv2D")


def factor(chain: Sequence[Layer]) -> Array | None:
    """What batch norm multiplies each channel with, ``gamma / sqrt(variance + epsilon)``; None without one."""
    norms = [layer.norm.factor for layer in chain if layer.norm is not None]
    return None if not norms else np.asarray(np.prod(norms, axis=0))


def folded_bias(chain: Sequence[Layer]) -> Array | None:
    """The bias with batch norm in it, ``(bias - mean) * factor + beta``, in double; None where there is none at all."""
    bias = None if chain[0].bias is None else chain[0].bias.astype(np.float64)
    for norm in (layer.norm for layer in chain if layer.norm is not None):
        bias = ((0.0 if bias is None else bias) - norm.mean) * norm.factor + norm.beta
    return bias


def quantized_kernel(layer: Layer, trained: TrainedRange | None) -> Array:
    """The kernel as the QAT model uses it, float32: fake-quantized, or as it is where it has no range."""
    assert layer.kernel is not None
    if trained is None:
        return layer.kernel
    nudged = nudge_fake_quant(np.array(trained.low), np.array(trained.high), bits=trained.bits, narrow=trained.narrow)
    return fake_quant(layer.kernel, nudged, bits=trained.bits, narrow=trained.narrow)


def linear(chain: Sequence[Layer]) -> Linear | None:
    """The chain as one linear layer with a clamp; None for a kind that is not computed by hand."""
    first, clamp = chain[0], _clamp(chain)
    plain = first.options.get("groups", 1) == 1 and first.options.get("data_format") != "channels_first"
    if first.kind not in LINEAR or first.kernel is None or clamp is None or not plain:
        return None
    kernel = quantized_kernel(first, first.range_of(*KERNEL_RANGES)).astype(np.float64)
    scale = factor(chain)
    if scale is not None:
        kernel = kernel * (scale.reshape(kernel.shape[2:]) if first.kind == "DepthwiseConv2D" else scale)
    return Linear(first.kind, kernel, folded_bias(chain), first.options, clamp)


def _clamp(chain: Sequence[Layer]) -> tuple[float, float] | None:
    """The activation's bounds; None for one that is no clamp."""
    low, high = CLAMPS["linear"]
    for layer in chain:
        if layer.kind == "ReLU":
            plain = not layer.options.get("negative_slope") and not layer.options.get("threshold")
            limit = layer.options.get("max_value")
            bounds = (0.0, np.inf if limit is None else float(limit)) if plain else None
        else:
            bounds = CLAMPS.get(layer.activation)
        if bounds is None:
            return None
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return low, high
