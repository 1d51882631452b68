"""DIV, FLOOR_DIV, FLOOR_MOD: ``tflite/kernels/{div,floor_div,floor_mod}.cc``, unquantized."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import clamped, computed, plain
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime


@kernel("DIV")
def div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``a / b``; integers are cut off towards zero. Shapes broadcast."""
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    if a.dtype.kind == "f":
        return clamped(node, computed(runtime, np.divide, a, b), runtime)
    quotient = np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64))
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


@kernel("FLOOR_DIV")
def floor_div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``floor(a / b)``, of floats by a quotient in float64. Shapes broadcast."""
    del node, runtime
    if a.dtype.kind != "f":
        return a // b
    return np.floor(a.astype(np.float64) / b).astype(np.float32)


@kernel("FLOOR_MOD")
def floor_mod(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return what is left of ``a``, with the sign of ``b``. Shapes broadcast."""
    del node, runtime
    if a.dtype.kind != "f":
        return np.mod(a, b)
    left = np.fmod(a, b)
    return np.where((left != 0) & ((b < 0) != (left < 0)), left + b, left)
