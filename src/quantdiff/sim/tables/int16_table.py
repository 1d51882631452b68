"""Functions of one 16-bit value: tables, and straight lines between their points.

logistic and tanh: ``tflite/kernels/internal/reference/integer_ops/{logistic,tanh}.h`` and ``internal/common.h``
(``sigmoid_table_uint16``). Its entries are the sigmoid of i/24 in 1/65536, raised by half of what a chord
loses to the curve at most, an eighth of the second difference, so that interpolation errs evenly.
Others by 513 points: ``internal/common.h`` (``LUTPopulateInt16``, ``LUTLookup``). Each point gives way by half of what
the chord to the next one misses at its middle. All sums are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, scale_of, zero_point_of
from quantdiff.sim.runtime import Runtime

LAST = 255
NEARLY = 1e-3


def sigmoids() -> Array:
    """The table. Shape: (256,)."""
    exact = 65536 / (1 + np.exp(-np.arange(-1, LAST + 2) / 24))
    loss = (2 * exact[1:-1] - exact[2:] - exact[:-2]) / 8
    table = np.round(exact[1:-1] + loss / 2).astype(np.int64)
    table[LAST] = 65535
    return table


SIGMOIDS = sigmoids()


def scaled(x: Array, multiplier: int, left_shift: int) -> Array:
    """The input at 3/4 of Q4: 24 table entries to one. ``multiplier`` 0 stands for a power of two."""
    if multiplier == 0:
        return x.astype(np.int64) * (3 << left_shift)
    half = 1 << (left_shift - 1) if left_shift > 0 else 0
    return (x.astype(np.int64) * multiplier + half) >> left_shift


def interpolated(x: Array, bits: int, saturated: int) -> Array:
    """The table at ``|x|``, whose low ``bits`` bits are the fraction, in ``2**bits`` of its units."""
    entry = np.minimum(np.abs(x) >> bits, LAST)
    low, high = SIGMOIDS[entry], SIGMOIDS[np.minimum(entry + 1, LAST)]
    value = (low << bits) + (np.abs(x) & ((1 << bits) - 1)) * (high - low)
    return np.where(entry >= LAST, saturated, value)


def logistic(x: Array, multiplier: int = 0, left_shift: int = 0) -> Array:
    """``1 / (1 + exp(-x))`` in Q0.15. Shape as ``x``."""
    place = scaled(x, multiplier, left_shift)
    value = interpolated(place, 9, 0x7FFF << 10)
    return np.where(place >= 0, value + (1 << 9), (1 << 25) - value + (1 << 9) - 1) >> 10


def tanh(x: Array, multiplier: int = 0, left_shift: int = 0) -> Array:
    """``tanh(x)`` in Q0.15. Shape as ``x``."""
    place = scaled(x, multiplier, left_shift)
    value = interpolated(place, 8, 0xFFFF << 8)
    return np.where(place >= 0, value - (1 << 23) + (1 << 7), -value + (1 << 23) + (1 << 7) - 1) >> 8


def how_scaled(node: Node, powers: tuple[int, ...]) -> tuple[int, int]:
    """Multiplier and left shift that take the input to three table units a 1/4096 (``SigmoidPrepare``).

    A scale that is a power of two, ``2**(p - 12)`` with p in ``powers``, gives multiplier 0.
    """
    scale = scale_of(node.x)
    log = np.log(scale) * np.float32(1 / np.log(np.float32(2)))
    power = round(float(log))
    if abs(float(log) - power) < NEARLY and power + 12 in powers:
        return 0, power + 12
    multiplier, shift = float(scale) * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:  # noqa: PLR2004 (as many bits as int16 and int32 hold)
        multiplier, shift = multiplier * 2, shift + 1
    return int(multiplier), shift


STEPS, FRACTION_BITS = 512, 7
LOW, HIGH = INTEGER_RANGE["int16"]


def points_of(node: Node, function: Callable[[Array], Array], runtime: Runtime) -> Array:
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


def between_points(x: Array, points: Array) -> Array:
    """The lines at ``x``, rounded half up. Shape as ``x``."""
    place = (x.astype(np.int64) >> FRACTION_BITS) + STEPS // 2
    slope = (points[place + 1] - points[place]).astype(np.int16).astype(np.int64)
    half = 1 << (FRACTION_BITS - 1)
    risen = (slope * (x.astype(np.int64) & ((1 << FRACTION_BITS) - 1)) + half) >> FRACTION_BITS
    y: Array = (points[place] + risen).astype(np.int16)
    return y


def by_points(node: Node, x: Array, function: Callable[[Array], Array], runtime: Runtime) -> Array:
    """``function`` on 16-bit values, whose zero points must be 0. Shape as ``x``."""
    if zero_point_of(node.x) or zero_point_of(node.y):
        raise NoKernel("16-bit values with a zero point")
    return between_points(x, points_of(node, function, runtime))
