"""RSQRT: LiteRT ``tflite/kernels/elementwise.cc`` (``RsqrtEvalQuantizedInt8``), tflm ``elementwise.cc`` alike.

Both runtimes stop at a negative value.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.enclosures import Enclosure, enclosure, of_value
from quantdiff.sim.floats.elementwise import computed, flushed, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.ops.unary_float import REFINED
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
)
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import lut_int16
from quantdiff.sim.tables.inverse_root import inverse_root_multiplier
from quantdiff.sim.tables.table import every_value, look_up

EXTRA_BITS = 20
"""Bits that the root of an integer keeps behind the point."""


@enclosure("RSQRT")
@np.errstate(all="ignore")
def refined_inverse_root(node: Node, x: Array, *, runtime: Runtime) -> Enclosure:
    """XNNPACK's estimate, refined once (``src/f32-vrsqrt/simd-rsqrt.c.in``): as for SQRT."""
    if runtime is not Runtime.XNNPACK or not plain(node):
        raise NoKernel(f"type {node.x.dtype}")
    return of_value(1 / np.sqrt(flushed(x).astype(np.float64)), REFINED)


@kernel("RSQRT")
def rsqrt(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``1 / sqrt(x)``, the largest value at 0. Shape as ``x``."""
    if plain(node) and node.x.dtype == "float32":
        if runtime is Runtime.XNNPACK:
            raise NoKernel("XNNPACK refines an estimate and may miss the last bit")
        return computed(runtime, lambda v: np.float32(1) / np.sqrt(v), x)
    wide = is_quantized(node.x, "int16") and runtime is not Runtime.TFLM
    if not (wide or is_quantized(node.x, "int8")):
        raise NoKernel(f"type {node.x.dtype}")
    if np.any(x < zero_point_of(node.x)):
        raise NoKernel("the root of a negative value, at which the runtime stops")
    return (
        lut_int16.apply(node, x, lambda v: inverse_root(v, node), runtime) if wide else look_up(x, table(node, runtime))
    )


def inverse_root(x: Array, node: Node) -> Array:
    """In float32, and the top of the output's range where there is no root. Shape as ``x``."""
    top = np.float32(INTEGER_RANGE["int16"][1]) * scale_of(node.y)
    return np.where(x <= 0, top, np.float32(1) / np.sqrt(np.where(x <= 0, np.float32(1), x)))


def table(node: Node, runtime: Runtime) -> Array:
    """The output at every 8-bit input; below the zero point it means nothing. Shape: (256,).

    The root of the scale is taken in float32 by LiteRT, in float64 by TFLM of October 2026.
    """
    low, high = INTEGER_RANGE[node.y.dtype]
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    scale = 1.0 / np.float64(np.sqrt(wide(scale_of(node.x))) * wide(scale_of(node.y)))
    mantissa, shift = quantize_multiplier(scale)
    steps = every_value(node.x.dtype) - zero_point_of(node.x)
    y = multiply_by_quantized_multiplier(
        roots_of_integers(np.maximum(steps, 1)), mantissa, shift - EXTRA_BITS, Rounding.GEMMLOWP
    )
    y = np.where(steps == 0, high, y + zero_point_of(node.y))
    return y.clip(low, high).astype(node.y.dtype)


def roots_of_integers(values: Array) -> Array:
    """``1 / sqrt(value)`` in units of 2**-20, for 1 and above. Shape as ``values``."""
    mantissa, shift = inverse_root_multiplier(values)
    one = np.ones(values.shape, np.int64)
    return multiply_by_quantized_multiplier(one, mantissa, shift + EXTRA_BITS, Rounding.GEMMLOWP)
