"""The loops that NumPy is slow at, compiled by numba; ``fixed_point.py`` is the text that they must equal.

Nothing but ``compiled.py`` imports this module, since numba takes a second to load. ``block`` holds sums of
products, (rows, channels) as int32 or as float32 that are integers; ``offset`` is added to them per channel,
wrapping as int32 does. Shapes are not looked at: the callers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import overload

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Channels, Product
from quantdiff.sim.rounding.fixed_point import ONE_HALF_Q31
from quantdiff.sim.tiles import HEIGHTS, OWN_HEIGHTS, pack, pack_channels, packed_type, tile  # noqa: F401 (the callers pack)

Function = TypeVar("Function", bound=Callable[..., Any])
MAGIC = np.float32(1.5 * 2**23)
"""Added to a small float32, it rounds it half to even; its own lowest 22 bits are 0."""
BEYOND = np.int32(2**30)
"""Shifted right by ``rules.FAR`` at most, it is still beyond all 8-bit numbers."""
INT8_MIN, INT8_MAX = np.int32(-128), np.int32(127)
STRIP, ROWS = 2**14, 24
"""Sums that stay in the first caches until they are rounded; rows, which no tile leaves over, at least."""
FITS_INT16 = 2**14
"""So many are counted in 16 bits, which go twice as many at a time."""


def compiled(function: Function) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    try:
        return cast(Function, njit(cache=True)(function))
    except RuntimeError:  # no folder that a cache could be written to
        return cast(Function, njit(function))


@compiled
def multiply(a: Array, way: tuple[int, int, Any], packed: Array, sums: Array) -> None:  # pragma: no cover (compiled)
    """All tiles of some rows (``tiles.tile``)."""
    for v in range(0, packed.shape[0], len(HEIGHTS)):
        vectors = min(len(HEIGHTS), packed.shape[0] - v)
        for i in range(0, sums.shape[0], HEIGHTS[vectors - 1]):
            tile(a, way, packed, sums, (i, v, vectors))


@compiled
def fill_products(product: Product, first: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """The sums of rows from ``first`` on, by the activations where they lie, or some windows after the others."""
    flat, (out_h, out_w), (image, line, pixel), (taps_h, taps_w, down, across, run), flip, packed = product
    rows, depth = sums.shape[0], packed.shape[1] * packed.shape[3]
    even = line == pixel * out_w and image == line * out_h
    if even and taps_h * taps_w == 1 and run == depth and flat.itemsize == packed.itemsize:
        multiply(flat, (first * pixel, pixel, flip), packed, sums)
        return
    windows = np.zeros((ROWS, depth), packed.dtype)
    for top in range(0, rows, ROWS):
        part = sums[top : top + ROWS]
        for i in range(part.shape[0]):
            row, c = divmod(first + top + i, out_w)
            n, r = divmod(row, out_h)
            k, start = 0, n * image + r * line + c * pixel
            for y in range(taps_h):
                for x in range(taps_w):
                    place = start + y * down + x * across
                    for e in range(run):
                        windows[i, k + e] = flat[place + e]
                    k += run
        multiply(windows, (0, depth, flip), packed, part)


@compiled
def fill_channels(block: Channels, first: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """The same for a depthwise convolution, some positions of one output line after another.

    ``words`` holds what the line needs of the padded image, a word of two input lines above each other.
    """
    image, outside, (out_h, out_w), (down, across), (taps_h, dilation, above, before), places, packed = block
    channels, line, size, done = sums.shape[1], outside.size, image.shape[2], 0
    words = np.empty((taps_h + 1) // 2 * line + packed.shape[2], np.int32)
    while done < sums.shape[0]:
        row, left = divmod(first + done, out_w)
        n, r = divmod(row, out_h)
        for i in range(0, taps_h, 2):
            pair, y = words[i // 2 * line : (i // 2 + 1) * line], r * down - above + i * dilation
            if done == 0:
                interleave(pair[:before], outside, outside)
                interleave(pair[before + size :], outside, outside)
            low, high = input_line(image[n], y, outside), input_line(image[n], y + dilation, outside)
            interleave(pair[before : before + size], low, high)
        part, way = sums[done : done + out_w - left], (left * across * channels, across * channels, places)
        for v in range(0, packed.shape[0], len(OWN_HEIGHTS)):
            vectors = min(len(OWN_HEIGHTS), packed.shape[0] - v)
            for i in range(0, part.shape[0], OWN_HEIGHTS[vectors - 1]):
                tile(words, way, packed, part, (i, v, vectors))
        done += part.shape[0]


@compiled
def input_line(image: Array, y: int, outside: Array) -> Array:  # pragma: no cover (compiled)
    """A line of an image, or of its padding."""
    return image[y] if 0 <= y < image.shape[0] else outside


@compiled
def interleave(words: Array, low: Array, high: Array) -> None:  # pragma: no cover (compiled)
    """Words of two numbers of 16 bits each."""
    for q in range(words.size):
        words[q] = (np.int32(low[q]) & 0xFFFF) | (np.int32(high[q]) << 16)


def strip(block: Any, first: int, held: Any) -> Any:
    """Sums of the rows from ``first`` on: the block itself, or what is to be computed, as many as ``held`` has rows."""
    raise NotImplementedError  # compiled only, by the type of the block


@overload(strip, strict=False)
def _strip(block: Any, first: Any, held: Any) -> Any:  # pragma: no cover
    del first, held
    if isinstance(block, types.Array):
        return lambda block, first, held: block

    def computed(block: Any, first: Any, held: Any) -> Any:
        fill(block, first, held)
        return held

    return computed


def fill(block: Any, first: int, sums: Any) -> None:
    """Compute the sums of the rows from ``first`` on."""
    raise NotImplementedError  # compiled only, by the type of the block


@overload(fill, strict=False)
def _fill(block: Any, first: Any, sums: Any) -> Any:  # pragma: no cover
    del first, sums
    if "runs" in block.fields:
        return lambda block, first, sums: fill_products(block, first, sums)  # noqa: PLW0108
    return lambda block, first, sums: fill_channels(block, first, sums)  # noqa: PLW0108


@compiled
def compute(block: Any, first: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """``fill`` for callers that are not compiled."""
    fill(block, first, sums)


def held_for(block: Any, channels: int) -> Any:
    """Room for the sums of some rows: of no tile in parts, and of whole output lines."""
    raise NotImplementedError  # compiled only, by the type of the block


@overload(held_for, strict=False)
def _held_for(block: Any, channels: Any) -> Any:  # pragma: no cover
    del channels
    if isinstance(block, types.Array) or "runs" in block.fields:
        return lambda block, channels: np.empty((max(1, STRIP // channels // ROWS) * ROWS, channels), np.int32)

    def of_lines(block: Any, channels: int) -> Any:
        columns = block.lines[1]
        return np.empty((max(1, STRIP // channels // columns) * columns, channels), np.int32)

    return of_lines


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
    top, held = 0, held_for(block, offset.size)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        for i in range(sums.shape[0]):
            for c in range(sums.shape[1]):
                acc = np.int32(np.int32(sums[i, c]) + offset[c])
                if enlarged:
                    acc = np.int32(np.int64(acc) << left[c])
                product = np.int64(acc) * mantissa[c] + ONE_HALF_Q31
                steps = np.int32((product + half[c] + ((product >> 63) & ties[c])) >> right[c])
                y[top + i, c] = np.int32(min(max(steps, least), most) + zero)
        top += sums.shape[0]


@compiled
def to_int8(steps: Any) -> Any:  # pragma: no cover (compiled)
    """Clamped to int8: with bounds that are constants it is one instruction."""
    return min(max(steps, INT8_MIN), INT8_MAX)


@compiled
def by_halving(  # pragma: no cover (compiled)
    block: Array, offset: Array, multiplier: Array, ties: tuple[bool, int], output: tuple[int, int, int], y: Array
) -> None:
    """Rules G and R where every sum is shifted right, in 32 bits: half the width of ``by_shifts``.

    ``multiplier`` is int32, (2, channels): mantissa, and right shift less 1. ``ties`` says whether some shift is 1,
    and of how many of the last channels ties go away from zero. The second rounding is
    floor((floor(x / 2**(r - 1)) + 1) / 2); the zero point z goes in as 2z, for which x is bounded where r is 1.
    """
    mantissa, right, (bounded, away), channels = multiplier[0], multiplier[1], ties, offset.size
    zero_point, low, high = np.int32(2 * output[0] + 1), np.int32(output[1]), np.int32(output[2])
    saturating = low == INT8_MIN and high == INT8_MAX
    top, held = 0, held_for(block, offset.size)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        for i in range(sums.shape[0]):
            for c in range(channels):
                acc = np.int32(np.int32(sums[i, c]) + offset[c])
                scaled = np.int32((np.int64(acc) * np.int64(mantissa[c]) + ONE_HALF_Q31) >> 31)
                if bounded:
                    scaled = np.int32(min(max(scaled, -BEYOND), BEYOND))
                if away == channels:
                    scaled = np.int32(scaled + (acc >> 31))
                elif away > 0:
                    scaled = np.int32(scaled + ((acc >> 31) & -np.int32(c >= channels - away)))
                steps = np.int32(np.int32(np.int32(scaled >> right[c]) + zero_point) >> 1)
                y[top + i, c] = to_int8(steps) if saturating else min(max(steps, low), high)
        top += sums.shape[0]


@compiled
def by_halving_twice(  # pragma: no cover (compiled)
    block: Array, offset: Array, multiplier: Array, bounded: bool, output: tuple[int, int, int], ys: tuple[Array, Array]
) -> None:
    """Rules R and G at once from one product, the ties of the second away from zero."""
    mantissa, right = multiplier[0], multiplier[1]
    zero_point, low, high = np.int32(2 * output[0] + 1), np.int32(output[1]), np.int32(output[2])
    saturating = low == INT8_MIN and high == INT8_MAX
    up, away = ys
    top, held = 0, held_for(block, offset.size)
    while top < up.shape[0]:
        sums = strip(block, top, held[: up.shape[0] - top])
        for i in range(sums.shape[0]):
            for c in range(sums.shape[1]):
                acc = np.int32(np.int32(sums[i, c]) + offset[c])
                scaled = np.int32((np.int64(acc) * np.int64(mantissa[c]) + ONE_HALF_Q31) >> 31)
                if bounded:
                    scaled = np.int32(min(max(scaled, -BEYOND), BEYOND))
                first = np.int32(np.int32(np.int32(scaled >> right[c]) + zero_point) >> 1)
                second = np.int32(np.int32(np.int32(np.int32(scaled + (acc >> 31)) >> right[c]) + zero_point) >> 1)
                if saturating:
                    up[top + i, c], away[top + i, c] = to_int8(first), to_int8(second)
                else:
                    up[top + i, c], away[top + i, c] = min(max(first, low), high), min(max(second, low), high)
        top += sums.shape[0]


@compiled
def by_float(  # pragma: no cover (compiled)
    block: Array, offset: Array, scale: Array, output: tuple[int, int, int], y: Array
) -> None:
    """Rule X. ``scale`` is float32 per channel; clamped first, so that MAGIC rounds and leaves the steps as bits."""
    zero_point, low, high = output
    least, most, zero = np.float32(low - zero_point), np.float32(high - zero_point), np.int32(zero_point)
    top, held = 0, held_for(block, offset.size)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        for i in range(sums.shape[0]):
            for c in range(sums.shape[1]):
                acc = np.int32(np.int32(sums[i, c]) + offset[c])
                steps = min(max(np.float32(acc) * scale[c], least), most)
                y[top + i, c] = (
                    np.float32(steps + MAGIC).view(np.int32) + zero
                )  # of which ``y`` takes the lowest 8 bits
        top += sums.shape[0]


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
    for start in range(0, a.size, FITS_INT16):
        x, y, part = a[start : start + FITS_INT16], b[start : start + FITS_INT16], np.int16(0)
        for i in range(x.size):
            part = np.int16(part + np.int16(x[i] != y[i]))
        count += int(part)
    return count
