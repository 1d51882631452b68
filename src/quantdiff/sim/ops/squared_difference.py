"""SQUARED_DIFFERENCE: LiteRT ``tflite/kernels/squared_difference.cc``; xnnpack declines the quantized one."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.fixed_point import Rounding, requantize
from quantdiff.sim.floats import plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime

LEFT_SHIFT = 7


@kernel("SQUARED_DIFFERENCE")
def squared_difference(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``(a - b)²``; quantized operands first go to twice the larger scale. Shapes broadcast."""
    del runtime
    if plain(node):
        return np.asarray((a - b) * (a - b))
    if not is_quantized(node.x, "int8"):
        raise NoKernel(f"type {node.x.dtype}")
    s_a, s_b = scale_of(node.x), scale_of(node.at(1))
    twice = np.float64(np.float32(2) * max(s_a, s_b))
    left, right = (
        requantize(centred(v, zero_point_of(t)).astype(np.int64) << LEFT_SHIFT, s / twice, Rounding.GEMMLOWP)
        for v, t, s in ((a, node.x, s_a), (b, node.at(1), s_b))
    )
    scale = twice * twice / np.float64(np.float32(1 << (2 * LEFT_SHIFT)) * scale_of(node.y))
    y = requantize((left - right) ** 2, scale, Rounding.GEMMLOWP) + zero_point_of(node.y)
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)
