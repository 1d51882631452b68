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

Function = TypeVar("Function", bound=Callable[..., None])
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
    multiplier: tuple[Array, Array, Array, Array],
    enlarged: bool,
    output: tuple[int, int, int],
    y: Array,
) -> None:
    """Rules G and R, channel by channel: they differ in what a negative value adds before its second shift.

    ``multiplier`` is mantissa, left shift, right shift and 1 for ties away from zero, int64 each; ``enlarged``
    says that some left shift is not 0.
    """
    mantissa, left, right, away = multiplier
    zero_point, low, high = output
    for i in range(block.shape[0]):
        for c in range(block.shape[1]):
            acc = np.int32(np.int32(block[i, c]) + offset[c])
            if enlarged:
                acc = np.int32(np.int64(acc) << left[c])
            product = (np.int64(acc) * mantissa[c] + ONE_HALF_Q31) >> 31
            half = (np.int64(1) << right[c]) >> 1
            scaled = (product + half - ((product >> 63) & away[c])) >> right[c]
            y[i, c] = min(max(scaled + zero_point, low), high)


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
    image: Array, w: Array, steps: tuple[int, int, int, int], lines: int, first: int, acc: Array
) -> None:
    """Sums of products of a depthwise convolution, for output lines from ``first`` on.

    Shapes: image (n, h, w, c) padded, w (kh, kw, c), acc (lines at once, out_w, c); ``lines`` is out_h, and
    ``steps`` are the two strides and the two dilations.
    """
    stride_h, stride_w, dilation_h, dilation_w = steps
    acc[:] = 0
    for line in range(acc.shape[0]):
        n, top = (first + line) // lines, (first + line) % lines * stride_h
        for a in range(w.shape[0]):
            row = image[n, top + a * dilation_h]
            for b in range(w.shape[1]):
                taps = w[a, b]
                for j in range(acc.shape[1]):
                    sums, seen = acc[line, j], row[j * stride_w + b * dilation_w]
                    for c in range(sums.size):
                        sums[c] += np.int32(seen[c]) * np.int32(taps[c])
