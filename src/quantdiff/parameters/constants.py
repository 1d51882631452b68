"""Rows of kernels and biases: what a converter folds into one operator, a range per channel, the int32 grid.

A linear layer is computed by hand from what was folded: in NumPy, in double, without a framework or a runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from quantdiff.align.constants import MIDDLE, with_norms
from quantdiff.graph import Tensor, real_values
from quantdiff.nudge import Nudged, fake_quant, nudge_converter, nudge_fake_quant, nudge_symmetric
from quantdiff.ops import KERNEL_RANGES, Layer, TrainedRange, along_channels
from quantdiff.parameters.quantizers import (
    LOST,
    SCALED,
    SLOPE,
    ModelPair,
    Range,
    Reason,
    Row,
    as_ends,
    bias_reason,
    kernel_reasons,
    of_own_grid,
    range_of,
    with_file,
)
from quantdiff.quant import Array

LINEAR = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
CLAMPS = {"linear": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, slots=True)
class Linear:
    """What a dense or convolution layer needs, the kernel in TFLite's axes; ``clamp`` is the fused activation."""

    op: str
    kernel: Array = field(compare=False)
    bias: Array | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    clamp: tuple[float, float] = CLAMPS["linear"]


def by_hand(layer: Linear, x: Array) -> Array:
    """The output of ``layer`` for ``x``, samples along axis 0."""
    x = x.astype(np.float64)
    y = x @ layer.kernel.T if layer.op == "FULLY_CONNECTED" else _convolve(layer, x)
    if layer.bias is not None:
        y = y + layer.bias
    clamped: Array = np.clip(y, *layer.clamp)
    return clamped


def _convolve(layer: Linear, x: Array) -> Array:
    """(n, h, w, c) and a kernel (out, kh, kw, c) → (n, h', w', out); depthwise (1, kh, kw, c·m) → c·m channels."""
    kernel, (sh, sw), (dh, dw) = layer.kernel, layer.options["strides"], layer.options["dilation_rate"]
    spans = [(n - 1) * d + 1 for n, d in zip(kernel.shape[1:3], (dh, dw), strict=True)]
    if str(layer.options["padding"]).lower() == "same":
        pads = [_same(n, span, s) for n, span, s in zip(x.shape[1:], spans, (sh, sw), strict=False)]
        x = np.pad(x, ((0, 0), *pads, (0, 0)))
    windows = sliding_window_view(x, spans, axis=(1, 2))[:, ::sh, ::sw, :, ::dh, ::dw]
    if layer.op == "DEPTHWISE_CONV_2D":
        taps = kernel[0].reshape(*kernel.shape[1:3], x.shape[3], -1)
        y = np.einsum("nhwcij,ijcm->nhwcm", windows, taps)
        return np.asarray(y.reshape(*y.shape[:3], -1))
    y = np.tensordot(windows, kernel, axes=([4, 5, 3], [1, 2, 3]))
    return np.asarray(y)


