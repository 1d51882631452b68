"""The only home of rounding: how an accumulator becomes a quantized value.

Sources: gemmlowp ``fixedpoint/fixedpoint.h``; LiteRT ``tflite/kernels/internal/{common.cc,common.h,
quantization_util.cc}``; ruy ``ruy/kernel_avx2_fma.cc``, ``ruy/kernel_arm64.cc`` (``sqdmulh``, which cuts off, then
``srshl`` by 1 or more) and ``ruy/apply_multiplier.cc``; XNNPACK ``src/qs8-gemm/MRx8c8-avx2.c.in``, and on ARM64
``src/microparams-init.c`` (``rndnu``). All integers are int64 arrays that hold int32 values.
16-bit activations on 8-bit weights have wider sums, and rules of their own: LiteRT ``tflite/kernels/conv.cc``
(``EvalQuantizedPerChannel16x8``), ``fully_connected.cc`` (``FullyConnectedInt16``),
``internal/reference/integer_ops/{conv,depthwise_conv}.h``; tflm:
``tensorflow/lite/micro/kernels/{conv,depthwise_conv,fully_connected}.cc``.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.graph import Tensor
from quantdiff.quant import Array, round_half_away
from quantdiff.sim.node import Node, NoKernel, scale_of, zero_point_of
from quantdiff.sim.runtime import Runtime

INT32_MIN, BITS = -(2**31), 32
ONE_HALF_Q31 = 1 << 30


class Rounding(Enum):
    """How an accumulator is scaled and rounded; the letters are those of ``docs/numerics.md``."""

    GEMMLOWP = "G"
    """Two roundings: the high multiply half up, the shift half away from zero."""
    RUY = "R"
    """Two roundings, both half up, as ruy and the NEON code."""
    SINGLE = "S"
    """One rounding, half up."""
    NEON = "N"
    """As S; but sums are shifted left within 32 bits, for multipliers of 1/2 or more, and wrap."""
    XNNPACK = "X"
    """A float32 product, rounded half to even."""
    DOUBLE = "D"
    """A float64 product, rounded half away from zero."""


def wrap_int32(x: Array) -> Array:
    """The int64 values that remain when ``x`` is stored in an int32, as C++ wraps."""
    return x.astype(np.int64).astype(np.int32).astype(np.int64)


def quantize_multiplier(scale: ArrayLike) -> tuple[Array, Array]:
    """Q31 mantissa and exponent of each ``scale`` (``quantization_util.cc``, ``QuantizeMultiplier``).

    Shapes: as ``scale``; ``scale == mantissa * 2**(shift - 31)``, and 0 below 2**-31.
    """
    fraction, exponent = np.frexp(np.asarray(scale, np.float64))
    mantissa = round_half_away(fraction * 2.0**31).astype(np.int64)
    shift = exponent.astype(np.int64)
    carry = mantissa == 1 << 31
    mantissa, shift = np.where(carry, mantissa >> 1, mantissa), shift + carry
    tiny = shift < -31  # noqa: PLR2004 (every bit would be shifted out)
    return np.where(tiny, 0, mantissa), np.where(tiny | (mantissa == 0), 0, shift)


def defined_multiplier(scale: ArrayLike) -> tuple[Array, Array]:
    """The same for a kernel that shifts sums left by the exponent.

    Raises:
        NoKernel: by 32 bits or more, for which C says nothing and each loop does something else.
    """
    mantissa, shift = quantize_multiplier(scale)
    if np.any(shift >= BITS):
        raise NoKernel("a multiplier of 2**31 or more, where C leaves the shift undefined")
    return mantissa, shift


def saturating_rounding_doubling_high_mul(a: Array, b: ArrayLike, bits: int = 32) -> Array:
    """``(2ab + 2**(bits-1)) >> bits``, rounded half up; min·min saturates. Shapes broadcast."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    rounded = (product + (1 << (bits - 2))) >> (bits - 1)
    saturated: Array = np.minimum(rounded, (1 << (bits - 1)) - 1)
    return saturated


