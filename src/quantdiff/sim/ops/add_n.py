"""ADD_N: LiteRT ``tflite/kernels/add_n.cc``; tflm: ``tensorflow/lite/micro/kernels/add_n.cc``."""

from __future__ import annotations

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, kernel
from quantdiff.sim.runtime import Runtime


@kernel("ADD_N")
def add_n(node: Node, first: Array, *others: Array, runtime: Runtime) -> Array:
    """Return the inputs added one after another. Shape as each of them."""
    del runtime
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    total = first
    for other in others:
        total = total + other
    return total
