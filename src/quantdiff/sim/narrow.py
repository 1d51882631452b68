"""Real numbers in lanes as bytes: the nearest integer, a zero point, two clamps, by what instructions there are.

Nothing but ``finish.py``, ``tiles.py`` and ``loops.py`` imports this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from quantdiff.sim.machine_code import BYTE, INT32, INT64, SHORT, features, function_of, spread

LANES = 16
"""Columns that are rounded together."""
MAGIC = 1.5 * 2.0**23
"""Added to a small float32, it rounds it half to even; its own lowest 22 bits are 0."""
LARGE_MAGIC = 1.5 * 2.0**52
"""The same for a double and 32 bits, where no instruction rounds doubles."""
BEYOND = 2.0**30
"""More than any output; the largest floats are this, since no int32 holds them."""
FURTHEST = 2.0**21
"""More than any output, too, and what ``MAGIC`` still rounds."""
SIGN = 0x80
"""That of a byte."""
CURRENT_DIRECTION = 4
"""Rounds as the processor is told to anyhow: to the nearest."""
_int32, _int64, _bytes, _floats, _doubles = (
    ir.VectorType(each, LANES) for each in (INT32, INT64, BYTE, ir.FloatType(), ir.DoubleType())
)
Narrow = Callable[[list[Any]], list[Any]]
"""Bytes of the real numbers of some rows."""


class Bounds(NamedTuple):
    """Zero point and clamps, int32."""

    zero: Any
    low: Any
    high: Any


def packs() -> bool:
    """Whether bytes are packed by saturating instructions; AVX-512 cuts them off by another one."""
    return "avx2" in features() and "avx512f" not in features()


def of_floats(builder: Any, bounds: Bounds) -> Narrow:  # pragma: no cover (while compiling)
    """Rounded half to even."""
    if packs():
        pack, most = _packing(builder, bounds.zero, bounds), ir.Constant(_floats, [BEYOND] * LANES)
        return lambda reals: pack([nearest_float(builder, _least(builder, real, most)) for real in reals])
    least, most = (
        spread(builder, _floats, builder.sitofp(builder.sub(end, bounds.zero), ir.FloatType())) for end in bounds[1:]
    )
    point = spread(builder, _int32, bounds.zero)

    def narrow(real: Any) -> Any:  # clamped first, so that MAGIC rounds and leaves the steps as bits
        real = builder.select(builder.fcmp_ordered("<", real, least), least, real)
        real = _least(builder, real, most)
        bits = builder.bitcast(builder.fadd(real, ir.Constant(_floats, [MAGIC] * LANES)), _int32)
        return builder.trunc(builder.add(bits, point), _bytes)

    return lambda reals: [narrow(real) for real in reals]


def of_whole(builder: Any, bounds: Bounds) -> Narrow:  # pragma: no cover (while compiling)
    """Of int32 that hold the zero point."""
    if packs():
        return _packing(builder, INT32(0), bounds)
    low, high = (spread(builder, _int32, end) for end in bounds[1:])

    def narrow(whole: Any) -> Any:
        whole = builder.select(builder.icmp_signed("<", whole, low), low, whole)
        whole = builder.select(builder.icmp_signed(">", whole, high), high, whole)
        return builder.trunc(whole, _bytes)

    return lambda wholes: [narrow(whole) for whole in wholes]


def of_doubles(builder: Any, bounds: Bounds) -> Narrow:  # pragma: no cover (while compiling)
    """Of doubles that are no ties and hold the zero point, and that an int32 can hold."""
    narrow = of_whole(builder, bounds)
    return lambda reals: narrow([_nearest(builder, real) for real in reals])


def by_sign(builder: Any, sums: tuple[Any, Any], ends: tuple[Any, Any]) -> Any:  # pragma: no cover (while compiling)
    """Of two vectors of doubles the second where sums, told as int32 and double, are below 0."""
    (whole, real), (above, below) = sums, ends
    if not packs():
        return builder.select(builder.icmp_signed("<", whole, ir.Constant(_int32, [0] * LANES)), below, above)
    lanes, parts = LANES // 4, []  # LLVM makes masks of 64 bits, where the sign of a double is one
    for first in range(0, LANES, lanes):
        given = [_part(builder, each, first, lanes) for each in (above, below, real)]
        parts.append(_call(builder, "llvm.x86.avx.blendv.pd.256", given[0].type, given))
    return _joined(builder, parts)


def _least(builder: Any, real: Any, most: Any) -> Any:  # pragma: no cover (while compiling)
    return builder.select(builder.fcmp_ordered(">", real, most), most, real)


def _packing(builder: Any, zero: Any, bounds: Bounds) -> Narrow:  # pragma: no cover (while compiling)
    """Two rows at once: 16 bits, the zero point, 8 bits, and only then the clamps, 32 bytes wide.

    Every step saturates, hence no order is lost. Bytes above 127 have another sign on the way.
    """
    large = builder.icmp_signed(">", bounds.high, INT32(SIGN - 1))
    flip = builder.select(large, INT32(SIGN), INT32(0))
    words, both = ir.VectorType(SHORT, LANES), ir.VectorType(BYTE, 2 * LANES)
    point = spread(builder, words, builder.trunc(builder.sub(zero, flip), SHORT))
    low, high = (spread(builder, both, builder.trunc(builder.sub(end, flip), BYTE)) for end in bounds[1:])
    flips = spread(builder, both, builder.trunc(flip, BYTE))

    def narrow(rows: list[Any]) -> list[Any]:
        halves = [[_part(builder, row, first, LANES // 2) for first in (0, LANES // 2)] for row in rows]
        given = [_call(builder, "llvm.x86.avx2.packssdw", words, each) for each in halves]
        given = [_call(builder, "llvm.sadd.sat.v16i16", words, [each, point]) for each in given]
        found = _call(builder, "llvm.x86.avx2.packsswb", both, [given[0], given[-1]])
        found = builder.select(builder.icmp_signed("<", found, low), low, found)
        found = builder.select(builder.icmp_signed(">", found, high), high, found)
        fours = builder.bitcast(builder.xor(found, flips), ir.VectorType(INT32, LANES // 2))
        order = ir.Constant(fours.type, [0, 4, 1, 5, 2, 6, 3, 7])  # packed within 16 bytes each
        fours = builder.bitcast(builder.shuffle_vector(fours, fours, order), both)
        return [_part(builder, fours, i * LANES, LANES) for i in range(len(rows))]

    return lambda rows: [each for i in range(0, len(rows), 2) for each in narrow(rows[i : i + 2])]


def _part(builder: Any, value: Any, first: int, count: int) -> Any:  # pragma: no cover (while compiling)
    """Some lanes."""
    mask = ir.Constant(ir.VectorType(INT32, count), list(range(first, first + count)))
    return builder.shuffle_vector(value, value, mask)


def _call(builder: Any, name: str, made: Any, given: list[Any]) -> Any:  # pragma: no cover (while compiling)
    """An instruction."""
    return builder.call(function_of(builder.module, ir.FunctionType(made, [each.type for each in given]), name), given)


def nearest_float(builder: Any, real: Any) -> Any:  # pragma: no cover (while compiling)
    """Half to even, of floats that an int32 can hold, or that are below all of them: those become its lowest."""
    if not (lanes := 16 if "avx512f" in features() else 8 if "avx2" in features() else 0):
        most = ir.Constant(_floats, [FURTHEST] * LANES)
        real = _least(builder, builder.fneg(_least(builder, builder.fneg(real), most)), most)
        magic = ir.Constant(_floats, [MAGIC] * LANES)
        bits = [builder.bitcast(each, _int32) for each in (builder.fadd(real, magic), magic)]
        return builder.sub(*bits)
    whole, name, rest = ir.VectorType(INT32, lanes), "llvm.x86.avx.cvt.ps2dq.256", list[Any]()
    if lanes == LANES:
        name = "llvm.x86.avx512.mask.cvtps2dq.512"
        rest = [ir.Constant(whole, None), SHORT(-1), INT32(CURRENT_DIRECTION)]
    parts = [_part(builder, real, first, lanes) for first in range(0, LANES, lanes)]
    return _joined(builder, [_call(builder, name, whole, [each, *rest]) for each in parts])


def _nearest(builder: Any, real: Any) -> Any:  # pragma: no cover (while compiling)
    """Doubles that are no ties as the nearest int32, which can hold them."""
    if not (lanes := 8 if "avx512f" in features() else 4 if "avx2" in features() else 0):
        real = builder.fadd(real, ir.Constant(_doubles, [LARGE_MAGIC] * LANES))
        return builder.trunc(builder.bitcast(real, _int64), _int32)
    whole, name, rest = ir.VectorType(INT32, lanes), "llvm.x86.avx.cvt.pd2dq.256", list[Any]()
    if lanes == 8:  # noqa: PLR2004
        name = "llvm.x86.avx512.mask.cvtpd2dq.512"
        rest = [ir.Constant(whole, None), BYTE(-1), INT32(CURRENT_DIRECTION)]
    parts = [_part(builder, real, first, lanes) for first in range(0, LANES, lanes)]
    return _joined(builder, [_call(builder, name, whole, [each, *rest]) for each in parts])


def _joined(builder: Any, parts: list[Any]) -> Any:  # pragma: no cover (while compiling)
    while len(parts) > 1:
        both = ir.Constant(ir.VectorType(INT32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
        parts = [builder.shuffle_vector(*parts[i : i + 2], both) for i in range(0, len(parts), 2)]
    return parts[0]