def rounding_divide_by_pot(x: Array, exponent: ArrayLike) -> Array:
    """``x / 2**exponent`` rounded half away from zero (gemmlowp ``RoundingDivideByPOT``)."""
    shift = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << shift) - 1
    threshold = (mask >> 1) + (x < 0)
    rounded: Array = (x >> shift) + ((x & mask) > threshold)
    return rounded


def rounding_divide_by_any_pot(x: Array, exponent: Array) -> Array:
    """The same beyond 31 bits, of which C says nothing: processors shift an int32 by ``exponent % 32``.

    At an exponent of 32 the mask has all bits set, and an ``x`` of 0 becomes 1. The shapes broadcast.
    """
    mask = wrap_int32((np.int64(1) << (exponent & 63)) - 1)
    rounded: Array = (x >> (exponent & 31)) + ((x & mask) > (mask >> 1) + (x < 0))
    return rounded


def rounding_shift_right(x: Array, exponent: ArrayLike) -> Array:
    """``x / 2**exponent`` rounded half up, as ``vrshlq_s32`` by a negative amount."""
    shift = np.asarray(exponent, np.int64)
    rounded: Array = (x + ((np.int64(1) << shift) >> 1)) >> shift
    return rounded


def multiply_by_quantized_multiplier(acc: Array, mantissa: ArrayLike, shift: ArrayLike, rounding: Rounding) -> Array:
    """``acc * mantissa * 2**(shift - 31)`` in integers (``common.cc``, ``MultiplyByQuantizedMultiplier``).

    Shapes: mantissa, not negative, and shift broadcast against acc.
    """
    shift, mantissa = np.asarray(shift, np.int64), np.asarray(mantissa, np.int64)
    x: Array = np.asarray(acc).astype(np.int64)
    if rounding is Rounding.SINGLE:
        return rounding_shift_right(x * mantissa, 31 - shift)
    if rounding is Rounding.NEON:
        x = wrap_int32(x << np.maximum(shift + 1, 0))
        return rounding_shift_right(x * mantissa, 31 + np.maximum(-shift, 1))
    if np.any(shift > 0):
        x = wrap_int32(x << np.maximum(shift, 0))
    x = x * mantissa  # the steps below work in place: this is where the time goes
    x += ONE_HALF_Q31
    x >>= 31
    right = np.maximum(-shift, 0)
    half = (np.int64(1) << right) >> 1
    if rounding is Rounding.GEMMLOWP:
        x += (x >> 63) * (right > 0)
    x += half
    x >>= right
    return x


