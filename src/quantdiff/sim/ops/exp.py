"""EXP: LiteRT ``tflite/kernels/exp.cc``; quantized values by a table. tflm: ``exp.cc``, float alone."""

from __future__ import annotations

from functools import partial

from quantdiff.quant import Array
from quantdiff.sim.floats import libm, xnnpack_curves
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import lut_int16
from quantdiff.sim.tables.table import float_table, look_up


@kernel("EXP")
def exp(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``exp(x)``. Shape as ``x``."""
    curve = partial(libm.apply, "expf")
    if plain(node) and node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return xnnpack_curves.exp(x, runtime)
        return curve(x)
    if runtime is Runtime.TFLM or not is_quantized(node.x, "int8", "int16"):
        raise NoKernel(f"type {node.x.dtype}: this runtime has no such kernel")
    if node.x.dtype == "int16":
        return lut_int16.apply(node, x, curve, runtime)
    return look_up(x, float_table(node, curve, runtime))
