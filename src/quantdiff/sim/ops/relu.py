"""RELU and its kin, which bend at a few places: RELU6, RELU_N1_TO_1, RELU_0_TO_1, LEAKY_RELU, PRELU, HARD_SWISH.

LiteRT ``tflite/kernels/activations.cc``. xnnpack declines all quantized ones but LEAKY_RELU.
RELU: ``QuantizedReluX``; tflm: ``tensorflow/lite/micro/kernels/activations.cc``.
LEAKY_RELU and PRELU: ``internal/reference/{leaky_relu,prelu}.h``. xnnpack: ``src/qs8-vlrelu/avx2.c.in``, multipliers of
eight bits. Of floats it goes by the sign bit in ``src/f32-{vlrelu,vprelu}/{avx,neon}.c.in``, by a comparison with 0 in
``avx512f.c.in``.
HARD_SWISH: ``HardSwishPrepare``, ``internal/reference/hard_swish.h``. On ARM64 ``builtin`` has vectors of eight that
round half up (``internal/optimized/optimized_ops.h``, ``HardSwish``). tflm divides the scales in float64
(``micro/kernels/hard_swish_common.cc``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, quantize
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.floats.elementwise import computed, flushed, without_minus
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, quant_of, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    quantize_multiplier,
    requantize,
    rint,
    rounding_divide_by_pot,
    rounding_shift_right,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.runtime import Runtime, has_avx512

BOUNDS = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}

CLAMPED_VECTOR = 4
"""Floats that the compiled loop of RELU takes at once on ARM64, at its end."""


@kernel(*BOUNDS, batched=lambda node: node.x.dtype != "float32")
def relu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + (x - z_x) s_x / s_y)`` between the op's bounds. Shape as ``x``."""
    if node.x.dtype == "float32":
        low, high = BOUNDS[node.operator.op]
        y = computed(runtime, lambda v: np.clip(v, np.float32(low), np.float32(high)), x)
        return clamped_on_arm64(y, low, runtime) if runtime.on_arm64 else y
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if runtime is Runtime.TFLM and node.operator.op == "RELU6":
        return x.clip(*bounds(node, quant_of(node.x))).astype(x.dtype)
    steps = requantize(centred(x, zero_point_of(node.x)), ratio(node, runtime), Rounding.GEMMLOWP)
    return (steps + zero_point_of(node.y)).clip(*bounds(node, quant_of(node.y))).astype(node.y.dtype)


def clamped_on_arm64(y: Array, low: float, runtime: Runtime) -> Array:
    """Without -0 where NEON clamps at 0: in XNNPACK all, in LiteRT whole vectors. Shape as ``y``."""
    body = y.size if runtime is Runtime.XNNPACK_ARM64 else y.size // CLAMPED_VECTOR * CLAMPED_VECTOR
    flat = y.reshape(-1)
    return np.concatenate([without_minus(flat[:body]), flat[body:]]).reshape(y.shape) if low == 0 else y


def ratio(node: Node, runtime: Runtime) -> Array:
    """``s_x / s_y``: a float32 division in LiteRT, a float64 one in TFLM of October 2026."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    return np.asarray(wide(scale_of(node.x)) / wide(scale_of(node.y)))


def bounds(node: Node, quant: QuantParams) -> tuple[int, int]:
    """The op's bounds as integers of ``quant``, inside the output's dtype."""
    low, high = INTEGER_RANGE[node.y.dtype]
    first, last = BOUNDS[node.operator.op]
    steps = [int(quantize(np.asarray(v, np.float32), quant, node.y.dtype)) for v in (first, min(last, 1e30))]
    return max(low, steps[0]), high if np.isinf(last) else min(high, steps[1])


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


VECTOR, NEON_VECTOR = 4, 8
INT16 = (-(1 << 15), (1 << 15) - 1)


@kernel("HARD_SWISH", batched=lambda node: node.x.dtype != "float32")
def hard_swish(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x · relu6(x + 3) / 6`` in 16-bit fixed point, floats in floats. Shape as ``x``."""
    if node.x.dtype == "float32":
        return xnnpack.hard_swish(x) if runtime is Runtime.XNNPACK else hard_swish_of_floats(x, runtime)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    wider = np.float64 if runtime is Runtime.TFLM else np.float32
    fine: Array = wider(scale_of(node.x) * np.float32(1 / 128))  # type: ignore[assignment]
    out_mantissa, out_shift = to_16_bits(fine / scale_of(node.y))
    mantissa, shift = to_16_bits(fine / (np.float32(3) / np.float32(32768)))
    wide = centred(x, zero_point_of(node.x)).astype(np.int64) << 7
    on_output = saturating_rounding_doubling_high_mul(wide, out_mantissa, bits=16)
    y = gated(wide, on_output, (mantissa, shift, out_shift), rounding_divide_by_pot)
    if runtime is Runtime.BUILTIN_ARM64:
        vectors = gated(wide, on_output, (mantissa, shift, out_shift), rounding_shift_right)
        y = in_vectors(vectors, y, math.prod(node.x.shape))
    y += zero_point_of(node.y)
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def gated(x: Array, on_output: Array, scale: tuple[int, int, int], divide: Callable[..., Array]) -> Array:
    """The gate at ``x`` times its value; ``divide`` rounds shifts, and half up goes with products cut off downwards.

    Shape as ``x``.
    """
    mantissa, shift, out_shift = scale
    gate = (saturating_scale(x, mantissa, shift, divide) + (1 << 15)) >> 1
    whole = gate * on_output
    product = whole >> 15
    if divide is rounding_divide_by_pot:  # towards zero
        product += (whole % (1 << 15) != 0) & (whole < 0)
    return divide(np.minimum(product, INT16[1]), -out_shift)


def in_vectors(vectors: Array, rest: Array, size: int) -> Array:
    """Of every ``size`` elements whole vectors of eight, and what is left over. Shape as both."""
    y, body = rest.reshape(-1, size), size // NEON_VECTOR * NEON_VECTOR
    y[:, :body] = vectors.reshape(-1, size)[:, :body]
    return y.reshape(rest.shape)


def hard_swish_of_floats(x: Array, runtime: Runtime) -> Array:
    """A product divided by 6; on ``builtin`` times 1/6, which vectors do first, the others last. Shape as ``x``."""
    gate, sixth = np.clip(x + np.float32(3), np.float32(0), np.float32(6)), np.float32(1 / 6)
    if runtime is not Runtime.BUILTIN:
        return np.asarray(x * gate / np.float32(6))
    y, first, body = x * gate * sixth, x * sixth * gate, x.size // VECTOR * VECTOR
    y.reshape(-1)[:body] = first.reshape(-1)[:body]
    return y


def to_16_bits(scale: Array) -> tuple[int, int]:
    """Mantissa of 15 bits and exponent (``DownScaleInt32ToInt16Multiplier``)."""
    mantissa, shift = quantize_multiplier(scale)
    return min(int(mantissa + (1 << 15)) >> 16, INT16[1]), int(shift)


def saturating_scale(x: Array, mantissa: int, shift: int, divide: Callable[..., Array]) -> Array:
    """``x · mantissa · 2**(shift - 15)`` as int16, saturating where it shifts to the left."""
    if shift > 0:
        x = np.clip(x << (shift - 1), *INT16)
    y = saturating_rounding_doubling_high_mul(x, mantissa, bits=16)
    return np.clip(y << 1, *INT16) if shift > 0 else divide(y, -shift)
