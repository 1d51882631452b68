"""LOG_SOFTMAX: LiteRT ``tflite/kernels/activations.cc`` (``LogSoftmaxEval``).

builtin: ``internal/optimized/optimized_ops.h`` (``LogSoftmax``), a table in float32. reference and tflm:
``internal/reference/integer_ops/log_softmax.h``, ``internal/common.h``
(``log_x_for_x_greater_than_or_equal_to_1_impl``), fixed point. xnnpack declines it.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.floats import eigen, libm
from quantdiff.sim.floats.elementwise import added_in_order
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
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

DIFF_BITS, SUM_BITS, ACCUM_BITS, OUTPUT_BITS = 5, 12, 6, 4
LOG_2, SQRT_SQRT_HALF, SQRT_HALF, QUARTER = 1488522236, 1805811301, 1518500250, 1 << 29
ALPHA_N, ALPHA_D, ALPHA_I, ALPHA_F = 117049297, 127690142, 1057819769, 638450708


@kernel("LOG_SOFTMAX")
def log_softmax(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x - max - log(sum(exp(x - max)))`` along the last axis, in steps of 1/16. Shape as ``x``."""
    if node.x.dtype == "float32":
        return of_floats(x, runtime)
    if not is_quantized(node.x, "int8"):
        raise NoKernel(f"type {node.x.dtype}")
    wide = x.astype(np.int64)
    largest = wide.max(axis=-1, keepdims=True)
    y = by_table(node, wide, largest) if runtime is Runtime.BUILTIN else in_fixed_point(node, wide - largest)
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def of_floats(x: Array, runtime: Runtime) -> Array:
    """The C library's exponentials from first to last, on ``builtin`` Eigen's in vectors. Shape as ``x``."""
    difference = x - x.max(axis=-1, keepdims=True)
    if runtime.family is not Runtime.BUILTIN:
        total = added_in_order(libm.apply("expf", difference), (x.ndim - 1,))
    else:
        rows = difference.reshape(-1, x.shape[-1])
        total = eigen.aligned_sums(eigen.exp_of_rows(rows, runtime), 0, runtime).reshape(x.shape[:-1])
    return np.asarray(difference - libm.apply("logf", total)[..., None])


def by_table(node: Node, x: Array, largest: Array) -> Array:
    """Float32: 256 exponentials, summed from first to last, then half to even."""
    s_x, s_y = scale_of(node.x), scale_of(node.y)
    table = libm.apply("expf", -s_x * np.arange(256, dtype=np.float32))
    total = np.add.accumulate(table[largest - x], axis=-1, dtype=np.float32)[..., -1:]
    offset = (s_x * largest.astype(np.float32) + libm.apply("logf", total)) / s_y
    return rint(s_x / s_y * x.astype(np.float32) - offset) + zero_point_of(node.y)


def in_fixed_point(node: Node, difference: Array) -> Array:
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
