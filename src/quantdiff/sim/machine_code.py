"""Machine code: how loops are compiled and kept on disk, and the words of LLVM that they are written with.

What is kept goes by the content of every file that it is made of; numba itself looks at one. Nothing but compiled
loops imports this module.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
SOURCES = tuple(
    Path(__file__).with_name(f"{name}.py")
    for name in ("loops", "element_loops", "tiles", "finish", "narrow", "machine_code", "blocks")
)


@cache
def stamp() -> bytes:
    """What changes with any of the files."""
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in SOURCES)).digest()


_Impl: Any = CompileResultCacheImpl


def _by_sources(function: Any) -> Any:
    how = _Impl(function)
    how.locator.get_source_stamp = stamp
    return how


_KeptCode: Any = type("KeptCode", (FunctionCache,), {"_impl_class": staticmethod(_by_sources)})


def keep(dispatcher: Any) -> None:
    """Have what is compiled for this function stored, and looked for.

    Raises:
        RuntimeError: there is no folder that it could be written to.
    """
    dispatcher._cache = _KeptCode(dispatcher.py_func)


def compiled(function: Function) -> Function:
    """The function as machine code on one thread, kept on disk where that is possible."""
    made = njit(nogil=True)(function)
    with suppress(RuntimeError):  # no folder that a cache could be written to
        keep(made)
    return cast(Function, made)


def inlined(function: Function) -> Function:
    """A part of others, which is compiled with them alone: LLVM takes long for what is written out."""
    return cast(Function, njit(inline="always")(function))


function_of: Any = cgutils.get_or_insert_function
unpack: Any = cgutils.unpack_tuple
for_range: Any = cgutils.for_range_slice
alloca: Any = cgutils.alloca_once
_host_features: Any = get_host_cpu_features

BYTE, SHORT, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


@cache
def features() -> frozenset[str]:
    """Of the processor that numba compiles for, by LLVM's names."""
    told: Any = getattr(config, "CPU_FEATURES")  # noqa: B009 (set while it is imported)
    names = str(_host_features() if told is None else told).split(",")
    return frozenset(name[1:] for name in names if name.startswith("+"))


def load(builder: Any, place: Any, kind: Any) -> Any:  # pragma: no cover (while compiling)
    """What lies there, wherever that is."""
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=1)


def spread(builder: Any, lane: Any, value: Any) -> Any:  # pragma: no cover (while compiling)
    """The value in every lane."""
    one = builder.insert_element(ir.Constant(lane, ir.Undefined), value, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, lane.count), [0] * lane.count)
    return builder.shuffle_vector(one, ir.Constant(lane, ir.Undefined), zeros)


def data_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:  # pragma: no cover (while compiling)
    """Where the elements of an array begin."""
    return context.make_array(kind)(context, builder, value).data


def all_data(context: Any, builder: Any, kinds: Any, values: Any) -> list[Any]:  # pragma: no cover (while compiling)
    """The same of a tuple of arrays."""
    given = unpack(builder, values, len(kinds))
    return [data_of(context, builder, *each) for each in zip(kinds, given, strict=True)]


PERMUTED_AT_ONCE = 64
_permuted = ir.VectorType(BYTE, PERMUTED_AT_ONCE)


def _permute(typing: Any, x: Any, table: Any, y: Any, size: Any) -> Any:  # pragma: no cover (while compiling)
    """See ``permute``."""
    del typing
    able = "avx512vbmi" in features() and table.dtype.bitwidth == y.dtype.bitwidth == BYTE.width

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not able:
            return INT64(0)
        given, entries, to = (data_of(context, builder, signature.args[i], arguments[i]) for i in range(3))
        parts = [load(builder, builder.gep(entries, [INT64(PERMUTED_AT_ONCE * i)]), _permuted) for i in range(4)]
        look_up = function_of(
            builder.module, ir.FunctionType(_permuted, [_permuted] * 3), "llvm.x86.avx512.vpermi2var.qi.512"
        )
        whole = builder.and_(arguments[3], INT64(-PERMUTED_AT_ONCE))
        with for_range(builder, INT64(0), whole, INT64(PERMUTED_AT_ONCE)) as (i, _):
            index = load(builder, builder.gep(given, [i]), _permuted)
            low, high = (builder.call(look_up, [parts[k], index, parts[k + 1]]) for k in (0, 2))
            upper = builder.icmp_signed("<", index, ir.Constant(_permuted, None))
            found = builder.select(upper, high, low)
            builder.store(found, builder.bitcast(builder.gep(to, [i]), _permuted.as_pointer()), align=1)
        return whole

    return types.int64(x, table, y, types.int64), generate


permute: Any = intrinsic(_permute)
"""``y[i] = table[x[i]]`` for the first elements: ``permute(x, table, y, size)`` says how many were done."""
