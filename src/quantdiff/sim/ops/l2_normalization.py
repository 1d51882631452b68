"""L2_NORMALIZATION: LiteRT ``tflite/kernels/l2norm.cc``, ``internal/reference/{l2normalization.h,integer_ops/
l2normalization.h}``; tflm: ``tensorflow/lite/micro/kernels/l2norm.cc``. xnnpack declines it.
"""  # noqa: D205 (one sentence and its sources)

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.products import in_order
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.inverse_root import inverse_root_multiplier

OUTPUT_BITS, MIDDLE = 7, 128
SMALLEST = np.float32(1e-6)


@kernel("L2_NORMALIZATION")
def l2_normalization(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` over the root of the sum of its squares along the last axis, in units of 1/128. Shape as ``x``."""
    if node.x.dtype == "float32":
        total = sum_of_squares(x, runtime)[..., None]
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


def sum_of_squares(x: Array, runtime: Runtime) -> Array:
    """Along the last axis, one after another, as a dense layer sums on ARM64. Shape: the other axes."""
    if not runtime.on_arm64:
        return np.asarray(np.add.accumulate(x * x, axis=-1, dtype=np.float32)[..., -1])
    squares = ((x[..., k], x[..., k]) for k in range(x.shape[-1]))
    return in_order(squares, np.zeros(x.shape[:-1], np.float32), runtime, x.shape[-1])
