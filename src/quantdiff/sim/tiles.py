"""Exact products of integers by the processor's own instructions, for which neither NumPy nor numba has a word.

Nothing but ``loops.py`` imports this module. A tile is some rows × some vectors of columns; its sums stay in registers
while the depth goes by. With AVX-512 VNNI (``vpdpbusd``) each lane adds four products of an unsigned byte by a signed
one, with AVX2 (``vpmaddwd``) two products of 16 bits; the type of the packed weights says which. Sums wrap as int32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from quantdiff.quant import Array

_function: Any = cgutils.get_or_insert_function
_unpack: Any = cgutils.unpack_tuple
_host_features: Any = get_host_cpu_features

BYTE, INT32, INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
WORD = 4
"""Bytes that a lane takes of a row at once."""
LANES = {np.dtype(np.int8): 16, np.dtype(np.int16): 8}
"""32-bit lanes of a vector for packed weights of each type."""


@cache
def features() -> frozenset[str]:
    """Of the processor that numba compiles for, by LLVM's names."""
    told: Any = getattr(config, "CPU_FEATURES")  # noqa: B009 (set while it is imported)
    names = str(_host_features() if told is None else told).split(",")
    return frozenset(name[1:] for name in names if name.startswith("+"))


OWN_HEIGHTS = (12, 6, 4, 3)
"""Rows of a tile of one vector of columns, of two, …, where each column has an operand of its own."""
HEIGHTS = (12, 12, 8, 6) if "avx512vl" in features() else OWN_HEIGHTS
"""The same elsewhere: as many sums as there are registers, of which AVX-512 has twice as many."""


def packed_type(weights: DTypeLike, zero_point: int) -> type[np.int8] | type[np.int16] | None:
    """The type in which weights of 8 bits are packed for this processor; None where it multiplies neither."""
    if weights == np.int8 and not zero_point and {"avx512f", "avx512bw", "avx512vnni"} <= features():
        return np.int8
    return np.int16 if "avx2" in features() else None


