"""L2_NORMALIZATION: LiteRT ``tflite/kernels/l2norm.cc``, ``internal/reference/{l2normalization.h,integer_ops/
l2normalization.h}``; tflm: ``tensorflow/lite/micro/kernels/l2norm.cc``. xnnpack declines it.
"""  # noqa: D205 (one sentence and its sources)

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.products import in_order
from quantdiff.sim.node import Node, NoKernel, is_quantized, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.inverse_root import inverse_root_multiplier

OUTPUT_BITS, MIDDLE = 7, 128
SMALLEST = np.float32(1e-6)


@kernel("L2_NORMALIZATION")
def l2_normalization(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` over the root of the sum of its squares along the last axis, in units of 1/128. Shape as ``x``."""
    if node.x.dtype == "float32":
        depth = x.shape[-1]
        pairs = ((x[..., k], x[..., k]) for k in range(depth))
        total = in_order(pairs, np.zeros(x.shape[:-1], np.float32), runtime, depth)[..., None]
        return np.asarray(x / np.maximum(np.sqrt(total), SMALLEST), np.float32)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    steps = centred(x, zero_point_of(node.x)).astype(np.int64)
    squares = np.square(steps).sum(axis=-1, keepdims=True)
    mantissa, shift = inverse_root_multiplier(squares)
    if node.x.dtype == "int8":
        y = multiply_by_quantized_multiplier(steps, mantissa, shift + OUTPUT_BITS, Rounding.GEMMLOWP)
    else:
        y = multiply_by_quantized_multiplier(steps * MIDDLE, mantissa, shift, Rounding.GEMMLOWP) + MIDDLE
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)
