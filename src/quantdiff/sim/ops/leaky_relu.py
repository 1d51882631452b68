"""LEAKY_RELU and PRELU: LiteRT ``tflite/kernels/activations.cc``, ``internal/reference/{leaky_relu,prelu}.h``.

xnnpack: ``src/qs8-vlrelu/avx2.c.in``, multipliers of eight bits; it declines the quantized PRELU. Of floats it goes by
the sign bit in ``src/f32-{vlrelu,vprelu}/{avx,neon}.c.in``, by a comparison with 0 in ``avx512f.c.in``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import flushed
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.processor import has_avx512
from quantdiff.sim.rounding.fixed_point import Rounding, requantize, rint, rounding_shift_right
from quantdiff.sim.runtime import Runtime


@kernel("LEAKY_RELU")
def leaky_relu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` where it is positive, else ``alpha x``, on the output's grid. Shape as ``x``."""
    alpha = np.asarray(node.option("alpha", 0.0), np.float32)
    if node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return bent_by_xnnpack(x, alpha, runtime)
        return np.where(x > 0, x, x * alpha).astype(np.float32)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    steps = centred(x, zero_point_of(node.x)).astype(np.int64)
    if runtime is Runtime.XNNPACK:
        positive = scale_of(node.x) / scale_of(node.y)
        multipliers = [rint(np.float32(256) * scale) for scale in (positive, positive * alpha)]
        y = rounding_shift_right(steps * np.where(steps > 0, *multipliers), 8)
    else:
        identity, slope = slopes(node, alpha, runtime)
        y = np.where(steps >= 0, requantize(steps, identity, Rounding.GEMMLOWP), negative_side(steps, slope))
    return (y + zero_point_of(node.y)).clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def slopes(node: Node, alpha: Array, runtime: Runtime) -> tuple[Array, Array]:
    """Multipliers on both sides of 0: float32 chains in LiteRT, float64 ones in TFLM of October 2026."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    x, y = wide(scale_of(node.x)), wide(scale_of(node.y))
    return np.asarray(x / y), np.asarray(x * wide(alpha) / y)


def bent_by_xnnpack(x: Array, alpha: Array, runtime: Runtime) -> Array:
    """``alpha x`` of negative floats, others untouched, and nothing below the smallest normal float comes out of it.

    The two zeros, and negatives too small to be normal, are negative by their sign, but not less than 0.
    """
    negative = flushed(x) < 0 if has_avx512() and not runtime.on_arm64 else np.signbit(x)
    return np.where(negative, flushed(flushed(x) * flushed(alpha)), x).astype(np.float32)


def negative_side(steps: Array, slope: Array) -> Array:
    """``steps * slope`` by rule G on the magnitude of the slope."""
    scaled = requantize(steps, np.abs(slope), Rounding.GEMMLOWP)
    return np.where(slope < 0, -scaled, scaled)


@kernel("PRELU")
def prelu(node: Node, x: Array, alpha: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` where it is not negative, else ``alpha x``, with an alpha of its own for each channel.

    Shapes: alpha broadcasts against x.
    """
    if node.x.dtype == "float32":
        return (
            bent_by_xnnpack(x, alpha, runtime) if runtime.family is Runtime.XNNPACK else np.where(x >= 0, x, x * alpha)
        )
    if is_quantized(node.x, "int16") and (runtime is Runtime.TFLM or node.at(1).dtype != "int8"):
        raise NoKernel("16-bit values, whose slopes LiteRT takes for 8 bits")
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    s_x, s_a, s_y = (wide(scale_of(tensor)) for tensor in (node.x, node.at(1), node.y))
    steps = centred(x, zero_point_of(node.x)).astype(np.int64)
    product = steps * centred(alpha, zero_point_of(node.at(1)))
    positive, negative = (
        requantize(v, s, Rounding.GEMMLOWP) for v, s in ((steps, s_x / s_y), (product, s_x * s_a / s_y))
    )
    y = np.where(steps >= 0, positive, negative) + zero_point_of(node.y)
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)