def pack(w: Array, kind: type[np.int8] | type[np.int16]) -> Array:
    """Weights in the order in which tiles take them. Shapes: w (columns, depth) -> (vectors, words, lanes, a word)."""
    columns, depth = w.shape
    each, lanes = WORD // np.dtype(kind).itemsize, LANES[np.dtype(kind)]
    whole = np.zeros((-(-columns // lanes) * lanes, -(-depth // each) * each), kind)
    whole[:columns, :depth] = w
    words = whole.view(np.int32).reshape(-1, lanes, whole.shape[1] // each)
    return np.ascontiguousarray(words.swapaxes(1, 2)).view(kind).reshape(len(words), -1, lanes, each)


def pack_channels(w: Array, kind: type[np.int8] | type[np.int16]) -> Array:
    """The same for weights of a depthwise convolution; a word is of taps above each other. Shape: w (kh, kw, c)."""
    taps_h, taps_w, channels = w.shape
    each = WORD // np.dtype(kind).itemsize
    groups = np.zeros((-(-taps_h // each), each, taps_w, channels), kind)
    groups.reshape(-1, taps_w, channels)[:taps_h] = w
    return pack(groups.transpose(3, 0, 2, 1).reshape(channels, -1), kind)


def _dot(builder: Any, kind: Any, sums: Any, x: Any, w: Any) -> Any:  # pragma: no cover (while compiling)
    """``sums`` and the products of a word of x by one of w, lane by lane."""
    if kind == types.int8:
        shape = ir.FunctionType(sums.type, [sums.type] * 3)
        instruction = _function(builder.module, shape, "llvm.x86.avx512.vpdpbusd.512")
        return builder.call(instruction, [sums, x, w])
    lanes = sums.type.count
    pairs, wide = ir.VectorType(ir.IntType(16), 2 * lanes), ir.VectorType(INT32, 2 * lanes)
    x, w = (builder.bitcast(each, pairs) for each in (x, w))
    if "avx2" in features():
        instruction = _function(builder.module, ir.FunctionType(sums.type, [pairs] * 2), "llvm.x86.avx2.pmadd.wd")
        return builder.add(sums, builder.call(instruction, [x, w]))
    product = builder.mul(builder.sext(x, wide), builder.sext(w, wide))
    halves = (ir.Constant(sums.type, list(range(first, 2 * lanes, 2))) for first in (0, 1))
    pair = builder.add(*(builder.shuffle_vector(product, product, half) for half in halves))
    return builder.add(sums, pair)


def _tile(typing: Any, a: Any, way: Any, packed: Any, sums: Any, place: Any) -> Any:  # pragma: no cover
    """See ``tile``; the loop over the depth is the only one, all else is written out."""
    del typing
    kind, lane = packed.dtype, ir.VectorType(INT32, LANES[np.dtype(packed.dtype.name)])
    own = isinstance(way[2], types.Array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, weights, y = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 3))
        first, stride, which = _unpack(builder, arguments[1], 3)
        row, vector, vectors = _unpack(builder, arguments[4], 3)
        height, width = _unpack(builder, y.shape, 2)
        column = builder.mul(vector, INT64(lane.count))  # the first
        left = builder.sub(height, row), builder.sub(width, column)
        words, last = _unpack(builder, weights.shape, 4)[1], builder.sub(left[0], INT64(1))

        def read(start: Any) -> Callable[[Any, int], Any]:
            if not own:
                place, flips = _byte(builder, x.data, start), _spread(builder, lane, which)
                return lambda k, v: builder.xor(_spread(builder, lane, _load(builder, place, k, INT32)), flips)
            place = _byte(builder, x.data, builder.add(start, column))
            places = context.make_array(way[2])(context, builder, which).data

            def read_own(k: Any, v: int) -> Any:
                word = builder.add(builder.load(builder.gep(places, [k])), INT64(v * lane.count))
                return _load(builder, place, word, lane)

            return read_own

        def weigh(v: int) -> Callable[[Any], Any]:
            word = builder.mul(builder.add(vector, INT64(v)), builder.mul(words, INT64(lane.count * WORD)))
            place = builder.gep(_byte(builder, weights.data, INT64(0)), [word])
            return lambda k: _load(builder, place, builder.mul(k, INT64(lane.count)), lane)

        to = builder.gep(y.data, [builder.add(builder.mul(row, width), column)])
        for count, rows in enumerate(OWN_HEIGHTS if own else HEIGHTS, start=1):
            with builder.if_then(builder.icmp_signed("==", vectors, INT64(count))):
                lines = _starts(builder, (builder.add(first, builder.mul(row, stride)), stride, last), rows)
                operands = [read(start) for start in lines], [weigh(v) for v in range(count)]
                _store(builder, _depth(builder, kind, lane, operands, words), to, width, left)
        return context.get_dummy_value()

    return types.void(a, way, packed, sums, place), generate


def _starts(builder: Any, of: tuple[Any, Any, Any], rows: int) -> list[Any]:  # pragma: no cover (while compiling)
    """Where rows begin, of the first, how far apart they are, and which is the last: it comes once more."""
    start, stride, last = of
    found = [start]
    for r in range(1, rows):
        step = builder.select(builder.icmp_signed("<=", INT64(r), last), stride, INT64(0))
        found.append(builder.add(found[-1], step))
    return found


def _byte(builder: Any, start: Any, element: Any) -> Any:  # pragma: no cover (while compiling)
    """Where an element lies."""
    return builder.bitcast(builder.gep(start, [element]), BYTE.as_pointer())


def _load(builder: Any, start: Any, word: Any, kind: Any) -> Any:  # pragma: no cover (while compiling)
    """What lies so many words on."""
    place = builder.gep(start, [builder.mul(word, INT64(WORD))])
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=1)


def _spread(builder: Any, lane: Any, value: Any) -> Any:  # pragma: no cover (while compiling)
    """The value in every lane."""
    one = builder.insert_element(ir.Constant(lane, ir.Undefined), value, INT32(0))
    return builder.shuffle_vector(one, ir.Constant(lane, ir.Undefined), ir.Constant(lane, [0] * lane.count))


def _depth(  # pragma: no cover (while compiling)
    builder: Any, kind: Any, lane: Any, operands: tuple[list[Any], list[Any]], words: Any
) -> list[list[Any]]:
    """The sums of every row and vector of columns, both given by how the word k of them is had."""
    lines, columns = operands
    before, loop = builder.block, builder.append_basic_block("depth")
    done = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INT64)
    sums = [[builder.phi(lane) for _ in columns] for _ in lines]
    w = [column(k) for column in columns]
    ends = []
    for line, row in zip(lines, sums, strict=True):
        ends.append([_dot(builder, kind, row[v], line(k, v), w[v]) for v in range(len(w))])
    following = builder.add(k, INT64(1))
    for phi, end in zip([k, *chain(*sums)], [following, *chain(*ends)], strict=True):
        phi.add_incoming(ir.Constant(phi.type, None), before)
        phi.add_incoming(end, loop)
    builder.cbranch(builder.icmp_signed("<", following, words), loop, done)
    builder.position_at_end(done)
    return ends


def _store(  # pragma: no cover (while compiling)
    builder: Any, sums: list[list[Any]], to: Any, stride: Any, left: tuple[Any, Any]
) -> None:
    """The sums of the rows and columns that are there."""
    lane = sums[0][0].type
    shape = ir.FunctionType(ir.VoidType(), [lane, lane.as_pointer(), INT32, ir.VectorType(ir.IntType(1), lane.count)])
    store = _function(builder.module, shape, f"llvm.masked.store.v{lane.count}i32.p0")
    width, there = _spread(builder, lane, builder.trunc(left[1], INT32)), []
    for v in range(len(sums[0])):
        numbers = ir.Constant(lane, list(range(v * lane.count, (v + 1) * lane.count)))
        there.append(builder.icmp_signed("<", numbers, width))
    for r, row in enumerate(sums):
        with builder.if_then(builder.icmp_signed("<", INT64(r), left[0])):
            for v, value in enumerate(row):
                place = builder.gep(to, [INT64(v * lane.count)])
                builder.call(store, [value, builder.bitcast(place, lane.as_pointer()), INT32(WORD), there[v]])
        to = builder.gep(to, [stride])


tile: Any = intrinsic(_tile)
"""Sums of one tile: ``tile(a, (first, stride, flip), packed, sums, (row, vector, vectors))``.

Row r of the operand begins at element ``first + r * stride`` of ``a``; each word of it is taken with the bits of
``flip`` turned over. The tile begins at ``row`` and ``vector`` and has ``HEIGHTS[vectors - 1]`` rows, or what is left.

Where each column has an operand of its own, ``a`` holds words of it, one for each column, and for ``flip`` stands
an array: how many words after its row the words of the depth begin. Such a tile has ``OWN_HEIGHTS``.
"""


def _interleave(typing: Any, words: Any, place: Any, lines: Any, starts: Any, how: Any) -> Any:  # pragma: no cover
    """See ``interleave``; a loop over vectors, then one over what is left."""
    del typing
    packed, signed = how[1].dtype, lines[0].dtype.signed
    count = WORD // np.dtype(packed.name).itemsize
    lanes = LANES[np.dtype(packed.name)]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        y = context.make_array(words)(context, builder, arguments[0]).data
        to, size = _unpack(builder, arguments[1], 2)
        image, outside = (
            context.make_array(kind)(context, builder, given).data
            for kind, given in zip(lines, _unpack(builder, arguments[2], 2), strict=True)
        )
        flip = _unpack(builder, arguments[4], 2)[0]
        to, sources = builder.gep(y, [to]), []
        for start in _unpack(builder, arguments[3], 4)[:count]:
            beyond = builder.icmp_signed("<", start, INT64(0))
            sources.append(builder.select(beyond, outside, builder.gep(image, [start])))

        def put(q: Any, kind: Any, flips: Any) -> None:
            bytes_, word = (_as_lanes(kind, each) for each in (BYTE, INT32))
            made = flips
            for j, source in enumerate(sources):
                read = builder.load(builder.bitcast(builder.gep(source, [q]), bytes_.as_pointer()), align=1)
                value = (builder.sext if signed else builder.zext)(read, word)
                if signed and j < count - 1:
                    value = builder.and_(value, ir.Constant(word, _all(kind, (1 << 32 // count) - 1)))
                made = builder.xor(made, builder.shl(value, ir.Constant(word, _all(kind, 32 // count * j))))
            builder.store(made, builder.bitcast(builder.gep(to, [q]), word.as_pointer()), align=WORD)

        whole = builder.and_(size, INT64(-lanes))
        vector = _spread(builder, ir.VectorType(INT32, lanes), flip)
        for first, last, step, flips in ((INT64(0), whole, lanes, vector), (whole, size, 1, flip)):
            with cgutils.for_range_slice(builder, first, last, INT64(step)) as (q, _):
                put(q, lanes if step > 1 else None, flips)
        return context.get_dummy_value()

    return types.void(words, place, lines, starts, how), generate


def _as_lanes(lanes: int | None, kind: Any) -> Any:  # pragma: no cover (while compiling)
    return ir.VectorType(kind, lanes) if lanes else kind


def _all(lanes: int | None, value: int) -> Any:  # pragma: no cover (while compiling)
    return [value] * lanes if lanes else value


interleave: Any = intrinsic(_interleave)
"""Words of lines above each other: ``interleave(words, (to, size), (image, outside), starts, (flip, packed))``.

A word holds four bytes, or two numbers of 16 bits, as the packed weights do; its bits of ``flip`` are turned over. A
line of the image begins at each of the four ``starts``, of which those that a word holds are read, or is ``outside``
where that is below zero.
"""
