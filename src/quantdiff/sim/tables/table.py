"""Functions of one 8-bit value as tables of 256 entries; TFLM's curves in fixed point on Q4.27."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, loops, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier, rint
from quantdiff.sim.runtime import Runtime

Function = Callable[[Array], Array]
OUTSIDE_INT32 = np.float32(2**31)


def every_value(dtype: str) -> Array:
    """All values of an 8-bit type, in ascending order, as int64."""
    low, high = INTEGER_RANGE[dtype]
    return np.arange(low, high + 1, dtype=np.int64)


def look_up(x: Array, table: Array) -> Array:
    """``table`` at each value of ``x``; the table starts at the lowest value of x's type. Shape as ``x``."""
    low, _ = INTEGER_RANGE[x.dtype.name]
    compiled = loops(x.size)
    if compiled is None:
        return table[x.astype(np.int64) - low]
    y, by_byte = np.empty(x.shape, table.dtype), np.concatenate([table[-low:], table[:-low]])
    compiled.look_up(np.ascontiguousarray(x).reshape(-1).view(np.uint8), by_byte, y.reshape(-1))
    return y


def float_table(node: Node, function: Function, runtime: Runtime) -> Array:
    """A float function from the input's integers to the output's, in float32.

    LiteRT ``internal/common.h`` (``LUTPopulateInt8``): half away, then the zero point. XNNPACK
    ``src/reference/unary-elementwise.cc`` and ``reference-utils.h``: the zero point, then half to even.
    """
    return _float_table(node.x, node.y, function, runtime)


@lru_cache(maxsize=512)
def _float_table(x: Tensor, y: Tensor, function: Function, runtime: Runtime) -> Array:
    """The same; kept, since samples come in parts."""
    real = scale_of(x) * (every_value(x.dtype) - zero_point_of(x)).astype(np.float32)
    inverse = np.float32(1) / scale_of(y)
    with np.errstate(over="ignore"):
        values = function(real).astype(np.float32)
        steps = values * inverse
    zero_point = np.float32(zero_point_of(y))
    if runtime.family is Runtime.XNNPACK:
        q = rint(multiply_add(values, inverse, zero_point, runtime))
    else:
        q = integers_of(round_half_away(steps) + zero_point, y.dtype, runtime)
    return q.clip(*INTEGER_RANGE[y.dtype]).astype(y.dtype)


def integers_of(q: Array, dtype: str, runtime: Runtime) -> Array:
    """Whole floats as integers: what no int32 can hold is low in TFLM and in uint8, and saturates in LiteRT's int8.

    C++ leaves that case open; so the processor and the compilers of these wheels decide: on ARM64 all saturates.
    """
    if (dtype == "int8" and runtime is not Runtime.TFLM) or runtime.on_arm64:
        return q.clip(*INTEGER_RANGE[dtype]).astype(np.int64)
    low, _ = INTEGER_RANGE[dtype]
    return np.where(np.abs(q) < OUTSIDE_INT32, q, low).astype(np.int64)


INTEGER_BITS = 4


def input_radius(integer_bits: int, left_shift: int, total_bits: int = 31) -> int:
    """Largest difference that fixed point can hold (``quantization_util.cc``, ``CalculateInputRadius``)."""
    return int(np.floor(((1 << integer_bits) - 1) * 2.0 ** (total_bits - integer_bits) / 2.0**left_shift))


def fixed_point_table(node: Node, function: Callable[[Array], Array]) -> Array:
    """``function`` from Q4 to the output's integers, saturated outside the radius.

    Source: ``tensorflow/lite/kernels/internal/reference/integer_ops/{logistic,tanh}.h``.

    Raises:
        NoKernel: another type than int8, on whose zero point the function counts.
    """
    if node.x.dtype != "int8" or node.y.dtype != "int8":
        raise NoKernel(f"type {node.x.dtype}: TFLM has this curve for int8")
    low, high = INTEGER_RANGE[node.y.dtype]
    x = every_value(node.x.dtype) - zero_point_of(node.x)
    mantissa, shift = quantize_multiplier(np.float64(scale_of(node.x)) * (1 << (31 - INTEGER_BITS)))
    radius = input_radius(INTEGER_BITS, int(shift))
    inside = np.clip(x, -radius, radius)
    q = function(multiply_by_quantized_multiplier(inside, mantissa, shift, Rounding.GEMMLOWP))
    q = np.where(x <= -radius, low, np.where(x >= radius, high, q))
    return q.clip(low, high).astype(node.y.dtype)
