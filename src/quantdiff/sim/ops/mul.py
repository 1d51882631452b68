"""MUL: LiteRT ``tflite/kernels/mul.cc``, ``internal/reference/integer_ops/mul.h``.

xnnpack: ``src/qs8-vmul/sse-mul16-ld64.c.in``, on ARM64 ``src/qs8-vmul/neon.c.in`` (RNDNU, which is rule S); tflm:
``tensorflow/lite/micro/kernels/mul_common.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Sums, centred
from quantdiff.sim.compiled import loops
from quantdiff.sim.floats.elementwise import clamped, computed, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel, zero_point_of
from quantdiff.sim.pairs import Multiplied, blocks_of, flattened, width_of
from quantdiff.sim.rounding.fixed_point import Rounding, product_scale, requantize
from quantdiff.sim.rounding.rounded import Rounded
from quantdiff.sim.rounding.rules import requantization
from quantdiff.sim.runtime import Runtime

ROUNDING = {Runtime.XNNPACK: Rounding.XNNPACK, Runtime.XNNPACK_ARM64: Rounding.SINGLE}


@kernel("MUL", shared=True)
def mul(node: Node, a: Array, b: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...] | Rounded:
    """Compute ``y = clamp(z_y + M (a - z_a) (b - z_b))``. Shapes broadcast.

    ``M = s_a s_b / s_y`` in float32 everywhere but in tflm, which takes float64.
    """
    if plain(node):
        return tuple(clamped(node, computed(runtime, np.multiply, a, b), runtime) for runtime in runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if node.x.dtype == node.at(1).dtype == node.y.dtype != "int16":
        return in_8_bits(node, a, b, runtimes)
    product = centred(a, zero_point_of(node.x)).astype(np.int64) * centred(b, zero_point_of(node.at(1)))
    return tuple(rounded(node, product, runtime) for runtime in runtimes)


def rounded(node: Node, product: Array, runtime: Runtime) -> Array:
    """The products as one runtime has them."""
    y = requantize(product, scale_on(node, runtime), rounding_of(runtime)) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def in_8_bits(node: Node, a: Array, b: Array, runtimes: Sequence[Runtime]) -> Rounded:
    """The same in one go over the operands."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    points, size = (zero_point_of(node.x), zero_point_of(node.at(1))), math.prod(shape)
    width, pairs = width_of(size), Multiplied(flattened(a, shape), flattened(b, shape), points)
    rules = [requantization(node, r, rounding_of(r), scale_on(node, r), channels=width) for r in runtimes]
    blocks = blocks_of(pairs, width, loops(size), lambda x, y: centred(x, points[0]) * centred(y, points[1]))
    return Rounded(Sums(size // width, np.zeros(width, np.int32), blocks), tuple(rules), shape)


def rounding_of(runtime: Runtime) -> Rounding:
    """The rule of each runtime."""
    return ROUNDING.get(runtime, Rounding.GEMMLOWP)


def scale_on(node: Node, runtime: Runtime) -> Array:
    """The multiplier of each runtime."""
    return product_scale(node, Rounding.GEMMLOWP if runtime is Runtime.TFLM else Rounding.XNNPACK)
