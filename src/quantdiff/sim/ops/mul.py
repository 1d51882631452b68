"""MUL: LiteRT ``tflite/kernels/mul.cc``, ``internal/reference/integer_ops/mul.h``.

xnnpack: ``src/qs8-vmul/sse-mul16-ld64.c.in``, on ARM64 ``src/qs8-vmul/neon.c.in`` (RNDNU, which is rule S); tflm:
``tensorflow/lite/micro/kernels/mul_common.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import clamped, computed, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.rounding.scales import product_scale
from quantdiff.sim.runtime import Runtime

ROUNDING = {Runtime.XNNPACK: Rounding.XNNPACK, Runtime.XNNPACK_ARM64: Rounding.SINGLE}


@kernel("MUL")
def mul(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + M (a - z_a) (b - z_b))``. Shapes broadcast.

    ``M = s_a s_b / s_y`` in float32 everywhere but in tflm, which takes float64.
    """
    if plain(node):
        return clamped(node, computed(runtime, np.multiply, a, b), runtime)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    product = centred(a, zero_point_of(node.x)).astype(np.int64) * centred(b, zero_point_of(node.at(1)))
    rounding = ROUNDING.get(runtime, Rounding.GEMMLOWP)
    scale = product_scale(node, Rounding.GEMMLOWP if runtime is Runtime.TFLM else Rounding.XNNPACK)
    y = requantize(product, scale, rounding) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)
