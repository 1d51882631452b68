"""QUANTIZE and DEQUANTIZE: LiteRT ``tflite/kernels/quantize.cc``, ``tflite/kernels/dequantize.h``.

QUANTIZE: reference and tflm: ``internal/reference/{quantize,requantize}.h``; builtin: ``internal/optimized/
optimized_ops.h`` (``AffineQuantize``, ``Requantize``: vectors, then a scalar tail); xnnpack:
``src/f32-qs8-vcvt/avx2.c.in``, ``src/qs8-vcvt/avx2.c.in``. A scale per channel: ``internal/reference/quantize.h``
(``PerChannelQuantize``) on every runtime of LiteRT.
DEQUANTIZE: reference and tflm: ``internal/reference/dequantize.h``; builtin: ``internal/optimized/optimized_ops.h``
(``ScaleWithNewZeroPoint`` on vectors of eight, on ARM64 by fused multiply-add, then a scalar tail); xnnpack:
``src/qs8-f32-vcvt``. A scale per channel: ``PerChannelDequantize`` in float32 on every runtime of LiteRT;
XNNPACK unpacks a constant when it is set up (``tflite/delegates/xnnpack/quantization_util.cc``).
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, quant_of, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, requantize, rint, rounding_shift_right
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.table import every_value, look_up

FLOAT_VECTOR, INTEGER_VECTOR = 8, 16
"""Elements that ``builtin`` rounds together; what is left over rounds otherwise."""
WIDE = 2.0**31
"""Beyond this C++ converts a float to no particular integer; the simulator saturates."""
MANY = 2**12
"""Elements from which on a table of the 256 values is less work."""


@kernel("QUANTIZE", batched=False)
def quantize(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + x / s_y)`` for a float x, ``z_y + (x - z_x) s_x / s_y`` for integers.

    Shape as ``x``.
    """
    if quant_of(node.y).axis is not None or (node.x.quant is not None and node.x.quant.axis is not None):
        return by_channel(node, x)
    if x.dtype.itemsize == 1 and x.size > MANY and runtime is not Runtime.BUILTIN:  # whose last elements differ
        every = every_value(x.dtype.name).astype(x.dtype)
        return look_up(x, one_by_one(node, every, runtime))
    return one_by_one(node, x, runtime)


def one_by_one(node: Node, x: Array, runtime: Runtime) -> Array:
    """Every element by itself."""
    if node.x.dtype == "float32":
        steps = from_float(x.reshape(-1), scale_of(node.y), runtime)
    elif is_quantized(node.x, "int8", "uint8", "int16", "int32"):
        steps = from_integer(node, centred(x, zero_point_of(node.x)).reshape(-1), runtime)
    else:
        raise NoKernel(f"types {node.x.dtype} -> {node.y.dtype}")
    y = steps + zero_point_of(node.y)
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype).reshape(x.shape)


def by_channel(node: Node, x: Array) -> Array:
    """A scale for each slice along an axis, as ``reference`` rounds (``PerChannelQuantize``). Shape as ``x``.

    TFLM refuses it, and LiteRT reads the scale 0 where an integer input has several.
    """
    if node.x.dtype != "float32":
        raise NoKernel("integers with a scale per channel, of which LiteRT reads the scale 0")
    scale, zero_point = quant_of(node.y).along(x.ndim)
    y = whole(round_half_away(x / scale)) + zero_point
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def from_float(x: Array, scale: Array, runtime: Runtime) -> Array:
    """Steps of a flat float array."""
    if runtime is Runtime.XNNPACK:
        return whole(np.rint(x * (np.float32(1) / scale)))
    if runtime is not Runtime.BUILTIN:
        return whole(round_half_away(x / scale))
    body = x.size // FLOAT_VECTOR * FLOAT_VECTOR
    inverse = np.float32(1 / np.float64(scale))
    first = whole(np.rint(x[:body] * inverse))
    return np.concatenate([first, whole(round_half_away(x[body:].astype(np.float64) / np.float64(scale)))])


def whole(x: Array) -> Array:
    """Rounded floats as int64, saturated far outside every 16-bit range."""
    return np.clip(x, -WIDE, WIDE).astype(np.int64)


def from_integer(node: Node, x: Array, runtime: Runtime) -> Array:
    """Steps of a flat, centred integer array."""
    if runtime is Runtime.XNNPACK:
        multiplier = rint(np.float32(256) * (scale_of(node.x) / scale_of(node.y)))
        return rounding_shift_right(x.astype(np.int64) * multiplier, 8)
    scale = np.float64(scale_of(node.x)) / np.float64(scale_of(node.y))
    if runtime is not Runtime.BUILTIN or {"int16", "int32"} & {node.x.dtype, node.y.dtype}:
        return requantize(x, scale, Rounding.GEMMLOWP)
    body = x.size // INTEGER_VECTOR * INTEGER_VECTOR
    first = requantize(x[:body], scale, Rounding.RUY)
    return np.concatenate([first, requantize(x[body:], scale, Rounding.GEMMLOWP)])


WIDENED = 8
STORED = ("int8", "uint8", "int16", "int4", "int2")


@kernel("DEQUANTIZE", batched=False)
def dequantize(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = s_x (x - z_x)`` as float32. Shape as ``x``."""
    if node.x.dtype == "float16":
        return x.astype(np.float32)
    if not is_quantized(node.x, *STORED):
        raise NoKernel(f"type {node.x.dtype}")
    if quant_of(node.x).axis is not None:
        return real_by_channel(node, x, runtime)
    scale, zero_point = scale_of(node.x), zero_point_of(node.x)
    if runtime is Runtime.XNNPACK:
        return (x.astype(np.float32) - np.float32(zero_point)) * scale
    exact = ((x.astype(np.float64) - zero_point) * np.float64(scale)).astype(np.float32)
    if runtime.family is Runtime.BUILTIN:
        body = x.size // WIDENED * WIDENED
        offset = np.float32(-zero_point * np.float64(scale))
        exact.reshape(-1)[:body] = multiply_add(x.reshape(-1)[:body].astype(np.float32), scale, offset, runtime)
    return exact


def real_by_channel(node: Node, x: Array, runtime: Runtime) -> Array:
    """A scale for each slice along an axis: one float32 product; TFLM takes the first for all. Shape as ``x``."""
    scales = quant_of(node.x)
    if runtime is Runtime.TFLM:
        return ((x.astype(np.float64) - scales.zero_point[0]) * scales.scale[0]).astype(np.float32)
    if node.x.dtype == "int16":
        raise NoKernel("int16 with a scale per channel, which LiteRT refuses")
    scale, zero_point = scales.along(x.ndim)
    return np.asarray((x.astype(np.int64) - zero_point).astype(np.float32) * scale)
