"""Exact products of integers by the processor's own instructions, for which neither NumPy nor numba has a word.

Nothing but ``loops.py`` imports this module. A tile is some rows × some vectors of columns; its sums stay in registers
while the depth goes by, and in the first cache until ``finish`` has rounded them. With AVX-512 VNNI (``vpdpbusd``) each
lane adds four products of an unsigned byte by a signed one, with AVX2 (``vpmaddwd``) two products of 16 bits; the type
of the packed weights says which. Sums wrap as int32.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from quantdiff.sim.finish import Task, finished, rounded, rules_of
from quantdiff.sim.machine_code import (
    BYTE,
    INT32,
    INT64,
    SHORT,
    all_data,
    features,
    for_range,
    function_of,
    load,
    spread,
    unpack,
)
from quantdiff.sim.narrow import LANES as TOGETHER

WORD = 4
"""Bytes that a lane takes of a row at once."""
LANES = {np.dtype(np.int8): 16, np.dtype(np.int16): 8}
"""32-bit lanes of a vector for packed weights of each type."""
WIDE = 2
"""Vectors of columns that a tile has at most."""


HEIGHT = 12 if "avx512vl" in features() else 6
"""Rows of a tile: with ``WIDE`` vectors as many sums as there are registers, of which AVX-512 has twice as many."""


def _dot(builder: Any, kind: Any, sums: Any, x: Any, w: Any) -> Any:  # pragma: no cover (while compiling)
    """``sums`` and the products of a word of x by one of w, lane by lane."""
    if kind == types.int8:
        shape = ir.FunctionType(sums.type, [sums.type] * 3)
        instruction = function_of(builder.module, shape, "llvm.x86.avx512.vpdpbusd.512")
        return builder.call(instruction, [sums, x, w])
    lanes = sums.type.count
    pairs, wide = ir.VectorType(SHORT, 2 * lanes), ir.VectorType(INT32, 2 * lanes)
    x, w = (builder.bitcast(each, pairs) for each in (x, w))
    if "avx2" in features():
        instruction = function_of(builder.module, ir.FunctionType(sums.type, [pairs] * 2), "llvm.x86.avx2.pmadd.wd")
        return builder.add(sums, builder.call(instruction, [x, w]))
    product = builder.mul(builder.sext(x, wide), builder.sext(w, wide))
    halves = (ir.Constant(sums.type, list(range(first, 2 * lanes, 2))) for first in (0, 1))
    pair = builder.add(*(builder.shuffle_vector(product, product, half) for half in halves))
    return builder.add(sums, pair)


def _tile(typing: Any, lines: Any, weights: Any, at: Any, held: Any, told: Any) -> Any:  # pragma: no cover
    """See ``tile``; loops over columns and depth, all else is written out."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        row, rows, first, last, before, channels, flip = unpack(builder, arguments[2], 7)
        x, begin, where = all_data(context, builder, lines, arguments[0])
        distances, packed = all_data(context, builder, weights, arguments[1])
        shape = context.make_array(weights[1])(context, builder, unpack(builder, arguments[1], 2)[1]).shape
        words = unpack(builder, shape, 4)[1]
        begin, where = (builder.gep(each, [row]) for each in (begin, where))
        factors = _Factors.of(builder, (lines[0].dtype, weights[1].dtype), (x, begin, flip), (distances, packed, words))
        sums, kept = all_data(context, builder, held, arguments[3])
        rules = rules_of(context, builder, told, arguments[4], channels)

        lanes = factors.lane.count

        def columns(vector: Any, column: Any, quick: Any, count: int) -> None:
            ends = factors.sums(builder, vector, count)
            with builder.if_else(quick) as (at_once, later):
                with at_once:
                    together = [_together(builder, line) for line in ends]
                    positions = [builder.gep(where, [INT64(r)]) for r in range(HEIGHT)]
                    size = INT64(HEIGHT), INT64(WIDE * lanes), INT64(WIDE * lanes)
                    task = Task(sums, kept, size, where, column)
                    rounded(builder, rules, task, (together, positions), lambda: _keep(builder, ends, sums))
                with later:
                    _keep(builder, ends, sums)

        with for_range(builder, first, last, INT64(WIDE)) as (vector, _):
            column = builder.mul(builder.sub(vector, before), INT64(lanes))
            wide = builder.icmp_signed(">=", builder.sub(last, vector), INT64(WIDE))
            width = builder.select(wide, INT64(WIDE * lanes), INT64(TOGETHER))
            quick = builder.and_(rules.alone, builder.icmp_signed(">=", builder.sub(channels, column), width))
            with builder.if_else(wide) as (two, one):
                with two:
                    columns(vector, column, quick, WIDE)
                with one:
                    columns(vector, column, quick, 1)
            with builder.if_then(builder.not_(quick)):
                finished(builder, rules, Task(sums, kept, (rows, width, INT64(WIDE * lanes)), where, column))
        return context.get_dummy_value()

    return types.void(lines, weights, at, held, told), generate


