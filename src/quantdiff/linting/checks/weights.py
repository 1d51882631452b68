"""Stored weights: codes unused, channels gone, values cut off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np

from quantdiff.linting.lint import Found, Severity, check
from quantdiff.linting.wiring import Weighted, Wiring, listed, weighted
from quantdiff.quant import INTEGER_RANGE, Array


@check("RANGE01", Severity.WARNING, Wiring)
def weights_narrow(wiring: Wiring) -> Iterator[Found]:
    """Weights use less than half of their codes.

    The scale is made for a larger range than the weights have, so at least one bit of precision is given away. Usual
    cause: a weight range from training that outlived the weights (AllValuesQuantizer, an early stop, weights pruned or
    decayed later). Quantize the final weights by their own min and max.
    """
    for layer in weighted(wiring):
        ends = layer.ends()
        if ends is None or layer.weights.dtype not in ("int8", "uint8", "int16"):
            continue
        used = used_share(layer, *ends)
        narrow = np.flatnonzero((used > 0) & (used < ONE_BIT) & ~held_by_bias(layer, len(used)))
        if narrow.size:
            scope = listed(narrow, len(used)) if layer.per_channel else "the whole tensor"
            yield Found(layer.place, f"{scope}: {used[narrow].min():.1%} of the codes")


ONE_BIT = 0.5


@check("CHAN01", Severity.WARNING, Wiring)
def channel_rounded_away(wiring: Wiring) -> Iterator[Found]:
    """All weights of a channel are 0 under a scale that it shares with others.

    Its weights were below half a step of a scale made for the widest channel: the channel now gives its bias, whatever
    the input. Quantize weights per channel (the default for convolutions; for dense layers in newer converters), or
    bring the channels to one range. If the channel is 0 in the float model too, remove it.
    """
    for layer in weighted(wiring):
        empty = empty_channels(layer)
        if empty.size and not layer.per_channel:
            yield Found(layer.place, f"{listed(empty, layer.weights.shape[layer.axis])} all zero")


@check("CHAN02", Severity.INFO, Wiring)
def channel_empty(wiring: Wiring) -> Iterator[Found]:
    """All weights of a channel are 0, under a scale of its own.

    The channel was 0, or next to it, before quantization: training or pruning has switched it off. It costs time and
    memory for a constant; removing it changes nothing else.
    """
    for layer in weighted(wiring):
        empty = empty_channels(layer)
        if empty.size and layer.per_channel:
            yield Found(layer.place, f"{listed(empty, layer.weights.shape[layer.axis])} all zero")


@check("CHAN03", Severity.WARNING, Wiring)
def channel_clipped(wiring: Wiring) -> Iterator[Found]:
    """Many weights of a channel stand at the ends of the range.

    The range was too small and cut them off, which no later rounding repairs. A weight range from quantization-aware
    training that is not the weights' own (a fixed or unsettled one), or clipping on purpose: take min and max of the
    weights (LastValueQuantizer), or train on until they fit.
    """
    for layer in weighted(wiring):
        shares = layer.once(clipped_shares)
        if shares.any():
            where = listed(np.flatnonzero(shares), len(shares)) if layer.per_channel else "the tensor"
            yield Found(layer.place, f"{where}, up to {shares.max():.1%} of the values")


TOLERATED = 8.0
"""How far the widest channel may reach beyond the middle one: three bits."""


@check("CHAN04", Severity.WARNING, Wiring)
def channel_outlier(wiring: Wiring) -> Iterator[Found]:
    """One channel's weights reach far beyond the others', and all share one scale.

    The scale is made for the widest channel, so the others get a few codes only: with a factor of 8, five bits of the
    eight. Quantize weights per channel, or bring the channels to one range (cross-layer equalization, weight
    regularization; a folded batch norm with a tiny variance is a usual cause).
    """
    for layer in weighted(wiring):
        if layer.per_channel or (ends := layer.ends()) is None:
            continue
        reach = np.maximum(-ends[0], ends[1])
        live = reach[reach > 0]
        if live.size and live.max() > TOLERATED * (middle := float(np.median(live))):
            widest = int(reach.argmax())
            evidence = f"channel {widest} reaches {reach[widest]} steps, the median of {reach.size} channels {middle:g}"
            yield Found(layer.place, evidence)


@check("ZERO02", Severity.WARNING, Wiring)
def weights_zero_point(wiring: Wiring) -> Iterator[Found]:
    """Signed weights have a zero point other than 0.

    TFLite's specification wants symmetric weights. Convolution kernels ignore the zero point, so the result is wrong;
    XNNPACK declines such a dense layer. Quantize weights with zero point 0. (The old uint8 scheme is not concerned.)
    """
    for layer in weighted(wiring):
        points = layer.zero_points()
        if layer.weights.dtype.startswith("int") and points.any():
            yield Found(layer.place, f"{layer.weights.dtype} weights with zero point {points[points != 0][0]}")


AT_LEAST, SHARE, DENSER, KINDS = 4, 0.02, 4.0, 4
NEIGHBOURS = 15  # codes next to an end that are held against it
WIDENED = 2**29  # a bias this large made the converter widen the weight scale, so that int32 can hold it


@check("AXIS02", Severity.ERROR, Wiring)
def scales_along_another_axis(wiring: Wiring) -> Iterator[Found]:
    """The scales of the weights do not run along the output channels.

    The kernels give the first scale to the first output channel, whatever the file says, so that values are in the
    wrong unit; a convolution of floats and a dense layer of integers are refused (`quantized_dimension != 0`). Write
    the scales along axis 0, for DEPTHWISE_CONV_2D along axis 3, or convert again.
    """
    for layer in weighted(wiring):
        axis = layer.weights.quant.axis if layer.weights.quant else None
        if axis not in (None, layer.axis):
            yield Found(layer.place, f"scales along axis {axis}, channels along axis {layer.axis}")


def empty_channels(layer: Weighted) -> Array:
    """The indices of the channels in which every weight is real 0."""
    ends = layer.ends()
    return np.flatnonzero((ends[0] == 0) & (ends[1] == 0)) if ends else np.array([], np.int64)


def used_share(layer: Weighted, low: Array, high: Array) -> Array:
    """The share of the codes between the ends in use: per channel, or one for all where one scale is for all."""
    if not layer.per_channel:
        low, high = low.min(keepdims=True), high.max(keepdims=True)
    first, last = INTEGER_RANGE[layer.weights.dtype]
    if layer.weights.dtype == "uint8":  # the old scheme: any range that holds 0
        span: Array = np.maximum(high, 0) - np.minimum(low, 0)
        return span / (last - first)
    share: Array = np.maximum(-low, high) / last
    return share


def held_by_bias(layer: Weighted, count: int) -> Array:
    """True for the channels whose scale was widened for the sake of a large bias."""
    biases = layer.biases()
    if biases is None or biases.size != count:
        return np.zeros(count, bool)
    return np.abs(biases.astype(np.int64)) >= WIDENED


def code_counts(rows: Array) -> Iterator[Array]:
    """How often each code occurs in each row, from the lowest code up; row by row, to stay small in memory."""
    first, last = INTEGER_RANGE[rows.dtype.name]
    return (np.bincount(row.astype(np.int64) - first, minlength=last - first + 1) for row in rows)


def clipped_shares(layer: Weighted) -> Array:
    """The share of values that pile up at the ends: per channel, or one for all where one scale is for all."""
    rows = layer.rows()
    if rows is None or layer.weights.dtype not in ("int8", "uint8"):
        return np.zeros(0)
    groups = code_counts(rows)
    if not layer.per_channel:
        groups = iter([reduce(np.add, groups)])
    return np.array([clipped_share(counts, rows.dtype.name) for counts in groups])


def clipped_share(counts: Array, dtype: str) -> float:
    """The share of values at the two ends, 0.0 unless they pile up there.

    A scale made from the values themselves puts one of them at an end, or a few. Clipping piles them up: several
    at both ends, several times as dense as the codes next to the ends. Weights of a few distinct sizes (binary,
    ternary, a cosine table) stand at the ends by nature.
    """
    lowest = 2 if dtype == "int8" else 1  # -128 and -127 are both an end of symmetric weights
    below, inside, above = counts[:lowest].sum(), counts[lowest:-1], counts[-1]
    at_ends, near = below + above, inside[:NEIGHBOURS].sum() + inside[-NEIGHBOURS:].sum()
    if not (below and above) or at_ends < max(AT_LEAST, SHARE * counts.sum()):
        return 0.0
    if np.count_nonzero(inside) < KINDS or at_ends <= DENSER * (1 + near / NEIGHBOURS):
        return 0.0
    return float(at_ends / counts.sum())
