"""Rows of kernels and biases: batch norm folded in, a range per channel, the int32 grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantdiff.graph import Tensor, real_values
from quantdiff.layer import KERNEL_RANGES, Layer, TrainedRange, along_channels
from quantdiff.nudge import Nudged, nudge_converter, nudge_fake_quant, nudge_symmetric
from quantdiff.parameters.folding import factor, folded_bias, quantized_kernel
from quantdiff.parameters.quantizers import Range, Reason, Row, range_of
from quantdiff.parameters.reasons import LOST, SCALED, bias_reason, kernel_reasons
from quantdiff.parameters.sides import ModelPair, as_ends, of_own_grid, with_file
from quantdiff.quant import Array

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
    return replace(row, reasons=(SCALED, *reasons[1:]) if pair is not None and pair.scaled else reasons)


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