class _Factors(NamedTuple):
    """What is multiplied, as LLVM has it.

    Attributes:
        kind: the type of the packed weights.
        own: whether each column has words of its own in the operand.
        size: bytes of an element of the operand.
        rows: where the rows of the operand begin.
    """

    kind: Any
    lane: Any
    own: bool
    size: int
    rows: list[Any]
    flips: Any
    distances: Any
    packed: Any
    words: Any

    @classmethod
    def of(  # pragma: no cover (while compiling)
        cls, builder: Any, kinds: tuple[Any, Any], operand: tuple[Any, Any, Any], weights: tuple[Any, Any, Any]
    ) -> _Factors:
        x, begin, flip = operand
        distances, packed, words = weights
        lane, size = ir.VectorType(INT32, LANES[np.dtype(kinds[1].name)]), kinds[0].bitwidth // 8
        x, packed = (builder.bitcast(each, BYTE.as_pointer()) for each in (x, packed))
        starts = [builder.load(builder.gep(begin, [INT64(r)])) for r in range(HEIGHT)]
        rows = [builder.gep(x, [builder.mul(start, INT64(size))]) for start in starts]
        flips = spread(builder, lane, builder.mul(builder.zext(flip, INT32), INT32(0x01010101)))
        own = kinds[0] == types.int32
        return cls(kinds[1], lane, own, size, rows, flips, distances, packed, words)

    def distance(self, builder: Any, k: Any) -> Any:  # pragma: no cover (while compiling)
        """Of word k from where its row begins, in bytes."""
        return builder.mul(builder.load(builder.gep(self.distances, [k])), INT64(self.size))

    def word(self, builder: Any, row: Any, distance: Any, v: int) -> Any:  # pragma: no cover (while compiling)
        """A word of the operand for each lane of the vector v."""
        place = builder.gep(row, [distance])
        if self.own:
            read = load(builder, builder.gep(place, [INT64(v * self.lane.count * WORD)]), self.lane)
        else:
            read = spread(builder, self.lane, load(builder, place, INT32))
        return builder.xor(read, self.flips) if self.kind == types.int8 else read

    def weights(self, builder: Any, vector: Any, k: Any) -> Any:  # pragma: no cover (while compiling)
        """Word k of a vector of columns."""
        number = builder.add(builder.mul(vector, self.words), k)
        return load(builder, builder.gep(self.packed, [builder.mul(number, INT64(self.lane.count * WORD))]), self.lane)

    def sums(self, builder: Any, vector: Any, count: int) -> list[list[Any]]:  # pragma: no cover (while compiling)
        """Of every row and ``count`` vectors of columns: the loop over the depth."""
        before, loop = builder.block, builder.append_basic_block("depth")
        done = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(INT64)
        sums = [[builder.phi(self.lane) for _ in range(count)] for _ in self.rows]
        distance, ends = self.distance(builder, k), []
        w = [self.weights(builder, builder.add(vector, INT64(v)), k) for v in range(count)]
        for row, line in zip(self.rows, sums, strict=True):
            words = [self.word(builder, row, distance, v) for v in range(count if self.own else 1)]
            ends.append([_dot(builder, self.kind, line[v], words[v % len(words)], w[v]) for v in range(count)])
            distance = _in_order(builder, distance, ends[-1])
        following = builder.add(k, INT64(1))
        for phi, end in zip([k, *chain(*sums)], [following, *chain(*ends)], strict=True):
            phi.add_incoming(ir.Constant(phi.type, None), before)
            phi.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, self.words), loop, done)
        builder.position_at_end(done)
        return ends


def _keep(builder: Any, ends: list[list[Any]], sums: Any) -> None:  # pragma: no cover (while compiling)
    """Write the sums of a tile to memory, ``WIDE`` vectors a row."""
    for r, line in enumerate(ends):
        for v, value in enumerate(line):
            place = builder.gep(sums, [INT64((r * WIDE + v) * value.type.count)])
            builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=WORD)


