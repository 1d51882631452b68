"""What the stored integers of a channel say: nothing there, codes unused, values cut off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.linting.weighted import Weighted
from quantdiff.quant import INTEGER_RANGE, Array

AT_LEAST, SHARE, DENSER, KINDS = 4, 0.02, 4.0, 4
NEIGHBOURS = 15  # codes next to an end that are held against it
WIDENED = 2**29  # a bias this large made the converter widen the weight scale, so that int32 can hold it


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
