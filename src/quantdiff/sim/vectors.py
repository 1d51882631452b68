"""Words of LLVM that ``tiles.py`` and ``finish.py`` write machine code with, and what the processor has."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features

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
