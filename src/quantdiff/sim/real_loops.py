"""The loops of real arithmetic, in double, compiled by numba: what NumPy does in several passes over memory is one.

Nothing but ``loops.py`` imports this module. Shapes are not looked at: the callers do.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.machine_code import compiled, inlined

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
