"""Elementary functions: roots, powers, exponentials, angles, spectra; of floats, and of integers by way of them.

LiteRT ``tflite/kernels/{elementwise,neg,floor,ceil,round,exp,pow,atan2,rfft2d,complex_support}.cc``,
``internal/optimized/optimized_ops.h`` (``BroadcastPow4D``). Float functions of one value are rounded once.
RSQRT: ``elementwise.cc`` (``RsqrtEvalQuantizedInt8``), in tflm alike; both stop at a negative value. LOG and EXP of
integers go by tables (``LogLUTPrepare``). tflm has the latter of floats alone, and neither ATAN2, RFFT2D nor complex
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.enclosures import UNIT, Enclosure, around, enclosure, of_value
from quantdiff.sim.floats import libm, xnnpack
from quantdiff.sim.floats.elementwise import computed, flushed, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, sized, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    stored,
)
from quantdiff.sim.rounding.gemmlowp import inverse_root_multiplier
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import int16_table
from quantdiff.sim.tables.table import every_value, float_table, look_up

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


TRIGONOMETRIC = {"COS": (xnnpack.cosine, "cosf"), "SIN": (xnnpack.sine, "sinf")}


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
        int16_table.by_points(node, x, lambda v: inverse_root(v, node), runtime)
        if wide
        else look_up(x, table_of_roots(node, runtime))
    )


def inverse_root(x: Array, node: Node) -> Array:
    """In float32, and the top of the output's range where there is no root. Shape as ``x``."""
    top = np.float32(INTEGER_RANGE["int16"][1]) * scale_of(node.y)
    return np.where(x <= 0, top, np.float32(1) / np.sqrt(np.where(x <= 0, np.float32(1), x)))


def table_of_roots(node: Node, runtime: Runtime) -> Array:
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


@kernel("EXP")
def exp(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``exp(x)``. Shape as ``x``."""
    curve = partial(libm.apply, "expf")
    if plain(node) and node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return xnnpack.exp(x, runtime)
        return curve(x)
    if runtime is Runtime.TFLM or not is_quantized(node.x, "int8", "int16"):
        raise NoKernel(f"type {node.x.dtype}: this runtime has no such kernel")
    if node.x.dtype == "int16":
        return int16_table.by_points(node, x, curve, runtime)
    return look_up(x, float_table(node, curve, runtime))


@kernel("LOG")
def log(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``log(x)``; quantized, the lowest output where x is not positive. Shape as ``x``."""
    if plain(node) and node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return xnnpack.log(x, runtime)
        return libm.apply("logf", x)
    if runtime is Runtime.TFLM or not is_quantized(node.x, "int8", "int16"):
        raise NoKernel(f"type {node.x.dtype}: this runtime has no such kernel")

    def floored(real: Array) -> Array:
        lowest = np.float32(INTEGER_RANGE[node.y.dtype][0] - zero_point_of(node.y)) * scale_of(node.y)
        return np.where(real > 0, libm.apply("logf", np.where(real > 0, real, 1)), lowest)

    if node.x.dtype == "int16":
        return int16_table.by_points(node, x, floored, runtime)
    return look_up(x, float_table(node, floored, runtime))


WHOLE = 1e-5


@kernel("POW", batched=False)
def power(node: Node, x: Array, exponent: Array, *, runtime: Runtime) -> Array:
    """Return ``x ** exponent``, a single whole exponent by squares. Shapes broadcast."""
    del runtime
    if not plain(node) or node.x.dtype not in ("float32", "int32"):
        raise NoKernel(f"type {node.x.dtype}")
    times = round(float(exponent.reshape(-1)[0])) if exponent.size == 1 != x.size else 0
    if times >= 1 and abs(float(exponent.reshape(-1)[0]) - times) < WHOLE:
        return by_squares(x, times)
    if node.x.dtype == "int32":
        raise NoKernel("integers to several powers")
    return libm.apply_pair("powf", *np.broadcast_arrays(x, exponent))


def by_squares(x: Array, times: int) -> Array:
    """``x`` times itself as ``IntegerExponentPow`` does. Shape as ``x``."""
    if times == 1:
        return x.copy()
    if times % 2:
        return by_squares(x, times - 1) * x
    root = by_squares(x, times // 2)
    return root * root


@kernel("ATAN2")
def atan2(node: Node, y: Array, x: Array, *, runtime: Runtime) -> Array:
    """Return the angle of the point (x, y). Shapes agree."""
    if runtime is Runtime.TFLM or not plain(node) or node.x.dtype != "float32":
        raise NoKernel(f"type {node.x.dtype}")
    return libm.apply_pair("atan2f", y, x)


BUTTERFLY = 16 * 2.0**-53
"""More than the relative error of a step of the transform in float64, twiddle factors included."""
STEPS_BESIDE = 4
"""Steps beside those of the transform, which make one of real values of one of half the length."""


@enclosure("RFFT2D")
def transformed(node: Node, x: Array, length: Array, *, runtime: Runtime) -> Enclosure:
    """The transform of the last two axes, real and imaginary parts side by side; fft2d's order of sums is not followed.

    Higham, Accuracy and Stability of Numerical Algorithms, theorem 24.2, for both transforms, theirs and NumPy's.
    Shapes: x (…, h, w), length (2,) -> (…, height, 2 * (width // 2 + 1)).
    """
    if node.x.dtype != "float32" or runtime is Runtime.TFLM:
        raise NoKernel(f"type {node.x.dtype}")
    height, width = sized(length.reshape(-1), x.size)
    y = np.fft.rfft2(x.astype(np.float64), (height, width))
    taken = x[..., :height, :width].astype(np.float64)
    norm = np.sqrt(height * width * np.square(taken).sum(axis=(-2, -1), keepdims=True))
    steps = math.log2(max(1, height * width)) + STEPS_BESIDE
    real = np.stack([y.real, y.imag], axis=-1).reshape(*y.shape[:-1], -1)
    largest = np.abs(real).max(axis=(-2, -1), keepdims=True, initial=0)
    return around(real, np.broadcast_to(2 * BUTTERFLY * steps * norm, real.shape), np.broadcast_to(largest, real.shape))


@kernel("REAL", "IMAG", "COMPLEX_ABS")
def part(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return one part of a complex number, or its magnitude by the C library's ``hypotf``. Shape as ``x``."""
    if x.dtype != np.complex64 or runtime is Runtime.TFLM:
        raise NoKernel(f"type {node.x.dtype}")
    if node.operator.op == "COMPLEX_ABS":
        return libm.apply_pair("hypotf", x.real, x.imag)
    return np.ascontiguousarray(x.real if node.operator.op == "REAL" else x.imag)
