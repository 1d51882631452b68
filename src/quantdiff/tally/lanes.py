"""What numba has no word for: the smaller of two floats for lanes of them, and a look ahead into memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ANY_NUMBER = ("nnan", "nsz")
"""NaN may give either operand, and so may zeros of two signs: as the processor finds it fastest."""
READ, KEPT_NEAR, DATA = 0, 3, 1


def _choice(comparison: str) -> Any:  # pragma: no cover
    def choose(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        is_first = builder.fcmp_ordered(comparison, *arguments, flags=ANY_NUMBER)
        return builder.select(is_first, *arguments, flags=ANY_NUMBER)

    return choose


def _lower(typing: Any, a: Any, b: Any) -> Any:  # pragma: no cover
    del typing, b
    return a(a, a), _choice("<")


def _upper(typing: Any, a: Any, b: Any) -> Any:  # pragma: no cover
    del typing, b
    return a(a, a), _choice(">")


def _fetch(typing: Any, array: Any, index: Any) -> Any:  # pragma: no cover
    del typing
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)

    def ask(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        place = builder.bitcast(builder.gep(start, [arguments[1]]), byte)
        builder.call(prefetch, [place, number(READ), number(KEPT_NEAR), number(DATA)])
        return context.get_dummy_value()

    return types.void(array, index), ask


lower: Any = intrinsic(_lower)
"""The smaller of two floats of one type; Python's own ``min`` heeds NaN and does not run in lanes."""
upper: Any = intrinsic(_upper)
"""The larger of two floats of one type."""
fetch: Any = intrinsic(_fetch)
"""Ask for the memory around an element of an array without gaps, and do not wait for it."""
