"""Loops over elements, compiled by numba: what NumPy does in several passes over memory is one.

The loops of real arithmetic are in double. Nothing but ``loops.py`` imports this module. Shapes are not looked at: the
callers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.machine_code import compiled, inlined, permute
from quantdiff.sim.rounding.fixed_point import ONE_HALF_Q31

Pair = tuple[int, int]


THREE = 3


@compiled
def sum_taps(  # pragma: no cover (compiled)
    image: Array, taps: Array, ways: tuple[Pair, Pair, Pair], finish: tuple[Array, float, float], y: Array
) -> None:
    """Each channel with its own windows, and ``finish``, a bias per channel and bounds.

    ``ways``: strides, dilations, and how much padding of zeros is before the image.

    Shapes: (n, h, w, c), (kh, kw, c) -> (n, out_h, out_w, c).
    """
    (down, across), (apart, aside), (above, before) = ways
    bias, low, high = finish
    for n in range(y.shape[0]):
        for r in range(y.shape[1]):
            for c in range(y.shape[2]):
                sums = y[n, r, c]
                sums[:] = 0.0
                for i in range(taps.shape[0]):
                    row = r * down + i * apart - above
                    if 0 <= row < image.shape[1]:
                        add_line(sums, image[n, row], taps[i], c * across - before, aside)
                finish_line(sums, bias, low, high, sums)


@inlined
def add_line(  # pragma: no cover (compiled)
    sums: Array, line: Array, taps: Array, first: int, apart: int
) -> None:
    """The taps of one line, from a column on that may lie before it. Shapes: (c,), (w, c), (kw, c)."""
    if first >= 0 and taps.shape[0] == THREE and first + 2 * apart < line.shape[0]:
        add_three(sums, line[first], line[first + apart], line[first + 2 * apart], taps)
    else:
        for j in range(taps.shape[0]):
            if 0 <= first + j * apart < line.shape[0]:
                add_products(sums, line[first + j * apart], taps[j])


@compiled
def add_products(sums: Array, a: Array, b: Array) -> None:  # pragma: no cover (compiled)
    """Slices, for which LLVM has lanes."""
    for e in range(sums.size):
        sums[e] += a[e] * b[e]


@compiled
def add_three(sums: Array, a: Array, b: Array, c: Array, w: Array) -> None:  # pragma: no cover (compiled)
    """The same for the taps of a line, most often three, one after the other."""
    first, second, third = w[0], w[1], w[2]
    for e in range(sums.size):
        value = sums[e] + a[e] * first[e]
        value = value + b[e] * second[e]
        sums[e] = value + c[e] * third[e]


@compiled
def finish_line(sums: Array, bias: Array, low: float, high: float, y: Array) -> None:  # pragma: no cover (compiled)
    """The bias, then the bounds, between which NaN stays what it is."""
    for e in range(sums.size):
        value = sums[e] + bias[e]
        value = low if value < low else value
        y[e] = high if value > high else value


@compiled
def finish_sums(  # pragma: no cover (compiled)
    sums: Array, bias: Array, low: float, high: float, y: Array
) -> None:
    """Rows of sums, which ``y`` may be itself. Shapes: (rows, channels), (channels,) -> (rows, channels)."""
    for r in range(sums.shape[0]):
        finish_line(sums[r], bias, low, high, y[r])


@compiled
def scale_sums(  # pragma: no cover (compiled)
    sums: Array, units: tuple[Array, Array], finish: tuple[Array, float, float], y: Array
) -> None:
    """Exact sums, with what is to be added to them and the unit of each channel, in real units and finished.

    Shapes: (rows, channels), (channels,) each -> (rows, channels).
    """
    (offset, unit), (bias, low, high) = units, finish
    for r in range(sums.shape[0]):
        line, made = sums[r], y[r]
        for e in range(line.size):
            value = (line[e] + offset[e]) * unit[e] + bias[e]
            value = low if value < low else value
            made[e] = high if value > high else value


@compiled
def bound(x: Array, grid: tuple[float, float, float], y: Array) -> None:  # pragma: no cover (compiled)
    """Real values on the steps of a grid and within its ends, which ``y`` may be itself. All flat."""
    step, low, high = grid
    for e in range(x.size):
        value = np.floor(x[e] / step + 0.5) * step
        value = low if value < low else value
        y[e] = high if value > high else value


@compiled
def store(x: Array, grid: tuple[float, float, float, float], y: Array) -> None:  # pragma: no cover (compiled)
    """Real values as integers of a grid: step, zero point and ends. All flat."""
    step, zero_point, low, high = grid
    for e in range(x.size):
        y[e] = min(max(np.floor(x[e] / step + 0.5) + zero_point, low), high)


@compiled
def look_up(x: Array, table: Array, y: Array) -> None:  # pragma: no cover (compiled)
    """Bytes by a table of 256. All flat."""
    for i in range(permute(x, table, y, x.size), x.size):
        y[i] = table[x[i]]


@compiled
def softmax(  # pragma: no cover (compiled)
    x: Array, table: Array, half: np.floating[Any], output: tuple[np.float32, int, int, int], y: Array
) -> None:
    """Exponentials by a table of 256, added from first to last in float32. Shapes: x and y (rows, size).

    ``half`` is added in its own precision before the rest is cut off; ``output`` are scale, zero point and ends.
    """
    scale, zero_point, low, high = output
    for r in range(x.shape[0]):
        largest, total = x[r].max(), np.float32(0)
        for e in range(x.shape[1]):
            total += table[np.int64(largest) - x[r, e]]
        inverse = np.float32(1) / (total * scale)
        for e in range(x.shape[1]):
            real = table[np.int64(largest) - x[r, e]] * inverse
            y[r, e] = min(max(np.int64(real + half) + zero_point, low), high)


@compiled
def by_shifts(  # pragma: no cover (compiled)
    sums: Array,
    offset: Array,
    shifts: tuple[tuple[Array, Array, Array, Array, Array], bool],
    output: tuple[int, int, int],
    y: Array,
) -> None:
    """Rules G, R and S, channel by channel, where a double does not hold all bits.

    ``shifts`` is, int64 each, mantissa, left shift, what is added to the product, right shift, and what is added to a
    product below zero so that its ties go away from zero; then whether some left shift is not 0.
    One right shift does for two: floor((floor(p / 2**31) + h) / 2**r) = floor((p + h * 2**31) / 2**(31 + r)).
    """
    (mantissa, left, half, right, ties), enlarged = shifts
    zero_point, low, high = output
    least, most, zero = np.int32(low - zero_point), np.int32(high - zero_point), np.int32(zero_point)
    for i in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            acc = np.int32(np.int32(sums[i, c]) + offset[c])
            if enlarged:
                acc = np.int32(np.int64(acc) << left[c])
            product = np.int64(acc) * mantissa[c] + ONE_HALF_Q31
            steps = np.int32((product + half[c] + ((product >> 63) & ties[c])) >> right[c])
            y[i, c] = np.int32(min(max(steps, least), most) + zero)
