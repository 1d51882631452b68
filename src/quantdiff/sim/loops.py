"""The loops that NumPy is slow at, compiled by numba; ``fixed_point.py`` is the text that they must equal.

Nothing but ``compiled.py`` imports this module, since numba takes a second to load. ``block`` holds sums of
products, (rows, channels) as int32 or as float32 that are integers; ``offset`` is added to them per channel,
wrapping as int32 does. Shapes are not looked at: the callers do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import overload

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Channels, Product
from quantdiff.sim.machine_code import keep
from quantdiff.sim.pairs import LookedUp, Multiplied
from quantdiff.sim.rounding.fixed_point import ONE_HALF_Q31
from quantdiff.sim.tiles import HEIGHTS, OWN_HEIGHTS, interleave, pack, pack_channels, packed_type, tile  # noqa: F401 (the callers pack)

Function = TypeVar("Function", bound=Callable[..., Any])
MAGIC = np.float32(1.5 * 2**23)
"""Added to a small float32, it rounds it half to even; its own lowest 22 bits are 0."""
LARGE_MAGIC = 1.5 * 2.0**52
"""The same for a double and 32 bits."""
STRIP, ROWS = 2**14, 24
"""Sums that stay in the first caches until they are rounded; rows, which no tile leaves over, at least."""
FITS_INT16 = 2**14
"""So many are counted in 16 bits, which go twice as many at a time."""


def compiled(function: Function, **options: Any) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    made = njit(**options)(function)
    with suppress(RuntimeError):  # no folder that a cache could be written to
        keep(made)
    return cast(Function, made)


def fused(function: Function) -> Function:
    """The same, a product and a sum in one instruction: where both are exact, or nothing depends on them."""
    return compiled(function, fastmath={"contract"})


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
                    put(windows[i, k : k + run], flat[place : place + run])
                    k += run
        multiply(windows, (0, depth, flip), packed, part)


@compiled
def put(to: Array, stored: Array) -> None:  # pragma: no cover (compiled)
    """The activations as an operand; slices, for which LLVM has lanes."""
    for e in range(to.size):
        to[e] = stored[e]


@compiled
def fill_channels(block: Channels, first: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """The same for a depthwise convolution, some positions of one output line after another.

    ``words`` holds what the line needs of the padded image, a word of two or four input lines above each other.
    """
    image, outside, (out_h, out_w), (down, across), (taps_h, dilation, above, before), flip, places, packed = block
    channels, line, size, done, each = sums.shape[1], outside.size, image.shape[2], 0, packed.shape[3]
    words, high = np.empty(-(-taps_h // each) * line + packed.shape[2], np.int32), image.shape[1]
    padding = (-1, -1, -1, -1)
    while done < sums.shape[0]:
        row, left = divmod(first + done, out_w)
        n, r = divmod(row, out_h)
        for i in range(0, taps_h, each):
            held, y = i // each * line, r * down - above + i * dilation
            if done == 0:
                interleave(words, (held, before), (image, outside), padding, (flip, packed))
                end = before + size
                interleave(words, (held + end, line - end), (image, outside), padding, (flip, packed))
            start = (
                input_line(n, y, high, size),
                input_line(n, y + dilation, high, size),
                input_line(n, y + 2 * dilation, high, size),
                input_line(n, y + 3 * dilation, high, size),
            )
            interleave(words, (held + before, size), (image, outside), start, (flip, packed))
        part, way = sums[done : done + out_w - left], (left * across * channels, across * channels, places)
        for v in range(0, packed.shape[0], len(OWN_HEIGHTS)):
            vectors = min(len(OWN_HEIGHTS), packed.shape[0] - v)
            for i in range(0, part.shape[0], OWN_HEIGHTS[vectors - 1]):
                tile(words, way, packed, part, (i, v, vectors))
        done += part.shape[0]


@compiled
def input_line(n: int, y: int, high: int, size: int) -> int:  # pragma: no cover (compiled)
    """Where a line of an image begins; -1 in its padding."""
    return (n * high + y) * size if 0 <= y < high else -1


@compiled
def fill_looked_up(block: LookedUp, first: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """Two operands of 8 bits, each by its table, added."""
    a, b, left, right = block
    flat, start = sums.reshape(-1), first * sums.shape[1]
    add_looked_up(a[start : start + flat.size], b[start : start + flat.size], left, right, flat)


@compiled
def add_looked_up(  # pragma: no cover (compiled)
    a: Array, b: Array, left: Array, right: Array, sums: Array
) -> None:
    """All flat."""
    for i in range(sums.size):
        sums[i] = left[a[i]] + right[b[i]]


@compiled
def fill_multiplied(block: Multiplied, first: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """Two operands of 8 bits without their zero points, multiplied."""
    a, b, points = block
    flat, start = sums.reshape(-1), first * sums.shape[1]
    multiply_pairs(a[start : start + flat.size], b[start : start + flat.size], points, flat)


@compiled
def multiply_pairs(a: Array, b: Array, points: tuple[int, int], sums: Array) -> None:  # pragma: no cover (compiled)
    """All flat."""
    left, right = np.int32(points[0]), np.int32(points[1])
    for i in range(sums.size):
        sums[i] = np.int32(np.int32(a[i]) - left) * np.int32(np.int32(b[i]) - right)


@compiled
def look_up(x: Array, table: Array, y: Array) -> None:  # pragma: no cover (compiled)
    """Bytes by a table of 256. All flat."""
    for i in range(x.size):
        y[i] = table[x[i]]


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
    if "places" in block.fields:
        return lambda block, first, sums: fill_channels(block, first, sums)  # noqa: PLW0108
    if "points" in block.fields:
        return lambda block, first, sums: fill_multiplied(block, first, sums)  # noqa: PLW0108
    return lambda block, first, sums: fill_looked_up(block, first, sums)  # noqa: PLW0108


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
    if isinstance(block, types.Array) or "places" not in block.fields:
        return lambda block, channels: np.empty((max(1, STRIP // channels // ROWS) * ROWS, channels), np.int32)

    def of_lines(block: Any, channels: int) -> Any:
        columns = block.lines[1]
        return np.empty((max(1, STRIP // channels // columns) * columns, channels), np.int32)

    return of_lines


@compiled
def by_shifts(  # pragma: no cover (compiled)
    block: Any, offset: Array, shifts: tuple[Any, bool], output: tuple[int, int, int], y: Array
) -> None:
    """``shift`` for all rows."""
    top, held = 0, held_for(block, offset.size)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        shift(sums, offset, shifts[0], shifts[1], output, y[top : top + sums.shape[0]])
        top += sums.shape[0]


@compiled
def shift(  # pragma: no cover (compiled)
    sums: Array,
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
    for i in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            acc = np.int32(np.int32(sums[i, c]) + offset[c])
            if enlarged:
                acc = np.int32(np.int64(acc) << left[c])
            product = np.int64(acc) * mantissa[c] + ONE_HALF_Q31
            steps = np.int32((product + half[c] + ((product >> 63) & ties[c])) >> right[c])
            y[i, c] = np.int32(min(max(steps, least), most) + zero)


@compiled
def by_double(  # pragma: no cover (compiled)
    block: Any, offset: Array, multiplier: tuple[Array, Array, Array], output: tuple[int, int, int], y: Array
) -> None:
    """``scale_doubles`` for all rows."""
    top, held = 0, held_for(block, offset.size)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        scale_doubles(sums, offset, multiplier, output, y[top : top + sums.shape[0]])
        top += sums.shape[0]


@fused
def scale_doubles(  # pragma: no cover (compiled)
    sums: Array, offset: Array, multiplier: tuple[Array, Array, Array], output: tuple[int, int, int], y: Array
) -> None:
    """The same where a double holds all bits of what lies between the clamps: half the time of ``shift``.

    ``multiplier`` is, per channel, the scale, and what is added to a product that is not below zero, or is: what the
    first rounding adds to the second, the zero point, and half of the last bit. No sum is then a tie, and LARGE_MAGIC
    rounds it down from a half more. Beyond the clamps what is lost changes nothing, since every step is monotone.
    """
    (scale, above, below), low, high = multiplier, np.int32(output[1]), np.int32(output[2])
    for i in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            acc = np.int32(np.int32(sums[i, c]) + offset[c])
            more, less = above[c], below[c]  # both read, so that there is no branch
            added = less if acc < 0 else more
            steps = np.float64(np.float64(acc) * scale[c] + added + LARGE_MAGIC).view(np.int64)
            y[i, c] = min(max(np.int32(steps), low), high)


@compiled
def by_float(  # pragma: no cover (compiled)
    block: Any, offset: Array, scale: Array, output: tuple[int, int, int], y: Array
) -> None:
    """``scale_floats`` for all rows."""
    top, held = 0, held_for(block, offset.size)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        scale_floats(sums, offset, scale, output, y[top : top + sums.shape[0]])
        top += sums.shape[0]


@compiled
def scale_floats(  # pragma: no cover (compiled)
    sums: Array, offset: Array, scale: Array, output: tuple[int, int, int], y: Array
) -> None:
    """Rule X. ``scale`` is float32 per channel; clamped first, so that MAGIC rounds and leaves the steps as bits."""
    zero_point, low, high = output
    least, most, zero = np.float32(low - zero_point), np.float32(high - zero_point), np.int32(zero_point)
    for i in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            acc = np.int32(np.int32(sums[i, c]) + offset[c])
            steps = min(max(np.float32(acc) * scale[c], least), most)
            y[i, c] = np.float32(steps + MAGIC).view(np.int32) + zero  # of which ``y`` takes the lowest 8 bits


@compiled
def count_all(  # pragma: no cover (compiled)
    block: Any, offset: Array, floats: Array, doubles: Array, ends: Array, y: Array
) -> Array:
    """How many elements each rule gives otherwise than the first, whose outputs ``y`` takes.

    Shapes: floats (rules, channels), doubles (rules, 3, channels), ends (rules, 3) as what ``by_float`` and
    ``by_double`` take; of each rule one of both is there, the other 0.
    """
    counts, top, held = np.zeros(len(ends), np.int64), 0, held_for(block, offset.size)
    others = np.empty((0, y.shape[1]), y.dtype)
    while top < y.shape[0]:
        sums = strip(block, top, held[: y.shape[0] - top])
        if others.shape[0] < sums.shape[0]:
            others = np.empty(sums.shape, y.dtype)
        first = y[top : top + sums.shape[0]]
        for r in range(len(ends)):
            to, output = first if r == 0 else others[: sums.shape[0]], (ends[r, 0], ends[r, 1], ends[r, 2])
            if doubles[r, 0, 0] == 0:
                scale_floats(sums, offset, floats[r], output, to)
            else:
                scale_doubles(sums, offset, (doubles[r, 0], doubles[r, 1], doubles[r, 2]), output, to)
            if r > 0:
                counts[r] += count_differing(first.reshape(-1), to.reshape(-1))
        top += sums.shape[0]
    return counts


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


@compiled
def sum_taps(  # pragma: no cover (compiled)
    image: Array, taps: Array, strides: tuple[int, int], dilations: tuple[int, int], y: Array
) -> None:
    """Each channel with its own windows, in double. Shapes: (n, h, w, c), (kh, kw, c) -> (n, out_h, out_w, c)."""
    for n in range(y.shape[0]):
        for r in range(y.shape[1]):
            for c in range(y.shape[2]):
                sums = y[n, r, c]
                for i in range(taps.shape[0]):
                    for j in range(taps.shape[1]):
                        given = image[n, r * strides[0] + i * dilations[0], c * strides[1] + j * dilations[1]]
                        add_products(sums, given, taps[i, j])


@compiled
def add_products(sums: Array, a: Array, b: Array) -> None:  # pragma: no cover (compiled)
    """Slices, for which LLVM has lanes."""
    for e in range(sums.size):
        sums[e] += a[e] * b[e]


@compiled
def store(x: Array, grid: tuple[float, float, float, float], y: Array) -> None:  # pragma: no cover (compiled)
    """Real values as integers of a grid: step, zero point and ends. All flat."""
    step, zero_point, low, high = grid
    for e in range(x.size):
        y[e] = min(max(np.floor(x[e] / step + 0.5) + zero_point, low), high)