def _same(size: int, span: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as TensorFlow's SAME has it."""
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


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


MOVED = "moved bias"


def kernel_row(sides: ModelPair, layer: Layer) -> Row:
    """The row of a layer's kernel."""
    pair, trained = sides.alignment.find(layer.name, "kernel"), layer.range_of(*KERNEL_RANGES)
    row = Row(layer.name, trained.name if trained else "kernel", "kernel")
    tensor = None if pair is None else sides.graph.tensors[pair.tensor]
    if tensor is not None:
        row = with_file(row, sides, tensor)
    chain = sides.chain(layer, pair)
    kernel = quantized_kernel(layer, trained)
    row = replace(
        row, keras=range_of(kernel, layer.channel_axis if trained is not None and len(trained.low) > 1 else None)
    )
    if trained is not None:
        row = _with_trained(row, trained, factor(chain))
    own = None if tensor is None or tensor.quant is None else _own_range(layer, kernel, factor(chain), tensor)
    reasons = tuple(kernel_reasons(row, trained, own))
    if pair is not None and (pair.scaled or pair.slope != 1):
        reasons = (SCALED if pair.scaled else SLOPE, *reasons[1:])
    return replace(row, reasons=reasons)


def _with_trained(row: Row, trained: TrainedRange, scaled: Array | None) -> Row:
    """The variables, and what the two rules make of them; with batch norm's factor where it is folded in.

    Where the file has more channels than the variables have entries, the converter repeats these.
    """
    if (own := of_own_grid(trained)) is not None:
        return replace(row, direct=Range(trained.low, trained.high), nudged=own, converter=own)
    low, high = np.array(trained.low), np.array(trained.high)
    nudged = nudge_fake_quant(low, high, bits=trained.bits, narrow=trained.narrow)
    stored = nudge_converter(low, high, bits=trained.bits, narrow=trained.narrow)
    row = replace(row, direct=Range(trained.low, trained.high), nudged=as_ends(nudged))
    channels = 1 if row.file is None else len(row.file.scale)
    if channels % len(low) == 0 and channels > len(low):
        low, high, *rule = (np.tile(x, channels // len(low)) for x in (low, high, *stored))
        stored = Nudged(*rule)
    if scaled is not None:
        size = np.abs(scaled)
        if len(low) in (1, len(size)):
            row = replace(row, folded=Range(tuple((low * size).tolist()), tuple((high * size).tolist())))
            low, high, scale = stored.low * size, stored.high * size, stored.scale * size
            stored = Nudged(low, high, scale, np.broadcast_to(stored.zero_point, scale.shape))
    return replace(row, converter=as_ends(stored))


def _own_range(layer: Layer, kernel: Array, scaled: Array | None, tensor: Tensor) -> Range:
    """What the converter stores for the weights themselves, folded, as after training: from their largest value."""
    assert tensor.quant is not None
    values = kernel.astype(np.float64)
    if scaled is not None:
        values = values * along_channels(layer, scaled)
    ends = range_of(values, None if tensor.quant.axis is None else layer.channel_axis)
    return as_ends(nudge_symmetric(np.array(ends.low), np.array(ends.high)))


def bias_row(sides: ModelPair, layer: Layer) -> Row:
    """The row of a layer's bias: float on one side, int32 on the other."""
    pair = sides.alignment.find(layer.name, "bias")
    chain = sides.chain(layer, pair)
    own, folded, is_folded = chain[0].bias, folded_bias(chain), factor(chain) is not None
    row = Row(layer.name, "bias", "bias", direct=None if own is None else range_of(own))
    if is_folded and folded is not None:
        row = replace(row, folded=range_of(folded))
    if pair is None:
        return replace(row, reasons=(_moved_away(sides, layer) or LOST,))
    tensor = sides.graph.tensors[pair.tensor]
    row = with_file(row, sides, tensor)
    if tensor.quant is None:
        return replace(row, reasons=(Reason("no counterpart", "float in the file"),))
    stored, scale = real_values(tensor), np.broadcast_to(np.asarray(tensor.quant.scale), tensor.shape)
    wanted = np.zeros(tensor.shape) if folded is None else folded
    if pair.slope != 1:
        wanted = pair.slope * wanted + MIDDLE
    reason = bias_reason(wanted, stored, scale, folded=is_folded)
    before = _bias_before(sides, layer)
    if (
        reason.code == "range differs"
        and before is not None
        and layer.op == "FULLY_CONNECTED"
        and layer.kernel is not None
    ):
        moved = bias_reason(wanted + layer.kernel.astype(np.float64) @ before[1], stored, scale, folded=is_folded)
        if moved.code != "range differs":
            reason = Reason(MOVED, f"holds the bias of {before[0].name} too, {moved.text}")
    return replace(row, reasons=(reason,))


def _bias_before(sides: ModelPair, layer: Layer) -> tuple[Layer, Array] | None:
    """The layer in front, where its bias found no place in the file."""
    lost = {name for name, role in sides.lost if role == "bias"}
    feeders = [each for each in sides.layers if each.name in layer.inputs and each.name in lost]
    return (feeders[0], feeders[0].bias.astype(np.float64)) if feeders and feeders[0].bias is not None else None


def _moved_away(sides: ModelPair, layer: Layer) -> Reason | None:
    """The converter adds a bias to the one after it where nothing but a dense layer stands between."""
    users: Sequence[Layer] = [each for each in sides.layers if layer.name in each.inputs]
    if len(users) == 1 and users[0].op == "FULLY_CONNECTED" and sides.alignment.find(users[0].name, "bias"):
        (reason,) = bias_row(sides, users[0]).reasons
        if reason.code == MOVED:
            return Reason(MOVED, f"no counterpart in the file: the converter adds it to the bias of {users[0].name}")
    return None
