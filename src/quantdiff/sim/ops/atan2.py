"""ATAN2: LiteRT ``tflite/kernels/atan2.cc``, the C library's ``atan2f``; tflm has no such op."""

from __future__ import annotations

from quantdiff.quant import Array
from quantdiff.sim.floats import libm
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, kernel
from quantdiff.sim.runtime import Runtime


@kernel("ATAN2")
def atan2(node: Node, y: Array, x: Array, *, runtime: Runtime) -> Array:
    """Return the angle of the point (x, y). Shapes agree."""
    if runtime is Runtime.TFLM or not plain(node) or node.x.dtype != "float32":
        raise NoKernel(f"type {node.x.dtype}")
    return libm.apply_pair("atan2f", y, x)
