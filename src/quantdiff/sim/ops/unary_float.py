"""Float functions of one value that are rounded once: ``tflite/kernels/{elementwise,neg,floor,ceil,round}.cc``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.enclosures import UNIT, Enclosure, enclosure, of_value
from quantdiff.sim.floats import libm, xnnpack_curves
from quantdiff.sim.floats.elementwise import computed, flushed, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, requantize, stored
from quantdiff.sim.runtime import Runtime

ROUNDED_ONCE: dict[str, Callable[[Array], Any]] = {
    "ABS": np.abs,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "NEG": np.negative,
    "ROUND": np.rint,
    "SIGN": np.sign,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
}
REFINED = 7 + 1.5 * 2.0**-22 / UNIT
"""Roundings that a refined estimate is worth: its own, and what is left of the estimate's error."""
TRIGONOMETRIC = {"COS": (xnnpack_curves.cosine, "cosf"), "SIN": (xnnpack_curves.sine, "sinf")}


@kernel(*ROUNDED_ONCE)
def rounded_once(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return a function that IEEE 754 defines to the last bit. Shape as ``x``."""
    if is_quantized(node.x, "int8", "int16") and node.operator.op in QUANTIZED:
        return QUANTIZED[node.operator.op](node, x, runtime)
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    if runtime is Runtime.XNNPACK and node.operator.op == "SQRT":
        raise NoKernel("XNNPACK refines an estimate and may miss the last bit")
    if node.operator.op == "ABS" or (node.operator.op == "NEG" and runtime.on_arm64):  # masks, in XNNPACK too
        return np.asarray(ROUNDED_ONCE[node.operator.op](x), x.dtype)
    y = np.asarray(computed(runtime, ROUNDED_ONCE[node.operator.op], x), x.dtype)
    if node.operator.op == "NEG" and runtime is Runtime.XNNPACK:
        return y + np.float32(0)  # it subtracts from 0
    if node.operator.op == "ROUND" and runtime is not Runtime.XNNPACK:
        return np.where((y == 0) & (x != 0), np.float32(0), y)  # -1 + 1, not -0
    return y


@enclosure("SQRT")
@np.errstate(all="ignore")
def refined_root(node: Node, x: Array, *, runtime: Runtime) -> Enclosure:
    """XNNPACK's root: an estimate of ``1 / sqrt(x)``, refined once and multiplied (``src/f32-vsqrt/simd-rsqrt.c.in``).

    The estimate is good to 2**-11; its error is squared, and seven roundings follow.
    """
    if runtime is not Runtime.XNNPACK or not plain(node):
        raise NoKernel(f"type {node.x.dtype}")
    return of_value(np.sqrt(flushed(x).astype(np.float64)), REFINED)


@kernel(*TRIGONOMETRIC)
def trigonometric(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return the sine or cosine: XNNPACK's own, elsewhere the C library's. Shape as ``x``."""
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    in_vectors, alone = TRIGONOMETRIC[node.operator.op]
    return in_vectors(x, runtime) if runtime.family is Runtime.XNNPACK else libm.apply(alone, x)


def quantized_negative(node: Node, x: Array, runtime: Runtime) -> Array:
    """The stored integer with the other sign, whatever the grids say; the lowest stays. Shape as ``x``."""
    if runtime is Runtime.TFLM:
        raise NoKernel(f"type {node.x.dtype}, quantized")
    return np.asarray(np.negative(x), x.dtype)


def quantized_root(node: Node, x: Array, runtime: Runtime) -> Array:
    """The root in float32 by the output's scale, cut off; the runtime stops at a negative value. Shape as ``x``."""
    if runtime is Runtime.TFLM:
        raise NoKernel(f"type {node.x.dtype}, quantized")
    steps = centred(x, zero_point_of(node.x))
    if np.any(steps < 0):
        raise NoKernel("the root of a negative value, at which the runtime stops")
    whole = np.sqrt(scale_of(node.x) * steps.astype(np.float32)) / scale_of(node.y)
    return stored(whole.astype(np.int64), zero_point_of(node.y), INTEGER_RANGE[node.y.dtype], node.y.dtype)


def quantized_abs(node: Node, x: Array, runtime: Runtime) -> Array:
    """Distance from the zero point on the output's grid (``AbsEvalQuantized``). Shape as ``x``."""
    steps = np.abs(centred(x, zero_point_of(node.x)).astype(np.int64))
    if scale_of(node.x) != scale_of(node.y):
        wide = np.float64 if runtime is Runtime.TFLM else np.float32
        steps = requantize(steps, wide(scale_of(node.x)) / wide(scale_of(node.y)), Rounding.GEMMLOWP)
    return stored(steps, zero_point_of(node.y), INTEGER_RANGE[node.y.dtype], node.y.dtype)


QUANTIZED = {"ABS": quantized_abs, "NEG": quantized_negative, "SQRT": quantized_root}
"""What LiteRT computes of 8 and 16 bits."""
