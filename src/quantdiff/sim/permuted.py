"""Bytes by a table of 256 bytes, 64 at once, where the processor has the instruction (AVX-512 VBMI).

Nothing but ``loops.py`` imports this module.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from quantdiff.sim.vectors import BYTE, INT64, data_of, features, for_range, function_of, load

LANES = 64
_bytes = ir.VectorType(BYTE, LANES)


def _permute(typing: Any, x: Any, table: Any, y: Any, size: Any) -> Any:  # pragma: no cover (while compiling)
    """See ``permute``."""
    del typing
    able = "avx512vbmi" in features() and table.dtype.bitwidth == y.dtype.bitwidth == BYTE.width

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not able:
            return INT64(0)
        given, entries, to = (data_of(context, builder, signature.args[i], arguments[i]) for i in range(3))
        parts = [load(builder, builder.gep(entries, [INT64(LANES * i)]), _bytes) for i in range(4)]
        look_up = function_of(
            builder.module, ir.FunctionType(_bytes, [_bytes] * 3), "llvm.x86.avx512.vpermi2var.qi.512"
        )
        whole = builder.and_(arguments[3], INT64(-LANES))
        with for_range(builder, INT64(0), whole, INT64(LANES)) as (i, _):
            index = load(builder, builder.gep(given, [i]), _bytes)
            low, high = (builder.call(look_up, [parts[k], index, parts[k + 1]]) for k in (0, 2))
            upper = builder.icmp_signed("<", index, ir.Constant(_bytes, None))
            found = builder.select(upper, high, low)
            builder.store(found, builder.bitcast(builder.gep(to, [i]), _bytes.as_pointer()), align=1)
        return whole

    return types.int64(x, table, y, types.int64), generate


permute: Any = intrinsic(_permute)
"""``y[i] = table[x[i]]`` for the first elements: ``permute(x, table, y, size)`` says how many were done."""
