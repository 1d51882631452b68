"""DEQUANTIZE: LiteRT ``tflite/kernels/dequantize.h``.

reference and tflm: ``internal/reference/dequantize.h``; builtin: ``internal/optimized/optimized_ops.h``
(``ScaleWithNewZeroPoint`` on vectors of eight, on ARM64 by fused multiply-add, then a scalar tail); xnnpack:
``src/qs8-f32-vcvt``. A scale per channel: ``PerChannelDequantize`` in float32 on every runtime of LiteRT;
XNNPACK unpacks a constant when it is set up (``tflite/delegates/xnnpack/quantization_util.cc``).
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, quant_of, scale_of, zero_point_of
from quantdiff.sim.runtime import Runtime

VECTOR = 8
STORED = ("int8", "uint8", "int16", "int4", "int2")


@kernel("DEQUANTIZE", batched=False)
def dequantize(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = s_x (x - z_x)`` as float32. Shape as ``x``."""
    if node.x.dtype == "float16":
        return x.astype(np.float32)
    if not is_quantized(node.x, *STORED):
        raise NoKernel(f"type {node.x.dtype}")
    if quant_of(node.x).axis is not None:
        return by_channel(node, x, runtime)
    scale, zero_point = scale_of(node.x), zero_point_of(node.x)
    if runtime is Runtime.XNNPACK:
        return (x.astype(np.float32) - np.float32(zero_point)) * scale
    exact = ((x.astype(np.float64) - zero_point) * np.float64(scale)).astype(np.float32)
    if runtime.family is Runtime.BUILTIN:
        body = x.size // VECTOR * VECTOR
        offset = np.float32(-zero_point * np.float64(scale))
        exact.reshape(-1)[:body] = multiply_add(x.reshape(-1)[:body].astype(np.float32), scale, offset, runtime)
    return exact


def by_channel(node: Node, x: Array, runtime: Runtime) -> Array:
    """A scale for each slice along an axis: one float32 product; TFLM takes the first for all. Shape as ``x``."""
    scales = quant_of(node.x)
    if runtime is Runtime.TFLM:
        return ((x.astype(np.float64) - scales.zero_point[0]) * scales.scale[0]).astype(np.float32)
    if node.x.dtype == "int16":
        raise NoKernel("int16 with a scale per channel, which LiteRT refuses")
    scale, zero_point = scales.along(x.ndim)
    return np.asarray((x.astype(np.int64) - zero_point).astype(np.float32) * scale)
