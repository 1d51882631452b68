"""SOFTMAX and LOG_SOFTMAX: LiteRT ``tflite/kernels/activations.cc`` (``SoftmaxPrepare``, ``LogSoftmaxEval``).

SOFTMAX: reference and tflm: ``internal/reference/softmax.h`` in fixed point; builtin, and xnnpack which declines it:
``internal/optimized/optimized_ops.h`` (``PopulateSoftmaxLookupTable``), a float32 table; on ARM64
(``PopulateSoftmaxUInt8LookupTable``) one of 16 bits. 16-bit values: ``SoftmaxInt16``, two tables of 513 entries with
linear interpolation (``internal/common.h``: ``LUTPopulateInt16``, ``LUTLookup``), in float64, or float32 in tflm
(``tensorflow/lite/micro/kernels/softmax_common.cc``, ``InitializeLutForInt16``). Of floats: the C library,
``SoftmaxImpl`` through Eigen (``sim/floats/eigen.py``), XNNPACK's own (``sim/floats/xnnpack.py``).
LOG_SOFTMAX: builtin: ``internal/optimized/optimized_ops.h`` (``LogSoftmax``), a table in float32. reference and tflm:
``internal/reference/integer_ops/log_softmax.h``, ``internal/common.h``
(``log_x_for_x_greater_than_or_equal_to_1_impl``), fixed point. xnnpack declines it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats import eigen, libm, neon, xnnpack
from quantdiff.sim.floats.elementwise import added_in_order
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, loops, scale_of, zero_point_of
from quantdiff.sim.rounding import gemmlowp
from quantdiff.sim.rounding.fixed_point import (
    INT32_MIN,
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rint,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.table import input_radius

RealType = Any
"""``np.float32`` or ``np.float64``."""

INT16_LOW, INT16_HIGH, INT16_RANGE, TABLE_STEPS = -32768, 32767, 65535, 512


def sampled(scale: float, zero_point: int, function: Callable[[Array], Array], real: RealType) -> Array:
    """The table of a function over all int16 inputs, its outputs within ±1, all in ``real``. Shape: (513,)."""
    low, high = (real(scale) * real(end - zero_point) for end in (INT16_LOW, INT16_HIGH))
    top, bottom = (real(2.0 / INT16_RANGE) * real(end) for end in (INT16_HIGH, INT16_LOW))
    step, inverse = (high - low) / real(TABLE_STEPS), real(INT16_RANGE + 1) / (top - bottom)
    at = low + np.arange(TABLE_STEPS + 1).astype(real) * step
    points = function(at) * inverse
    between = round_half_away((points[1:] + round_half_away(points[:-1])) / real(2))
    error = between - round_half_away(function(at[:-1] + step / real(2)) * inverse)
    table = round_half_away(points[:-1]) - round_half_away(error / real(2))
    last = round_half_away(function(np.asarray([high])) * inverse)
    whole: Array = np.clip(np.concatenate([table, last]), INT16_LOW, INT16_HIGH)
    return whole.astype(np.int64)


@cache
def exponential_and_inverse(in_float32: bool) -> tuple[Array, Array]:
    """Exp on [-10, 0], and 1/(1 + x) on [0, 1]."""
    if in_float32:
        exponential = sampled(10.0 / INT16_RANGE, INT16_HIGH, partial(libm.apply, "expf"), np.float32)
        return exponential, sampled(
            1.0 / INT16_RANGE, INT16_LOW, lambda x: np.float32(1) / (np.float32(1) + x), np.float32
        )
    return sampled(10.0 / INT16_RANGE, INT16_HIGH, np.exp, np.float64), sampled(
        1.0 / INT16_RANGE, INT16_LOW, lambda x: 1.0 / (1.0 + x), np.float64
    )


def interpolated(x: Array, table: Array) -> Array:
    """The table at an int16 value, interpolated. Shape as ``x``."""
    index = 256 + (x >> 7)
    value: Array = table[index] + (((table[index + 1] - table[index]) * (x & 0x7F) + 64) >> 7)
    return value


def softmax_int16(node: Node, difference: Array, runtime: Runtime) -> Array:
    """``exp(beta * difference) / sum`` along the last axis in Q0.15. Shape as ``difference``, which is <= 0."""
    exponential, reciprocal = exponential_and_inverse(runtime is Runtime.TFLM)
    scale = np.float64(scale_of(node.x) * np.float32(node.option("beta", 1.0))) / (10.0 / INT16_RANGE)
    scaled = multiply_by_quantized_multiplier(difference, *quantize_multiplier(scale), Rounding.GEMMLOWP)
    e = interpolated((scaled + INT16_HIGH).clip(INT16_LOW, INT16_HIGH), exponential)
    total = e.sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    shifted = ((total << (headroom - 1)) + (1 << 13)) >> 14
    factor = interpolated((shifted - (1 << 15) - (1 << 16)).clip(INT16_LOW, INT16_HIGH), reciprocal)
    right = 31 - headroom
    y: Array = (e * factor + (np.int64(1) << (right - 1))) >> right
    return y.clip(0, INT16_HIGH)


DIFF_INTEGER_BITS, SUM_INTEGER_BITS = 5, 12
WORTH = 2**17
"""Elements that repay a loop which is compiled for them alone, the first time."""
AT_ONCE = 2**14
"""Elements whose steps in between stay in the cache."""


@kernel("SOFTMAX", batched=lambda node: node.x.dtype != "float32")
def softmax(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``exp(beta * (x - max)) / sum`` along the last axis. Shape as ``x``."""
    if is_quantized(node.x, "int16"):
        wide = softmax_int16(node, x.astype(np.int64) - x.max(axis=-1, keepdims=True), runtime)
        return wide.astype(np.int16)
    if node.x.dtype == "float32":
        return of_floats(node, x, runtime)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    rows = x.reshape(-1, x.shape[-1])
    compiled = loops(x.size) if x.size >= WORTH and by_exponentials(runtime) else None
    if compiled is not None:
        return in_loops(node, rows, compiled).reshape(x.shape)
    y, step = np.empty(rows.shape, node.y.dtype), max(1, AT_ONCE // x.shape[-1])
    for start in range(0, len(rows), step):
        y[start : start + step] = in_8_bits(node, rows[start : start + step], runtime)
    return y.reshape(x.shape)


def by_exponentials(runtime: Runtime) -> bool:
    """Whether a float32 table serves a runtime."""
    return runtime not in (Runtime.REFERENCE, Runtime.TFLM, Runtime.BUILTIN_ARM64)


def in_loops(node: Node, x: Array, compiled: ModuleType) -> Array:
    """``by_table`` of all rows."""
    y, unsigned = np.empty(x.shape, node.y.dtype), node.y.dtype == "uint8"
    half, zero_point = (np.float32(0.5), 0) if unsigned else (np.float64(0.5), zero_point_of(node.y))
    output = scale_of(node.y), zero_point, *INTEGER_RANGE[node.y.dtype]
    compiled.softmax(np.require(x, requirements=["C", "W"]), exponentials(node), half, output, y)
    return y


def in_8_bits(node: Node, x: Array, runtime: Runtime) -> Array:
    """Some rows of them."""
    difference = x.astype(np.int64) - x.max(axis=-1, keepdims=True)
    how = fixed_point if runtime in (Runtime.REFERENCE, Runtime.TFLM) else by_table
    q = in_16_bits(node, difference) if runtime is Runtime.BUILTIN_ARM64 else how(node, difference)
    return q.clip(*INTEGER_RANGE[node.y.dtype])


def of_floats(node: Node, x: Array, runtime: Runtime) -> Array:
    """Exponentials of the C library, summed from first to last; in vectors on ``builtin``, XNNPACK by its own."""
    if runtime.family is Runtime.XNNPACK:
        return neon.softmax(x) if runtime.on_arm64 else xnnpack.softmax(x)
    powers = (x - x.max(axis=-1, keepdims=True)) * np.float32(node.option("beta", 1.0))
    if runtime.family is Runtime.BUILTIN:
        terms = eigen.exp(powers, runtime).reshape(-1, x.shape[-1])
        return (terms * (np.float32(1) / eigen.row_sums(terms, runtime))[:, None]).reshape(x.shape)
    terms = libm.apply("expf", powers)
    return np.asarray(terms / added_in_order(terms, (x.ndim - 1,))[..., None])


def by_table(node: Node, difference: Array) -> Array:
    """Float32: 256 exponentials, summed from first to last, then half away."""
    terms = exponentials(node)[-difference]
    total = np.add.accumulate(terms, axis=-1, dtype=np.float32)[..., -1:]
    inverse = np.float32(1) / (total * scale_of(node.y))
    scaled = terms * inverse
    if node.y.dtype == "uint8":
        return (scaled + np.float32(0.5)).astype(np.int64)
    return round_half_away(scaled).astype(np.int64) + zero_point_of(node.y)


def exponentials(node: Node) -> Array:
    """Of each distance from the largest. Shape: (256,)."""
    scale = -scale_of(node.x) * np.float32(node.option("beta", 1.0))
    return libm.apply("expf", scale * np.arange(256, dtype=np.float32))


def in_16_bits(node: Node, difference: Array) -> Array:
    """ARM64: 256 exponentials of 16 bits, an int32 sum, rule R, that gives what G does (``SoftmaxInt8LUT``)."""
    scale = scale_of(node.x) * np.float32(node.option("beta", 1.0))
    table = libm.apply("expf", scale * np.arange(0, -256, -1, dtype=np.float32)) * np.float32(65535)
    terms = np.minimum((table.astype(np.float64) + 0.5).astype(np.int64), 65535)[-difference]
    inverse = np.float32(1) / (terms.sum(axis=-1, keepdims=True).astype(np.float32) * scale_of(node.y))
    mantissa, shift = quantize_multiplier(inverse)
    return multiply_by_quantized_multiplier(terms, mantissa, shift, Rounding.GEMMLOWP) + zero_point_of(node.y)


def fixed_point(node: Node, difference: Array) -> Array:
    """Q5.26 exponentials, a Q12.19 sum, and its reciprocal by Newton-Raphson."""
    real = np.float64(np.float32(node.option("beta", 1.0))) * np.float64(scale_of(node.x))
    scale = min(real * (1 << (31 - DIFF_INTEGER_BITS)), 2.0**31 - 1)
    mantissa, shift = quantize_multiplier(np.float64(scale))
    every = -np.arange(256)
    inside = every >= -input_radius(DIFF_INTEGER_BITS, int(shift))
    a = multiply_by_quantized_multiplier(np.where(inside, every, 0), mantissa, shift, Rounding.GEMMLOWP)
    powers = gemmlowp.exp_on_negative_values(a, DIFF_INTEGER_BITS)
    kept, e = inside[-difference], powers[-difference]
    terms = np.where(inside, gemmlowp.rescale(powers, -SUM_INTEGER_BITS), 0)
    total = terms[-difference].sum(axis=-1, keepdims=True)
    reciprocal, over_unit = gemmlowp.get_reciprocal(total, SUM_INTEGER_BITS)
    bits = 16 if node.y.dtype == "int16" else 8
    high = saturating_rounding_doubling_high_mul(reciprocal, e)
    low, _ = INTEGER_RANGE[node.y.dtype]
    return np.where(kept, rounding_divide_by_pot(high, over_unit + 31 - bits), 0) + low


DIFF_BITS, SUM_BITS, ACCUM_BITS, OUTPUT_BITS = 5, 12, 6, 4
LOG_2, SQRT_SQRT_HALF, SQRT_HALF, QUARTER = 1488522236, 1805811301, 1518500250, 1 << 29
ALPHA_N, ALPHA_D, ALPHA_I, ALPHA_F = 117049297, 127690142, 1057819769, 638450708


@kernel("LOG_SOFTMAX")
def log_softmax(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x - max - log(sum(exp(x - max)))`` along the last axis, in steps of 1/16. Shape as ``x``."""
    if node.x.dtype == "float32":
        return log_softmax_of_floats(x, runtime)
    if not is_quantized(node.x, "int8"):
        raise NoKernel(f"type {node.x.dtype}")
    wide = x.astype(np.int64)
    largest = wide.max(axis=-1, keepdims=True)
    y = (
        log_softmax_by_table(node, wide, largest)
        if runtime is Runtime.BUILTIN
        else log_softmax_in_fixed_point(node, wide - largest)
    )
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def log_softmax_of_floats(x: Array, runtime: Runtime) -> Array:
    """The C library's exponentials from first to last, on ``builtin`` Eigen's in vectors. Shape as ``x``."""
    difference = x - x.max(axis=-1, keepdims=True)
    if runtime.family is not Runtime.BUILTIN:
        total = added_in_order(libm.apply("expf", difference), (x.ndim - 1,))
    else:
        rows = difference.reshape(-1, x.shape[-1])
        total = eigen.aligned_sums(eigen.exp_of_rows(rows, runtime), 0, runtime).reshape(x.shape[:-1])
    return np.asarray(difference - libm.apply("logf", total)[..., None])


def log_softmax_by_table(node: Node, x: Array, largest: Array) -> Array:
    """Float32: 256 exponentials, summed from first to last, then half to even."""
    s_x, s_y = scale_of(node.x), scale_of(node.y)
    table = libm.apply("expf", -s_x * np.arange(256, dtype=np.float32))
    total = np.add.accumulate(table[largest - x], axis=-1, dtype=np.float32)[..., -1:]
    offset = (s_x * largest.astype(np.float32) + libm.apply("logf", total)) / s_y
    return rint(s_x / s_y * x.astype(np.float32) - offset) + zero_point_of(node.y)


def log_softmax_in_fixed_point(node: Node, difference: Array) -> Array:
    """Q5.26 differences and exponentials, a Q12.19 sum, its logarithm, an output of 4 integer bits."""
    scale = min(np.float64(scale_of(node.x)) * (1 << (31 - DIFF_BITS)), 2.0**31 - 1)
    mantissa, shift = quantize_multiplier(np.float64(scale))
    lowest = -input_radius(DIFF_BITS, int(shift))
    kept = difference >= lowest
    a = multiply_by_quantized_multiplier(np.where(kept, difference, 0), mantissa, shift, Rounding.GEMMLOWP)
    e = gemmlowp.rescale(gemmlowp.exp_on_negative_values(a, DIFF_BITS), -SUM_BITS)
    log_of_sum = logarithm(np.where(kept, e, 0).sum(axis=-1, keepdims=True))
    reverse = quantize_multiplier(np.float64((1 << (31 - int(shift))) / float(mantissa)))
    near = multiply_by_quantized_multiplier(log_of_sum + INT32_MIN, *reverse, Rounding.GEMMLOWP)
    seen = difference > np.maximum(lowest - 1, near)
    y = rounding_divide_by_pot(a - log_of_sum, 31 - DIFF_BITS - OUTPUT_BITS) + zero_point_of(node.y)
    return np.where(seen, y, INTEGER_RANGE[node.y.dtype][0])


def logarithm(x: Array) -> Array:
    """``log(x)`` in Q5.26 of a Q12.19 value that is 1 or more. Shape as ``x``."""
    mul, left = saturating_rounding_doubling_high_mul, gemmlowp.rescale
    quarter = QUARTER >> ACCUM_BITS
    head_a = leading_zeros(x)
    r_a = shifted(mul(shifted(x, head_a - 1), np.asarray(SQRT_HALF)), np.ones_like(x))
    power_a = ((SUM_BITS - head_a) << (31 - ACCUM_BITS)) + quarter
    head_b = leading_zeros(mul(x, np.asarray(SQRT_HALF))) - 1
    power_b = ((SUM_BITS - head_b) << (31 - ACCUM_BITS)) - quarter
    r, power = np.minimum(r_a, shifted(x, head_b)), np.maximum(power_a, power_b)
    p, q = (r + SQRT_SQRT_HALF + 1) // 2, 2 * (r - SQRT_SQRT_HALF)
    square = mul(q, q)
    numerator = mul(q, r) + mul(mul(q, square), np.asarray(ALPHA_N))
    inner = ALPHA_I + q + mul(np.asarray(ALPHA_D), square)
    denominator = mul(p, inner) + mul(np.asarray(ALPHA_F), q)
    quotient = mul(left(numerator, -ACCUM_BITS), gemmlowp.one_over_one_plus_x(denominator))
    return left(mul(power, np.asarray(LOG_2)) + quotient, 1)


def leading_zeros(x: Array) -> Array:
    """Zeros before the first bit of a positive value of 32 bits. Shape as ``x``."""
    return 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)


def shifted(x: Array, by: Array) -> Array:
    """``x`` to the left, saturated at the largest int32. Shape as ``x``."""
    return np.minimum(x << by, (1 << 31) - 1)
