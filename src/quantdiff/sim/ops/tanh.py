"""TANH: LiteRT ``tflite/kernels/activations.cc`` (``TanhPrepare``), a table for 8-bit types.

xnnpack: ``src/reference/unary-elementwise.cc`` (``TanHOp``) through ``x8-lut``; tflm:
``internal/reference/integer_ops/tanh.h`` in fixed point.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import eigen, glibc_arm64, xnnpack
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel
from quantdiff.sim.rounding import gemmlowp
from quantdiff.sim.rounding.fixed_point import rounding_divide_by_pot
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import int16_table
from quantdiff.sim.tables.table import fixed_point_table, float_table, look_up

FLOATS = {Runtime.BUILTIN: eigen.tanh, Runtime.XNNPACK: xnnpack.tanh}
"""Where floats have curves of their own; the others ask the C library."""


@kernel("TANH")
def tanh(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute the hyperbolic tangent on the output's grid. Shape as ``x``."""
    if is_quantized(node.x, "int16") and node.y.dtype == "int16":
        return from_16_bits(node, x, runtime)
    if node.x.dtype == "float32":
        curve = FLOATS.get(runtime.family)
        return glibc_arm64.apply("tanhf", x, runtime) if curve is None else curve(x, runtime)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    if runtime is Runtime.TFLM:
        return look_up(x, fixed_point_table(node, from_q4))
    return look_up(x, float_table(node, lambda real: glibc_arm64.apply("tanhf", real, runtime), runtime))


def from_q4(a: Array) -> Array:
    """TFLM's: Q4 in, 1/128 steps out."""
    return rounding_divide_by_pot(gemmlowp.tanh(a, 4), 31 - 7)


def from_16_bits(node: Node, x: Array, runtime: Runtime) -> Array:
    """int16: the table, but gemmlowp's function where ``builtin`` meets a power of two."""
    multiplier, shift = int16_table.how_scaled(node, (0, 1))
    if multiplier == 0 and runtime is Runtime.BUILTIN:
        return gemmlowp.tanh(gemmlowp.rescale(x.astype(np.int64), shift, 16), 3, 16).astype(np.int16)
    return int16_table.tanh(x, multiplier, shift).astype(np.int16)
