"""The loops that NumPy is slow at, compiled by numba; ``fixed_point.py`` is the text that they must equal.

Nothing but ``loops`` of ``node.py`` imports this module: numba takes a second to load. ``round_block`` makes outputs
of a block: sums of products, (rows, channels) as int32 or as float32 that are integers, or what they are computed from,
some rows at a time. Rules are told as ``finish.finish`` takes them. Shapes are not looked at: the callers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import DTypeLike

from quantdiff.quant import Array
from quantdiff.sim.blocks import Channels, Product
from quantdiff.sim.element_loops import (  # noqa: F401 (the callers ask here)
    bound,
    by_shifts,
    finish_sums,
    look_up,
    scale_sums,
    softmax,
    store,
    sum_taps,
)
from quantdiff.sim.finish import BY_DOUBLE, BY_FLOAT, RAW, finish  # noqa: F401 (the callers say how)
from quantdiff.sim.machine_code import compiled, features, inlined
from quantdiff.sim.narrow import LANES as ROUNDED
from quantdiff.sim.tiles import HEIGHT, LANES, WIDE, WORD, interleave, tile

STRIP = 2**15
"""Bytes of input and output that are at work at once, beside as many as the weights have: they stay in the caches."""
LINE = 16
"""Elements of 32 bits in a line of the cache."""
WORDS = 2**13
"""Words of input lines above each other: they stay in the first cache."""
SUMS = 2**12
"""Sums that stay in the first cache until they are rounded."""


SPARE = 64
"""Elements behind the last, which tiles read and multiply by 0."""
Bytes = tuple[np.uint8, np.uint8]
Told = tuple[tuple[Array, Array, Array, Array], tuple[Array, Array]]
"""Rules and outputs as ``finish.finish`` takes them."""


@compiled
def round_products(block: Product, told: Told, channels: int) -> None:  # pragma: no cover (compiled)
    """Some output lines after the others, all columns of each."""
    image, (out_h, out_w), (down, across), (above, before, line, reach), bytes_, places, packed = block
    size, item, laid = image.shape[0] * out_h, packed.itemsize, laid_out(bytes_, packed)
    budget, each = STRIP + min(packed.size * item, 8 * STRIP), down * line * item + out_w * channels
    at_once = max(1, min(size, budget // each))
    whole = down == reach == out_w == 1 and above == 0 and image.shape[1:] == (out_h, line)  # a row each line
    lies = whole and line % WORD == 0 and item == 1
    held, room = operand(image, lies, at_once * max(down, reach) * line + SPARE, packed), room_for_sums(packed)
    starts, to = np.empty(at_once * out_w + HEIGHT, np.int64), np.empty(at_once * out_w + HEIGHT, np.int64)
    for first in range(0, size, at_once):
        last, place, rows, g = min(first + at_once, size), 0, 0, first
        while g < last:
            n, r = divmod(g, out_h)
            lines = min(out_h - r, last - g)
            if lies:
                place = g * line
            else:
                which = n, r * down - above, (lines - 1) * down + reach
                lay_out(image, which, (before, line), laid, held, place)
            if out_w == 1:
                count_up(starts[rows : rows + lines], place, down * line)
            else:
                for i in range(lines):
                    count_up(starts[rows + i * out_w : rows + (i + 1) * out_w], place + i * down * line, across)
            place += ((lines - 1) * down + reach) * line
            g, rows = g + lines, rows + lines * out_w
        count_up(to[:rows], first * out_w * channels, channels)
        columns = 0, packed.shape[0], 0, channels, bytes_[0]
        multiply((held, starts, to), (0, rows), (places, packed), columns, room, told)


@inlined
def multiply(  # pragma: no cover (compiled)
    lines: tuple[Array, Array, Array],
    rows: tuple[int, int],
    weights: tuple[Array, Array],
    columns: tuple[int, int, int, int, np.uint8],
    room: tuple[Array, Array],
    told: Told,
) -> None:
    """All tiles of rows from one on, so many (``tiles.tile``); the last one is filled up with the last row."""
    (first, count), (_, starts, to) = rows, lines
    if count > 0:
        end = first + count
        for r in range(end, end + HEIGHT):
            starts[r], to[r] = starts[end - 1], to[end - 1]
    for i in range(0, count, HEIGHT):
        tile(lines, weights, (first + i, min(HEIGHT, count - i), *columns), room, told)


@inlined
def count_up(x: Array, first: int, step: int) -> None:  # pragma: no cover (compiled)
    """Numbers that are ``step`` apart."""
    for i in range(x.size):
        x[i] = first + i * step


@inlined
def on_a_line(x: Array) -> Array:  # pragma: no cover (compiled)
    """The elements from the first line of the cache on: a store of 64 bytes that crosses two pages takes far longer."""
    return x[(-x.ctypes.data & 63) // x.itemsize :]


@inlined
def room_for_sums(packed: Array) -> tuple[Array, Array]:  # pragma: no cover (compiled)
    """Of one tile, and for as many bytes."""
    size = HEIGHT * WIDE * packed.shape[-2]
    return on_a_line(np.empty(size + LINE, np.int32)), np.empty(size, np.uint8)


def operand(image: Any, lies: bool, size: int, packed: Any) -> Any:
    """The bytes of the image, or room for so many activations beside such weights."""
    raise NotImplementedError  # compiled only, by the type of the weights


@overload(operand, strict=False)
def _operand(image: Any, lies: Any, size: Any, packed: Any) -> Any:  # pragma: no cover
    del image, lies, size
    if packed.dtype == types.int8:
        return lambda image, lies, size, packed: image.reshape(-1) if lies else np.empty(size, np.uint8)
    return lambda image, lies, size, packed: np.empty(size, np.int16)


@inlined
def laid_out(bytes_: Bytes, packed: Array) -> Bytes:  # pragma: no cover (compiled)
    """What of it is done while lines are laid out: tiles turn bytes over, but not numbers of 16 bits."""
    return (np.uint8(0), bytes_[1]) if packed.itemsize == 1 else bytes_


@inlined
def lay_out(  # pragma: no cover (compiled)
    image: Array, which: tuple[int, int, int], how: tuple[int, int], bytes_: Bytes, held: Array, place: int
) -> None:
    """Lines of a padded image, one after the other: of which image, from which line on, and how many."""
    (n, top, count), (before, line), (flip, zero) = which, how, bytes_
    high, size, zero = image.shape[1], image.shape[2], zero ^ flip
    if line == size and top >= 0 and top + count <= high:
        put(held[place : place + count * line], image[n, top : top + count].reshape(-1), flip)
        return
    for i in range(count):
        to, y = held[place + i * line : place + (i + 1) * line], top + i
        if 0 <= y < high:
            to[:before] = zero
            put(to[before : before + size], image[n, y], flip)
            to[before + size :] = zero
        else:
            to[:] = zero


@inlined
def put(to: Array, stored: Array, flip: np.uint8) -> None:  # pragma: no cover (compiled)
    """The activations as an operand; slices, for which LLVM has lanes."""
    for e in range(to.size):
        to[e] = stored[e] ^ flip


@compiled
def round_channels(block: Channels, told: Told, channels: int) -> None:  # pragma: no cover (compiled)
    """The same for a depthwise convolution: lines above each other become words, some lines after the others."""
    image, (out_h, out_w), (down, _), (above, before, line, reach), bytes_, (groups, apart), _, packed = block
    size, shared, each, laid = image.shape[0] * out_h, packed.shape[0], packed.shape[4], laid_out(bytes_, packed)
    at_once = max(1, min(size, max(shared, 2 * STRIP // (down * line) // shared * shared)))
    held = np.empty(at_once * max(down, reach) * line + groups * each * apart * line + SPARE, np.uint8)
    unit = groups * line // channels * WIDE * packed.shape[3]
    together, room = max(1, WORDS // unit), room_for_sums(packed)
    words, units = on_a_line(np.empty(together * unit + LINE, np.int32)), np.empty((at_once, 3), np.int64)
    rows = np.empty((2, shared * (together * out_w + HEIGHT)), np.int64)
    arrays, way, weights = (
        (words, held, packed),
        (words, rows[0], rows[1]),
        (block.places, packed.reshape(-1, *packed.shape[2:])),
    )
    for first in range(0, size, at_once):
        last, place, g, many = min(first + at_once, size), 0, first, 0
        while g < last:
            n, r = divmod(g, out_h)
            lines = min(out_h - r, last - g)
            lay_out(image, (n, r * down - above, (lines - 1) * down + reach), (before, line), laid, held, place)
            for i in range(0, lines, shared):
                units[many, 0], units[many, 1], units[many, 2] = place + i * down * line, g + i, min(shared, lines - i)
                many += 1
            place += ((lines - 1) * down + reach) * line
            g += lines
        for u in range(0, many, together):
            round_units(block, (arrays, way, weights, room), units[u : min(u + together, many)], told, channels)


@inlined
def round_units(  # pragma: no cover (compiled)
    block: Channels, held: Any, units: Array, told: Told, channels: int
) -> None:
    """Output lines that the same words serve, some of them together; ``units`` says where they begin and how many.

    Words of as many channels at once as a tile has columns.
    """
    _, (_, out_w), (_, across), (_, _, line, _), (flip, _), (groups, apart), _, packed = block
    (arrays, way, weights, room), (shared, vectors, _, lanes, each) = held, packed.shape
    pixels, wide, counts = line // channels, WIDE * lanes, np.zeros(shared, np.int64)
    (_, starts, to), most = way, way[1].size // shared
    for j in range(units.shape[0]):
        for s in range(units[j, 2]):
            for c in range(out_w):
                at = s * most + counts[s] + c
                starts[at] = (j * groups * pixels + c * across) * wide
                to[at] = ((units[j, 1] + s) * out_w + c) * channels
            counts[s] += out_w
    for v in range(0, vectors, WIDE):
        many = min(WIDE, vectors - v)
        for j in range(units.shape[0]):
            for i in range(groups):
                begin, to_words = units[j, 0] + i * each * apart * line + v * lanes, (j * groups + i) * pixels * wide
                interleave(arrays, (to_words, begin, apart * line, channels), (pixels, many))
        for s in range(shared):
            first = s * vectors + v
            columns = first, first + many, s * vectors, channels, flip
            multiply(way, (s * most, counts[s]), weights, columns, room, told)


@compiled
def round_rows(block: Any, told: Told, channels: int, rows: int) -> None:  # pragma: no cover (compiled)
    """Some rows after the others, of sums that are there or quickly had."""
    stride = -(-channels // ROUNDED) * ROUNDED
    at_once = max(1, SUMS // stride)
    sums, kept = on_a_line(np.empty(at_once * stride + LINE, np.int32)), np.empty(at_once * stride, np.uint8)
    to = np.empty(at_once, np.int64)
    for top in range(0, rows, at_once):
        count = min(at_once, rows - top)
        step = count if stride == channels else 1
        for i in range(0, count, step):
            fill(block, top + i, channels, sums[i * stride : i * stride + step * channels])
        count_up(to[:count], top * channels, channels)
        finish((sums, kept), (count, channels, stride), to, (0, channels), told)


def fill(block: Any, row: int, channels: int, sums: Array) -> None:
    """Compute sums of rows from one on, one after the other."""
    raise NotImplementedError  # compiled only, by the type of the block


@overload(fill, strict=False)
def _fill(block: Any, row: Any, channels: Any, sums: Any) -> Any:  # pragma: no cover
    del row, channels, sums
    if isinstance(block, types.Array):
        return lambda block, row, channels, sums: copy(block, row, channels, sums)  # noqa: PLW0108
    if "points" in block.fields:
        return lambda block, row, channels, sums: multiply_pairs(
            block.a[row * channels : row * channels + sums.size],
            block.b[row * channels : row * channels + sums.size],
            block.points,
            sums,
        )
    return lambda block, row, channels, sums: add_looked_up(
        block.a[row * channels : row * channels + sums.size],
        block.b[row * channels : row * channels + sums.size],
        block.left,
        block.right,
        sums,
    )


@compiled
def copy(given: Array, row: int, channels: int, sums: Array) -> None:  # pragma: no cover (compiled)
    """Integers, whatever their type."""
    for i in range(sums.size // channels):
        for c in range(channels):
            sums[i * channels + c] = np.int32(given[row + i, c])


@compiled
def add_looked_up(  # pragma: no cover (compiled)
    a: Array, b: Array, left: Array, right: Array, sums: Array
) -> None:
    """Two operands of 8 bits, each by its table, added. All flat."""
    for i in range(sums.size):
        sums[i] = left[a[i]] + right[b[i]]


@compiled
def multiply_pairs(a: Array, b: Array, points: tuple[int, int], sums: Array) -> None:  # pragma: no cover (compiled)
    """Two operands of 8 bits without their zero points, multiplied. All flat."""
    left, right = np.int32(points[0]), np.int32(points[1])
    for i in range(sums.size):
        sums[i] = np.int32(np.int32(a[i]) - left) * np.int32(np.int32(b[i]) - right)


def round_block(block: Any, told: Told, channels: int, rows: int) -> None:
    """The outputs of all rows, each rule's where its address says."""
    if isinstance(block, Product):
        round_products(block, told, channels)
    elif isinstance(block, Channels):
        round_channels(block, told, channels)
    else:
        round_rows(block, told, channels, rows)


