"""The loops that NumPy is slow at, compiled by numba; ``fixed_point.py`` is the text that they must equal.

Nothing but ``compiled.py`` imports this module, since numba takes a second to load. ``block`` holds sums of
products, (rows, channels) as int32 or as float32 that are integers; ``offset`` is added to them per channel,
wrapping as int32 does. Shapes are not looked at: the callers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

from quantdiff.quant import Array
from quantdiff.sim.fixed_point import ONE_HALF_Q31

Function = TypeVar("Function", bound=Callable[..., int | None])
MAGIC = np.float32(1.5 * 2**23)
"""Added and taken away again, it rounds a small float32 half to even."""


def compiled(function: Function) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    try:
        return cast(Function, njit(cache=True)(function))
    except RuntimeError:  # no folder that a cache could be written to
        return cast(Function, njit(function))


@compiled
def by_shifts(  # pragma: no cover (compiled)
    block: Array,
    offset: Array,
    multiplier: tuple[Array, Array, Array, Array, Array],
    enlarged: bool,
    output: tuple[int, int, int],
    y: Array,
) -> None:
    """Rules G, R and S, channel by channel.

    ``multiplier`` is, int64 each, mantissa, left shift, what is added to the product, right shift, and what is
    added to a product below zero so that its ties go away from zero; ``enlarged`` says that some left shift is not 0.
    One right shift does for two: floor((floor(p / 2**31) + h) / 2**r) = floor((p + h * 2**31) / 2**(31 + r)).
    """
    mantissa, left, half, right, ties = multiplier
    zero_point, low, high = output
    least, most, zero = np.int32(low - zero_point), np.int32(high - zero_point), np.int32(zero_point)
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            acc = np.int32(np.int32(block[i, c]) + offset[c])
            if enlarged:
                acc = np.int32(np.int64(acc) << left[c])
            product = np.int64(acc) * mantissa[c] + ONE_HALF_Q31
            steps = np.int32((product + half[c] + ((product >> 63) & ties[c])) >> right[c])
            y[i, c] = np.int32(min(max(steps, least), most) + zero)


@compiled
def by_shifts_twice(  # pragma: no cover (compiled)
    block: Array,
    offset: Array,
    multiplier: tuple[Array, Array, Array, Array, Array],
    enlarged: bool,
    output: tuple[int, int, int],
    ys: tuple[Array, Array],
) -> None:
    """Rules R and G at once from one product: what makes ties go away from zero is left out for the first."""
    mantissa, left, half, right, ties = multiplier
    zero_point, low, high = output
    least, most, zero = np.int32(low - zero_point), np.int32(high - zero_point), np.int32(zero_point)
    up, away = ys
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            acc = np.int32(np.int32(block[i, c]) + offset[c])
            if enlarged:
                acc = np.int32(np.int64(acc) << left[c])
            product = np.int64(acc) * mantissa[c] + ONE_HALF_Q31
            total = product + half[c]
            first, second = np.int32(total >> right[c]), np.int32((total + ((product >> 63) & ties[c])) >> right[c])
            up[i, c] = np.int32(min(max(first, least), most) + zero)
            away[i, c] = np.int32(min(max(second, least), most) + zero)


@compiled
def by_float(  # pragma: no cover (compiled)
    block: Array, offset: Array, scale: Array, output: tuple[int, int, int], y: Array
) -> None:
    """Rule X. ``scale`` is float32 per channel; clamped first, so that MAGIC rounds."""
    zero_point, low, high = output
    least, most, zero = np.float32(low - zero_point), np.float32(high - zero_point), np.int32(zero_point)
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            acc = np.int32(np.int32(block[i, c]) + offset[c])
            steps = min(max(np.float32(acc) * scale[c], least), most)
            y[i, c] = np.int32((steps + MAGIC) - MAGIC) + zero


@compiled
def depthwise(  # pragma: no cover (compiled)
    image: Array, taps: Array, places: Array, steps: tuple[int, int, int], first: int, acc: Array
) -> None:
    """Sums of products of a depthwise convolution, for output lines from ``first`` on, three taps at a time.

    Shapes: image (n, h, w, c) padded, taps (3k, c), places (3k, 2) of each tap in its window, acc (lines at
    once, out_w, c); ``steps`` are the two strides and out_h.
    """
    down, across, lines = steps
    for line in range(acc.shape[0]):
        seen, top = image[(first + line) // lines], (first + line) % lines * down
        for k in range(0, taps.shape[0], 3):
            (y0, x0), (y1, x1), (y2, x2) = places[k], places[k + 1], places[k + 2]
            row0, row1, row2 = seen[top + y0], seen[top + y1], seen[top + y2]
            w0, w1, w2 = taps[k], taps[k + 1], taps[k + 2]
            so_far = np.int32(-1 if k else 0)  # a mask: the first taps find chance in ``acc``
            for j in range(acc.shape[1]):
                sums, left = acc[line, j], j * across
                q0, q1, q2 = row0[left + x0], row1[left + x1], row2[left + x2]
                for c in range(sums.size):
                    total = np.int32(q0[c]) * np.int32(w0[c]) + np.int32(q1[c]) * np.int32(w1[c])
                    sums[c] = (sums[c] & so_far) + total + np.int32(q2[c]) * np.int32(w2[c])


@compiled
def look_up_and_add(  # pragma: no cover (compiled)
    a: Array, b: Array, left: Array, right: Array, sums: Array
) -> None:
    """``left[a] + right[b]``: two operands of 8 bits, as bytes, by a table each. All flat; tables and sums int32."""
    for i in range(sums.size):
        sums[i] = left[a[i]] + right[b[i]]


@compiled
def count_differing(a: Array, b: Array) -> int:  # pragma: no cover (compiled)
    """How many elements of two flat arrays of integers are not equal."""
    count = 0
    for i in range(a.size):
        count += a[i] != b[i]
    return count
