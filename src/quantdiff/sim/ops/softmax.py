"""SOFTMAX: LiteRT ``tflite/kernels/activations.cc`` (``SoftmaxPrepare``).

reference and tflm: ``internal/reference/softmax.h`` in fixed point; builtin, and xnnpack which
declines it: ``internal/optimized/optimized_ops.h`` (``PopulateSoftmaxLookupTable``), a float32 table; on ARM64
(``PopulateSoftmaxUInt8LookupTable``) one of 16 bits. Of floats:
the C library, ``SoftmaxImpl`` through Eigen (``sim/floats/eigen.py``), XNNPACK's own (``sim/floats/xnnpack.py``).
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.compiled import loops
from quantdiff.sim.floats import eigen, libm, neon, xnnpack
from quantdiff.sim.floats.elementwise import added_in_order
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding import gemmlowp
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.softmax_int16 import softmax_int16
from quantdiff.sim.tables.table import input_radius

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
