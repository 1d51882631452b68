"""Sums as outputs, in lanes: what a runtime's rule makes of them, for several rules while they are in the cache.

Nothing but ``loops.py`` and ``tiles.py`` imports this module. ``fixed_point.py`` is the text that it must equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from quantdiff.sim.machine_code import (
    BYTE,
    INT32,
    INT64,
    SHORT,
    all_data,
    alloca,
    data_of,
    for_range,
    load,
    spread,
    unpack,
)
from quantdiff.sim.narrow import LANES, Bounds, by_sign, nearest_float, of_doubles, of_floats, of_whole, packs

BY_FLOAT, BY_DOUBLE, RAW = 0, 1, 2
"""How a rule goes over the sums."""
ERROR = 2.0**-13
"""By which a scaled sum in single precision may be wrong."""
AT_ONCE = 2
"""Rows whose bytes are made together."""
_int32, _int64, _bytes, _floats, _doubles = (
    ir.VectorType(each, LANES) for each in (INT32, INT64, BYTE, ir.FloatType(), ir.DoubleType())
)
Steps = Callable[[list[Any]], list[Any]]
"""Bytes of the sums of some rows."""


class Rules(NamedTuple):
    """Where what ``finish`` is told of the rules lies, as LLVM has it.

    ``whole`` are the channels in whole lanes; ``alone`` says that one rule makes bytes.
    """

    offset: Any
    floats: Any
    doubles: Any
    ends: Any
    addresses: Any
    totals: Any
    count: Any
    channels: Any
    whole: Any
    alone: Any

    def end(self, builder: Any, rule: Any, which: int) -> Any:  # pragma: no cover (while compiling)
        """Zero point, clamps, or how a rule goes over the sums."""
        return builder.load(builder.gep(self.ends, [builder.add(builder.mul(rule, INT64(4)), INT64(which))]))

    def steps(self, builder: Any, rule: Any, column: Any, kind: int) -> Steps:  # pragma: no cover (while compiling)
        """What makes bytes of the sums of the columns from one on."""
        offset, bounds = self.offsets(builder, column), self.bounds(builder, rule)
        if kind == BY_FLOAT:
            scale, *_ = self.parts(builder, self.floats, _floats, (rule, column))
            return _by_float(builder, offset, scale, bounds)
        return _by_double(builder, offset, self.parts(builder, self.doubles, _doubles, (rule, column)), bounds)

    def offsets(self, builder: Any, column: Any) -> Any:  # pragma: no cover (while compiling)
        """Of the columns from one on."""
        return load(builder, builder.gep(self.offset, [column]), _int32)

    def bounds(self, builder: Any, rule: Any) -> Bounds:  # pragma: no cover (while compiling)
        """Of a rule."""
        return Bounds(*(builder.trunc(self.end(builder, rule, i), INT32) for i in range(3)))

    def parts(self, builder: Any, array: Any, lane: Any, at: tuple[Any, Any]) -> list[Any]:  # pragma: no cover
        """What a rule has for the columns from one on: scale, and what is added to a product above zero, or below."""
        (rule, column), found = at, []
        for which in range(3):
            line = builder.mul(builder.add(builder.mul(rule, INT64(3)), INT64(which)), self.whole)
            found.append(load(builder, builder.gep(array, [builder.add(line, column)]), lane))
        return found


def rules_of(context: Any, builder: Any, told: Any, value: Any, channels: Any) -> Rules:  # pragma: no cover
    """Of what ``finish`` is told: its type, and its value."""
    pair = unpack(builder, value, 2)
    given = (all_data(context, builder, *each) for each in zip(told, pair, strict=True))
    (offset, floats, doubles, ends_at), (addresses, totals) = given
    ends = context.make_array(told[0][3])(context, builder, unpack(builder, pair[0], 4)[3])
    count = unpack(builder, ends.shape, 2)[0]
    whole = builder.and_(builder.add(channels, INT64(LANES - 1)), INT64(-LANES))
    one, kind = builder.icmp_signed("==", count, INT64(1)), builder.load(builder.gep(ends_at, [INT64(3)]))
    alone = builder.and_(one, builder.icmp_signed("!=", kind, INT64(RAW)))
    return Rules(offset, floats, doubles, ends_at, addresses, totals, count, channels, whole, alone)


class Task(NamedTuple):
    """Sums that lie in memory: what is to be done with them.

    ``size`` is rows, columns, and how far apart the rows are; ``where`` says at which element of the output each row
    begins. ``kept`` is room for as many bytes as there are sums.
    """

    sums: Any
    kept: Any
    size: tuple[Any, Any, Any]
    where: Any
    column: Any


def rounded(  # pragma: no cover (while compiling)
    builder: Any, rules: Rules, task: Task, rows: tuple[list[list[Any]], list[Any]], keep: Callable[[], None]
) -> None:
    """Write the outputs of sums in registers, whole lanes of each row, by the only rule.

    ``rows`` are the sums, and where their outputs begin. ``keep`` writes the sums to the memory of the task, where a
    rule in doubles finds them if there are few registers.
    """
    out, by_float = builder.load(rules.addresses), rules.end(builder, INT64(0), 3)

    def every(kind: int) -> None:
        for g in range(len(rows[0][0])):
            here = builder.add(task.column, INT64(g * LANES))
            steps = rules.steps(builder, INT64(0), here, kind)
            for first in range(0, len(rows[0]), AT_ONCE):
                lines, where = (each[first : first + AT_ONCE] for each in rows)
                for position, value in zip(where, steps([line[g] for line in lines]), strict=True):
                    place = builder.add(builder.add(builder.load(position), here), out)
                    builder.store(value, builder.inttoptr(place, _bytes.as_pointer()), align=1)

    with builder.if_else(builder.icmp_signed("==", by_float, INT64(BY_FLOAT))) as (simple, other):
        with simple:
            every(BY_FLOAT)
        with other:
            if packs():
                keep()
                _in_turns(builder, rules, task)
            else:
                every(BY_DOUBLE)


def _in_turns(builder: Any, rules: Rules, task: Task) -> None:  # pragma: no cover (while compiling)
    """The same of sums in memory by a rule in doubles, which is tried in floats first: few come too near to a half."""
    out, (rows, _, stride) = builder.load(rules.addresses), task.size

    def every(steps: Steps) -> None:
        with for_range(builder, INT64(0), rows, INT64(AT_ONCE)) as (i, _):
            these = [builder.add(i, INT64(r)) for r in range(AT_ONCE)]
            places = [builder.gep(task.sums, [builder.mul(row, stride)]) for row in these]
            made = steps([load(builder, place, _int32) for place in places])
            for row, value in zip(these, made, strict=True):
                place = builder.add(builder.add(builder.load(builder.gep(task.where, [row])), task.column), out)
                builder.store(value, builder.inttoptr(place, _bytes.as_pointer()), align=1)

    worst = alloca(builder, _floats)
    builder.store(ir.Constant(_floats, [0.0] * LANES), worst)
    every(_nearly(builder, rules, task.column, worst))
    doubtful = builder.fcmp_ordered(">", builder.load(worst), ir.Constant(_floats, [0.5 - ERROR] * LANES))
    with builder.if_then(builder.icmp_signed("!=", builder.bitcast(doubtful, SHORT), SHORT(0)), likely=False):
        every(rules.steps(builder, INT64(0), task.column, BY_DOUBLE))


def finished(builder: Any, rules: Rules, task: Task) -> None:  # pragma: no cover (while compiling)
    """Write, or count, the outputs of sums in memory by every rule."""
    rows, columns, stride = task.size
    found = alloca(builder, INT64)  # a register, while one loop counts
    with for_range(builder, INT64(0), rules.count, INT64(1)) as (rule, _):
        out = builder.load(builder.gep(rules.addresses, [rule]))
        how = rules.end(builder, rule, 3)
        with for_range(builder, INT64(0), columns, INT64(LANES)) as (inside, _):
            here = builder.add(task.column, inside)
            left = builder.sub(rules.channels, here)

            def every(emit: Callable[[Any, Any, Any], None]) -> None:
                with for_range(builder, INT64(0), rows, INT64(1)) as (i, _):
                    inner = builder.add(builder.mul(i, stride), inside)
                    place = builder.add(builder.load(builder.gep(task.where, [i])), here)
                    emit(load(builder, builder.gep(task.sums, [inner]), _int32), place, builder.gep(task.kept, [inner]))

            def by(kind: int) -> None:
                steps = rules.steps(builder, rule, here, kind)

                def write(sums: Any, place: Any, copy: Any) -> None:
                    del copy
                    y = builder.inttoptr(builder.add(out, place), _bytes.as_pointer())
                    builder.store(steps([sums])[0], y, align=1)

                def emit(sums: Any, place: Any, copy: Any) -> None:
                    (value,) = steps([sums])
                    with builder.if_else(builder.icmp_signed("!=", out, INT64(0))) as (writes, counts):
                        with writes:
                            builder.store(value, builder.bitcast(copy, _bytes.as_pointer()), align=1)
                            _store(builder, value, builder.inttoptr(builder.add(out, place), BYTE.as_pointer()), left)
                        with counts:
                            _count(builder, value, copy, left, found)

                quick = builder.and_(rules.alone, builder.icmp_signed(">=", left, INT64(LANES)))
                with builder.if_else(quick) as (simple, other):
                    with simple:
                        every(write)
                    with other:
                        builder.store(INT64(0), found)
                        every(emit)
                        total = builder.gep(rules.totals, [rule])
                        builder.store(builder.add(builder.load(total), builder.load(found)), total)

            def as_they_are(sums: Any, place: Any, copy: Any) -> None:
                del copy
                _store_sums(builder, sums, builder.add(out, builder.mul(place, INT64(4))), left)

            for kind in (BY_FLOAT, BY_DOUBLE):
                with builder.if_then(builder.icmp_signed("==", how, INT64(kind))):
                    by(kind)
            with builder.if_then(builder.icmp_signed("==", how, INT64(RAW))):
                every(as_they_are)


def _by_float(builder: Any, offset: Any, scale: Any, bounds: Bounds) -> Steps:  # pragma: no cover
    """Rule X."""
    narrow = of_floats(builder, bounds)

    def real(acc: Any) -> Any:
        return builder.fmul(builder.sitofp(builder.add(acc, offset), _floats), scale)

    return lambda sums: narrow([real(acc) for acc in sums])


def _by_double(  # pragma: no cover (while compiling)
    builder: Any, offset: Any, multiplier: list[Any], bounds: Bounds
) -> Steps:
    """The rules by shifts where a double holds all bits of what lies between the clamps.

    ``multiplier`` is the scale, and what is added to a product that is not below zero, or is: what the first rounding
    adds to the second, the zero point, and half of the last bit. No sum is then a tie, and the nearest integer is that
    below a half more. Beyond the clamps what is lost changes nothing, since every step is monotone. A product and a sum
    may be one instruction: where it matters, both are exact.
    """
    (scale, above, below), narrow = multiplier, of_doubles(builder, bounds)

    def real(acc: Any) -> Any:
        acc = builder.add(acc, offset)
        given = builder.sitofp(acc, _doubles)
        product = builder.fmul(given, scale, flags=("contract",))
        return builder.fadd(product, by_sign(builder, (acc, given), (above, below)), flags=("contract",))

    return lambda sums: narrow([real(acc) for acc in sums])


def _nearly(builder: Any, rules: Rules, column: Any, worst: Any) -> Steps:  # pragma: no cover
    """The same in single precision, which is nearly always enough: ``worst`` gains how far from an integer it was.

    Sum, scale, product and what is added are wrong by 2**-24 each, of 384 at most, and the real number by half of its
    last bit, where that decides: all together by less than ``ERROR``.
    """
    scale, above, below = rules.parts(builder, rules.floats, _floats, (INT64(0), column))
    offset, narrow = rules.offsets(builder, column), of_whole(builder, rules.bounds(builder, INT64(0)))

    def whole(acc: Any) -> Any:
        acc = builder.add(acc, offset)
        less = builder.icmp_signed("<", acc, ir.Constant(_int32, [0] * LANES))
        product = builder.fmul(builder.sitofp(acc, _floats), scale, flags=("contract",))
        real = builder.fadd(product, builder.select(less, below, above), flags=("contract",))
        nearest = nearest_float(builder, real)
        apart = builder.fsub(real, builder.sitofp(nearest, _floats))
        bits = builder.and_(builder.bitcast(apart, _int32), ir.Constant(_int32, [0x7FFFFFFF] * LANES))
        return nearest, builder.bitcast(bits, _floats)

    def steps(sums: list[Any]) -> list[Any]:
        found = [whole(acc) for acc in sums]
        most = builder.load(worst)
        for _, apart in found:
            most = builder.select(builder.fcmp_ordered(">", most, apart), most, apart)
        builder.store(most, worst)
        return narrow([nearest for nearest, _ in found])

    return steps


def _store(builder: Any, value: Any, y: Any, left: Any) -> None:  # pragma: no cover (while compiling)
    """The bytes that are there."""
    with builder.if_else(builder.icmp_signed(">=", left, INT64(LANES))) as (all_, some):
        with all_:
            builder.store(value, builder.bitcast(y, _bytes.as_pointer()), align=1)
        with some:
            _store_some(builder, value, y, left)


def _store_sums(builder: Any, sums: Any, address: Any, left: Any) -> None:  # pragma: no cover (while compiling)
    """The sums that are there."""
    with builder.if_else(builder.icmp_signed(">=", left, INT64(LANES))) as (all_, some):
        with all_:
            builder.store(sums, builder.inttoptr(address, _int32.as_pointer()), align=4)
        with some, for_range(builder, INT64(0), left, INT64(1)) as (c, _):
            one = builder.extract_element(sums, builder.trunc(c, INT32))
            place = builder.add(address, builder.mul(c, INT64(4)))
            builder.store(one, builder.inttoptr(place, INT32.as_pointer()), align=4)


def _store_some(builder: Any, value: Any, y: Any, left: Any) -> None:  # pragma: no cover (while compiling)
    halves = builder.bitcast(value, ir.VectorType(INT64, 2))
    low, high = (builder.extract_element(halves, INT32(i)) for i in (0, 1))
    bits, place = low, y
    for size in (8, 4, 2, 1):
        before, start, entry, kind = bits, place, builder.block, ir.IntType(8 * size)
        with builder.if_then(builder.icmp_signed("!=", builder.and_(left, INT64(size)), INT64(0))):
            part = before if kind == INT64 else builder.trunc(before, kind)
            builder.store(part, builder.bitcast(start, kind.as_pointer()), align=1)
            after = high if kind == INT64 else builder.lshr(before, INT64(8 * size))
            further, made = builder.gep(start, [INT64(size)]), builder.block
        bits, place = builder.phi(INT64), builder.phi(start.type)
        for phi, yes, no in ((bits, after, before), (place, further, start)):
            phi.add_incoming(yes, made)
            phi.add_incoming(no, entry)


def _count(builder: Any, value: Any, copy: Any, left: Any, total: Any) -> None:  # pragma: no cover (while compiling)
    """Add how many of the bytes that are there differ from others."""
    differs = builder.icmp_signed("!=", value, load(builder, copy, _bytes))
    most = builder.select(builder.icmp_signed("<", left, INT64(LANES)), left, INT64(LANES))
    numbers = ir.Constant(_bytes, list(range(LANES)))
    there = builder.icmp_signed("<", numbers, spread(builder, _bytes, builder.trunc(most, BYTE)))
    mask = builder.bitcast(builder.and_(differs, there), SHORT)
    builder.store(builder.add(builder.load(total), builder.zext(builder.ctpop(mask), INT64)), total)


def _finish(typing: Any, held: Any, size: Any, to: Any, at: Any, told: Any) -> Any:  # pragma: no cover
    """See ``finish``."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        sums, kept = all_data(context, builder, held, arguments[0])
        column, channels = unpack(builder, arguments[3], 2)
        rules = rules_of(context, builder, told, arguments[4], channels)
        where = data_of(context, builder, to, arguments[2])
        finished(builder, rules, Task(sums, kept, unpack(builder, arguments[1], 3), where, column))
        return context.get_dummy_value()

    return types.void(held, size, to, at, told), generate


finish: Any = intrinsic(_finish)
"""Outputs of some sums: ``finish((sums, kept), (rows, columns, stride), to, (column, channels), (rules, outputs))``.

The sums of ``columns`` columns from ``column`` on stand in rows ``stride`` apart; row i begins at element ``to[i]`` of
the output. ``rules`` are the offset of each channel, floats and doubles (rules, 3, channels) and ends
(rules, 4): zero point, clamps, and how the rule goes over the sums. Channels are filled up to whole lanes. ``outputs``
are where those of each rule begin, and counts: where the former is 0, the latter gains how many differ from those of
the rule before that were written (``kept``, as many bytes as there are sums).
"""
