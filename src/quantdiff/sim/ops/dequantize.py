"""DEQUANTIZE: LiteRT ``tflite/kernels/dequantize.h``.

reference and tflm: ``internal/reference/dequantize.h``; builtin: ``internal/optimized/optimized_ops.h``
(``ScaleWithNewZeroPoint`` on vectors of eight, then a scalar tail); xnnpack: ``src/qs8-f32-vcvt``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime

VECTOR = 8


@kernel("DEQUANTIZE", batched=False)
def dequantize(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = s_x (x - z_x)`` as float32. Shape as ``x``."""
    if node.x.dtype == "float16":
        return x.astype(np.float32)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    scale, zero_point = scale_of(node.x), zero_point_of(node.x)
    if runtime is Runtime.XNNPACK:
        return (x.astype(np.float32) - np.float32(zero_point)) * scale
    exact = ((x.astype(np.float64) - zero_point) * np.float64(scale)).astype(np.float32)
    if runtime is Runtime.BUILTIN:
        body = x.size // VECTOR * VECTOR
        offset = np.float32(-zero_point * np.float64(scale))
        exact.reshape(-1)[:body] = x.reshape(-1)[:body].astype(np.float32) * scale + offset
    return exact