def multiply_int64_by_quantized_multiplier(acc: Array, mantissa: ArrayLike, shift: ArrayLike) -> Array:
    """The int64 overload for 16-bit activations: a 15-bit mantissa and one rounding (``common.cc``)."""
    mantissa = np.asarray(mantissa, np.int64)
    reduced = np.minimum((mantissa + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - np.asarray(shift, np.int64)
    return wrap_int32(rounding_shift_right(np.asarray(acc, np.int64) * reduced, total))


def rint(x: Array) -> Array:
    """``x`` rounded half to even, as int64."""
    return np.rint(x).astype(np.int64)


def requantize(acc: Array, scale: ArrayLike, rounding: Rounding) -> Array:
    """Whole numbers ``acc * scale`` by the rule asked for, before zero point and clamp; X and D give floats.

    Shapes: scale broadcasts against acc, so per channel it runs along the last axis.

    Raises:
        NoKernel: the multiplier is one that C does not define.
    """
    if rounding is Rounding.XNNPACK:
        steps = acc.astype(np.float32) * np.asarray(scale, np.float32)
        return np.rint(steps, out=np.asarray(steps))
    if rounding is Rounding.DOUBLE:
        return round_half_away(acc.astype(np.float64) * np.asarray(scale, np.float64))
    return multiply_by_quantized_multiplier(acc, *defined_multiplier(scale), rounding)


def divide_half_away(total: Array, count: ArrayLike) -> Array:
    """``total / count`` for a positive count, half away from zero, as the pooling kernels divide."""
    divisor = np.asarray(count, np.int64)
    magnitude = (np.abs(total) + divisor // 2) // divisor
    signed: Array = np.where(total < 0, -magnitude, magnitude)
    return signed


def stored(steps: Array, zero_point: int, bounds: tuple[int, int], dtype: str) -> Array:
    """``clamp(steps + zero_point)`` in the output's type; ``steps`` is used up. Shape as ``steps``."""
    steps += zero_point
    return np.clip(steps, *bounds, out=steps).astype(dtype)


def product_scale(node: Node, rounding: Rounding, factors: tuple[int, int] = (0, 1)) -> Array:
    """Effective scale of two inputs, per channel when the weights are.

    float32 throughout for XNNPACK (``convolution-nhwc.c``, ``init_requantization_scale_*``), else
    float64 throughout (``kernel_util.cc``, ``PopulateConvolutionQuantizationParams``).
    """
    x, w, y = scale_of(node.at(factors[0])), scale_of(node.at(factors[1])), scale_of(node.y)
    if rounding is Rounding.XNNPACK:
        return x * w / y
    return np.float64(x) * np.asarray(w, np.float64) / np.float64(y)


def convolution_scale(node: Node, runtime: Runtime) -> Array:
    """``product_scale`` for int8, and for uint8 the older way by ``float_product_scale``; XNNPACK has its own."""
    if by_xnnpack(runtime):
        return product_scale(node, Rounding.XNNPACK)
    return float_product_scale(node) if node.x.dtype == "uint8" else product_scale(node, Rounding.DOUBLE)


def by_xnnpack(runtime: Runtime) -> bool:
    """Whether scales and clamps are XNNPACK's, however it rounds."""
    return runtime.family is Runtime.XNNPACK


def float_product_scale(node: Node) -> Array:
    """The same with the product rounded to float32 first (``GetQuantizedConvolutionMultipler``)."""
    product = scale_of(node.at(0)) * scale_of(node.at(1))
    return np.asarray(product, np.float64) / np.float64(scale_of(node.y))


NO_ZERO_POINT = 0
"""What the kernels of convolutions take off and add as zero points: nothing. LiteRT refuses others, TFLM runs them."""
INT16_REACH = 2**15
"""The largest distance of an int16 from 0."""


def has_int64_sum(node: Node, position: int, runtime: Runtime) -> bool:
    """True where the sum has 64 bits: ``quantized_bias_type`` says so, or nothing does; TFLM goes by a bias first."""
    bias = node.inputs[position] if position < len(node.inputs) else None
    if bias is not None and runtime is Runtime.TFLM:
        return bias.dtype != "int32"
    if is_misread(node, bias):
        raise NoKernel("an int32 bias without quantized_bias_type, which LiteRT reads as int64")
    return _bias_type(node) != "int32"


def is_misread(node: Node, bias: Tensor | None) -> bool:
    """True where LiteRT takes a bias of 32 bits for one of 64."""
    return bias is not None and bias.dtype == "int32" and _bias_type(node) == "float32"


def _bias_type(node: Node) -> str:
    return str(node.option("quantized_bias_type", "FLOAT32")).lower()


def symmetric(node: Node) -> bool:
    """True where no zero point stands in the way of the fast kernels."""
    return not any(zero_point_of(tensor) for tensor in (node.x, node.at(1), node.y))


def round_sum(acc: Array, bias: Array | None, scale: Array, rounding: Rounding, int64_sum: bool) -> Array:
    """The sum of products and bias, scaled: one rounding from 64 bits, the rule asked for from 32.

    Shapes: acc (…, n), bias (n,), scale () or (n,).
    """
    total = acc if bias is None else acc + bias
    if not int64_sum:
        return requantize(wrap_int32(total), scale, rounding)
    if rounding is Rounding.DOUBLE:
        return requantize(total, scale, rounding)
    return multiply_int64_by_quantized_multiplier(total, *quantize_multiplier(scale))


def refuse_narrow_bias(bias: Array | None, whose: str) -> None:
    """Kernels whose sums have 64 bits alone take any bias for one of 64."""
    if bias is not None and bias.dtype != np.int64:
        raise NoKernel(f"16-bit values with a bias of 32 bits, which {whose} reads as int64")


def refuse_weights_off_zero(node: Node) -> None:
    """The 16-bit kernels know no zero point of the weights."""
    if zero_point_of(node.at(1)):
        raise NoKernel("16-bit activations on weights whose zero point is not 0")
