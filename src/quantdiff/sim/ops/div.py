"""DIV, FLOOR_DIV, FLOOR_MOD: ``tflite/kernels/{div,floor_div,floor_mod}.cc``, unquantized."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import clamped, plain
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime


@kernel("DIV")
def div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``a / b``; integers are cut off towards zero. Shapes broadcast."""
    del runtime
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    if a.dtype.kind == "f":
        return clamped(node, a / b)
    quotient = np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64))
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


@kernel("FLOOR_DIV")
def floor_div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``floor(a / b)``. Shapes broadcast."""
    del node, runtime
    return np.floor(a / b) if a.dtype.kind == "f" else a // b


@kernel("FLOOR_MOD")
def floor_mod(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return what is left of ``a``, with the sign of ``b``. Shapes broadcast."""
    del node, runtime
    return np.mod(a, b)
