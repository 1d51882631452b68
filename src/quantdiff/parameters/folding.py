"""A chain of Keras layers as the one operator that a converter makes of it: batch norm folded in, ReLU as a clamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.align.constants import with_norms
from quantdiff.layer import KERNEL_RANGES, Layer, TrainedRange, along_channels
from quantdiff.nudge import fake_quant, nudge_fake_quant
from quantdiff.parameters.by_hand import CLAMPS, LINEAR, Linear
from quantdiff.quant import Array

AXES = 2  # of the image: height and width


def factor(chain: Sequence[Layer]) -> Array | None:
    """What batch norm multiplies each channel with, ``gamma / sqrt(variance + epsilon)``; None without one."""
    norms = [layer.norm.factor for layer in chain if layer.norm is not None]
    return None if not norms else np.asarray(np.prod(norms, axis=0))


def folded_bias(chain: Sequence[Layer]) -> Array | None:
    """The bias with batch norm in it, in double; None where there is none at all."""
    return with_norms(chain[0].bias, chain)


def quantized_kernel(layer: Layer, trained: TrainedRange | None) -> Array:
    """The kernel as the QAT model uses it, float32: fake-quantized, or as it is where it has no range."""
    assert layer.kernel is not None
    if trained is None or trained.grid is not None:  # such a quantizer stands in the graph: its kernel is rounded
        return layer.kernel
    low, high = np.array(trained.low), np.array(trained.high)
    last: Array = np.moveaxis(layer.kernel, layer.channel_axis, -1)
    if low.size > 1:  # of a depthwise kernel with several outputs a channel the ranges belong to these
        low, high = (np.tile(ends, last.shape[-1] // ends.size) for ends in (low, high))
    nudged = nudge_fake_quant(low, high, bits=trained.bits, narrow=trained.narrow)
    return np.moveaxis(fake_quant(last, nudged, bits=trained.bits, narrow=trained.narrow), -1, layer.channel_axis)


def linear(chain: Sequence[Layer]) -> Linear | None:
    """The chain as one linear layer with a clamp; None for a kind that is not computed by hand."""
    first, clamp = chain[0], _clamp(chain)
    if first.op not in LINEAR or first.kernel is None or clamp is None or not _is_plain(first):
        return None
    kernel = quantized_kernel(first, first.range_of(*KERNEL_RANGES)).astype(np.float64)
    scale = factor(chain)
    if scale is not None:
        kernel = kernel * along_channels(first, scale)
    return Linear(first.op, kernel, folded_bias(chain), first.options, clamp)


def _is_plain(layer: Layer) -> bool:
    """Whether its options are those of a convolution over height and width, channels last; a dense layer has none."""
    options = layer.options
    if layer.op == "FULLY_CONNECTED":
        return True
    known = all(len(options.get(name, ())) == AXES for name in ("strides", "dilation_rate"))
    padded = str(options.get("padding", "")).lower() in ("same", "valid")
    return known and padded and options.get("groups", 1) == 1 and options.get("data_format") != "channels_first"


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
