"""SQUARED_DIFFERENCE: LiteRT ``tflite/kernels/squared_difference.cc``, tflm ``squared_difference.cc``.

Both inputs on a common grid, twice as coarse as the coarser one and 7 bits finer; xnnpack takes floats alone.
"""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import computed, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.runtime import Runtime

LEFT_SHIFT = {"int8": 7, "int16": 0}


@kernel("SQUARED_DIFFERENCE")
def squared_difference(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``(a - b)**2``. Shapes broadcast."""
    if plain(node) and node.x.dtype in ("float32", "int32"):
        difference = computed(runtime, np.subtract, a, b)
        return computed(runtime, np.square, difference)
    if not is_quantized(node.x, "int8", *(("int16",) if runtime is Runtime.TFLM else ())):
        raise NoKernel(f"type {node.x.dtype}")
    left = LEFT_SHIFT[node.x.dtype]
    tensors = node.at(0), node.at(1)
    coarse = 2 * max(np.float64(scale_of(tensor)) for tensor in tensors)
    scale = coarse * coarse / (np.float64(scale_of(node.y)) * 4.0**left)
    if scale >= 1 and runtime is not Runtime.TFLM:
        raise NoKernel(f"a multiplier of {scale:.3g}: this runtime stops at 1")
    x, y = (on_grid(v, t, coarse, left) for v, t in zip((a, b), tensors, strict=True))
    steps = requantize((x - y) ** 2, scale, Rounding.GEMMLOWP) + zero_point_of(node.y)
    return steps.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def on_grid(q: Array, tensor: Tensor, coarse: float, left_shift: int) -> Array:
    """The values in units of ``coarse / 2**left_shift``. Shape as ``q``."""
    shifted = centred(q, zero_point_of(tensor)).astype(np.int64) << left_shift
    return requantize(shifted, np.float64(scale_of(tensor)) / coarse, Rounding.GEMMLOWP)