def _together(builder: Any, line: list[Any]) -> list[Any]:  # pragma: no cover (while compiling)
    """The vectors of a row as those that are rounded together."""
    if line[0].type.count == TOGETHER:
        return line
    both = ir.Constant(ir.VectorType(INT32, TOGETHER), list(range(TOGETHER)))
    return [builder.shuffle_vector(line[0], line[-1], both)]


def _in_order(builder: Any, distance: Any, sums: list[Any]) -> Any:  # pragma: no cover (while compiling)
    """The same distance, but not before the sums are there.

    Else LLVM reads all rows first, and unrolls the loop, for which there are not enough registers.
    """
    if "avx2" not in features():
        return distance
    register = "v" if "avx512vl" in features() else "x"
    shape = ir.FunctionType(INT64, [INT64, *(each.type for each in sums)])
    same = builder.asm(shape, "", ",".join(["=r", "0"] + [register] * len(sums)), [distance, *sums], side_effect=True)
    same.attributes.add("convergent")
    return same


tile: Any = intrinsic(_tile)
"""Outputs of some rows: ``tile((x, starts, to), (places, packed), (row, rows, first, last, before, channels, flip),
(sums, kept), (rules, outputs))``, those of the packed vectors of columns from ``first`` to ``last``, the first columns
being in number ``before``.

Row r of the operand begins at element ``starts[row + r]`` of ``x``, and word k of it ``places[k]`` elements further on;
that of the output begins at element ``to[row + r]``. There are ``HEIGHT`` of both, the last ones more than once where
there are fewer ``rows``. The bits of ``flip`` are turned over in each byte of the operand, where it has bytes. ``sums``
and ``kept`` are room for a tile, ``WIDE`` vectors a row; the rest is as for ``finish``.

Where ``x`` is int32, it holds words of its own for each column, the ones of the tile beside each other.
"""


def _interleave(typing: Any, arrays: Any, at: Any, size: Any) -> Any:  # pragma: no cover
    """See ``interleave``; loops over pixels and vectors."""
    del typing
    packed = arrays[2].dtype
    count, lanes = WORD * 8 // packed.bitwidth, LANES[np.dtype(packed.name)]
    wide, bytes_ = (ir.VectorType(each, lanes) for each in (INT32, BYTE))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        y, x, _ = all_data(context, builder, arrays, arguments[0])
        to, start, apart, step = unpack(builder, arguments[1], 4)
        pixels, vectors = unpack(builder, arguments[2], 2)
        begin = [builder.gep(x, [builder.add(start, builder.mul(INT64(j), apart))]) for j in range(count)]

        def one(pixel: Any, vector: int) -> None:
            place = builder.add(builder.mul(pixel, step), INT64(vector * lanes))
            read = [load(builder, builder.gep(line, [place]), bytes_) for line in begin]
            row = builder.add(to, builder.mul(pixel, INT64(WIDE * lanes)))
            where = builder.gep(y, [builder.add(row, INT64(vector * lanes))])
            made = _words(builder, read, wide)
            builder.store(made, builder.bitcast(where, wide.as_pointer()), align=WORD)

        with builder.if_else(builder.icmp_signed(">=", vectors, INT64(WIDE))) as branches:
            for branch, each in zip(branches, (WIDE, 1), strict=True):
                with branch, for_range(builder, INT64(0), pixels, INT64(1)) as (pixel, _):
                    for vector in range(each):
                        one(pixel, vector)
        return context.get_dummy_value()

    return types.void(arrays, at, size), generate


def _words(builder: Any, read: list[Any], wide: Any) -> Any:  # pragma: no cover (while compiling)
    """Bytes of two lines above each other as words of two numbers, or of four as they are."""
    if len(read) == 2:  # noqa: PLR2004
        lanes = wide.count
        order = ir.Constant(ir.VectorType(INT32, 2 * lanes), [i // 2 + i % 2 * lanes for i in range(2 * lanes)])
        pairs = builder.shuffle_vector(*read, order)
        return builder.bitcast(builder.zext(pairs, ir.VectorType(SHORT, 2 * lanes)), wide)
    made = ir.Constant(wide, None)
    for j, each in enumerate(read):
        made = builder.or_(
            made, builder.shl(builder.zext(each, wide), ir.Constant(wide, [BYTE.width * j] * wide.count))
        )
    return made


interleave: Any = intrinsic(_interleave)
"""Words of lines above each other: ``interleave((words, lines, packed), (to, start, apart, step), (pixels, vectors))``.

A word holds four bytes, or two numbers of 16 bits, as the packed weights do. Those of a pixel begin at ``start`` and
``apart`` further on, and the pixels are ``step`` apart; they take ``WIDE`` vectors each from ``words[to]`` on.
"""
