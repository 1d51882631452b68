"""LOG: LiteRT ``tflite/kernels/elementwise.cc`` (``LogLUTPrepare``), by tables; tflm has floats alone."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.floats import libm, xnnpack_curves
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import lut_int16
from quantdiff.sim.tables.table import float_table, look_up


@kernel("LOG")
def log(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``log(x)``; quantized, the lowest output where x is not positive. Shape as ``x``."""
    if plain(node) and node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return xnnpack_curves.log(x, runtime)
        return libm.apply("logf", x)
    if runtime is Runtime.TFLM or not is_quantized(node.x, "int8", "int16"):
        raise NoKernel(f"type {node.x.dtype}: this runtime has no such kernel")

    def floored(real: Array) -> Array:
        lowest = np.float32(INTEGER_RANGE[node.y.dtype][0] - zero_point_of(node.y)) * scale_of(node.y)
        return np.where(real > 0, libm.apply("logf", np.where(real > 0, real, 1)), lowest)

    if node.x.dtype == "int16":
        return lut_int16.apply(node, x, floored, runtime)
    return look_up(x, float_table(node, floored, runtime))
