"""Functions of one 16-bit value: 513 sampled points, and straight lines between them.

Source: LiteRT ``tflite/kernels/internal/common.h`` (``LUTPopulateInt16``, ``LUTLookup``). Each point gives way by
half of what the chord to the next one misses at its middle. All sums are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, scale_of, zero_point_of
from quantdiff.sim.runtime import Runtime

STEPS, FRACTION_BITS = 512, 7
LOW, HIGH = INTEGER_RANGE["int16"]


def populate(node: Node, function: Callable[[Array], Array], runtime: Runtime) -> Array:
    """The points of a float32 function on the grids of input and output. Shape: (513,)."""
    sum_of = partial(multiply_add, runtime=runtime)
    first, last = (scale_of(node.x) * np.float32(end) for end in (LOW, HIGH))
    bottom, top = (scale_of(node.y) * np.float32(end) for end in (LOW, HIGH))
    step, inverse = (last - first) / np.float32(STEPS), np.float32(HIGH - LOW + 1) / (top - bottom)
    at = sum_of(np.arange(STEPS + 1).astype(np.float32), step, first)
    point, middle = function(at), function(at[:-1] + step / np.float32(2))
    sample = round_half_away(point * inverse)
    chord = round_half_away(sum_of(point[1:], inverse, sample[:-1]) / np.float32(2))
    bend = round_half_away((chord - round_half_away(middle * inverse)) / np.float32(2))
    end = round_half_away(function(np.asarray([last])) * inverse)
    points = np.concatenate([sample[:-1] - bend, end])
    # x86 turns NaN, which stands beyond an overflow, into 0.
    found: Array = np.nan_to_num(np.clip(points, LOW, HIGH), nan=0).astype(np.int64)
    return found


def look_up(x: Array, points: Array) -> Array:
    """The lines at ``x``, rounded half up. Shape as ``x``."""
    place = (x.astype(np.int64) >> FRACTION_BITS) + STEPS // 2
    slope = (points[place + 1] - points[place]).astype(np.int16).astype(np.int64)
    half = 1 << (FRACTION_BITS - 1)
    risen = (slope * (x.astype(np.int64) & ((1 << FRACTION_BITS) - 1)) + half) >> FRACTION_BITS
    y: Array = (points[place] + risen).astype(np.int16)
    return y


def apply(node: Node, x: Array, function: Callable[[Array], Array], runtime: Runtime) -> Array:
    """``function`` on 16-bit values, whose zero points must be 0. Shape as ``x``."""
    if zero_point_of(node.x) or zero_point_of(node.y):
        raise NoKernel("16-bit values with a zero point")
    return look_up(x, populate(node, function, runtime))
