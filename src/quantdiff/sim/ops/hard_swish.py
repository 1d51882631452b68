"""HARD_SWISH: LiteRT ``tflite/kernels/activations.cc`` (``HardSwishPrepare``), ``internal/reference/hard_swish.h``.

On ARM64 ``builtin`` has vectors of eight that round half up (``internal/optimized/optimized_ops.h``, ``HardSwish``).
xnnpack declines the quantized op. tflm divides the scales in float64 (``micro/kernels/hard_swish_common.cc``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    quantize_multiplier,
    rounding_divide_by_pot,
    rounding_shift_right,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.runtime import Runtime

VECTOR, NEON_VECTOR = 4, 8
INT16 = (-(1 << 15), (1 << 15) - 1)


@kernel("HARD_SWISH", batched=lambda node: node.x.dtype != "float32")
def hard_swish(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x · relu6(x + 3) / 6`` in 16-bit fixed point, floats in floats. Shape as ``x``."""
    if node.x.dtype == "float32":
        return xnnpack.hard_swish(x) if runtime is Runtime.XNNPACK else of_floats(x, runtime)
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


def of_floats(x: Array, runtime: Runtime) -> Array:
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
