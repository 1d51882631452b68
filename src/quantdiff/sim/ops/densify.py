"""DENSIFY: LiteRT ``tflite/kernels/densify.cc``, ``internal/reference/densify.h``; tflm has no such op."""

from __future__ import annotations

from quantdiff.graph import dense_values
from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, kernel
from quantdiff.sim.runtime import Runtime


@kernel("DENSIFY", batched=False)
def densify(node: Node, stored: Array, *, runtime: Runtime) -> Array:
    """Return the sparse constant with zeros between the values that are stored."""
    del stored
    if runtime is Runtime.TFLM or node.x.dtype not in ("int8", "float16", "float32"):
        raise NoKernel(f"type {node.x.dtype}: this runtime has no such kernel")
    return dense_values(node.x).copy()