def packed_type(weights: DTypeLike, zero_point: int) -> type[np.int8] | type[np.int16] | None:
    """The type in which weights of 8 bits are packed for this processor; None where it multiplies neither."""
    if weights == np.int8 and not zero_point and {"avx512f", "avx512bw", "avx512vnni"} <= features():
        return np.int8
    return np.int16 if "avx2" in features() else None


def pack(w: Array, kind: type[np.int8] | type[np.int16]) -> Array:
    """Weights in the order in which tiles take them, each run filled up to whole words.

    Shapes: w (columns, runs, run) -> (vectors, words, lanes, a word).
    """
    columns, runs, run = w.shape
    each, lanes = WORD // np.dtype(kind).itemsize, LANES[np.dtype(kind)]
    whole = np.zeros((-(-columns // lanes) * lanes, runs, -(-run // each) * each), kind)
    whole[:columns, :, :run] = w
    words = whole.view(np.int32).reshape(-1, lanes, runs * whole.shape[2] // each)
    return np.ascontiguousarray(words.swapaxes(1, 2)).view(kind).reshape(len(words), -1, lanes, each)


def pack_channels(w: Array, kind: type[np.int8] | type[np.int16], below: int = 0) -> Array:
    """The same for weights of a depthwise convolution that begin some taps below; a word is of taps above each other.

    Shape: w (kh, kw, c).
    """
    taps_h, taps_w, channels = w.shape
    each = WORD // np.dtype(kind).itemsize
    groups = np.zeros((-(-taps_h // each), each, taps_w, channels), kind)
    groups.reshape(-1, taps_w, channels)[below : below + taps_h] = w
    return pack(groups.transpose(3, 0, 2, 1).reshape(channels, 1, -1), kind)
