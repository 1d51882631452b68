"""POW: LiteRT ``tflite/kernels/pow.cc``, ``internal/optimized/optimized_ops.h`` (``BroadcastPow4D``)."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import libm
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, kernel
from quantdiff.sim.runtime import Runtime

WHOLE = 1e-5


@kernel("POW", batched=False)
def power(node: Node, x: Array, exponent: Array, *, runtime: Runtime) -> Array:
    """Return ``x ** exponent``, a single whole exponent by squares. Shapes broadcast."""
    del runtime
    if not plain(node) or node.x.dtype not in ("float32", "int32"):
        raise NoKernel(f"type {node.x.dtype}")
    times = round(float(exponent.reshape(-1)[0])) if exponent.size == 1 != x.size else 0
    if times >= 1 and abs(float(exponent.reshape(-1)[0]) - times) < WHOLE:
        return by_squares(x, times)
    if node.x.dtype == "int32":
        raise NoKernel("integers to several powers")
    return libm.apply_pair("powf", *np.broadcast_arrays(x, exponent))


def by_squares(x: Array, times: int) -> Array:
    """``x`` times itself as ``IntegerExponentPow`` does. Shape as ``x``."""
    if times == 1:
        return x.copy()
    if times % 2:
        return by_squares(x, times - 1) * x
    root = by_squares(x, times // 2)
    return root * root
