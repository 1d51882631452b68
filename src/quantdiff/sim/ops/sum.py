"""SUM: LiteRT ``tflite/kernels/reduce.cc`` (``EvalSum``).

reference: ``internal/reference/reduce.h``, which takes int8 values for uint8; tflm: the same as int8;
builtin: ``internal/optimized/reduce.h`` in float32; xnnpack: ``src/operators/reduce-nd.c``.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.enclosures import Enclosure, enclosure, of_sum
from quantdiff.sim.floats import neon, xnnpack
from quantdiff.sim.floats.elementwise import added_in_order, flushed, multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.ops.reduce import axes_of
from quantdiff.sim.rounding.fixed_point import Rounding, requantize, rint
from quantdiff.sim.runtime import Runtime

SMALLEST = 2.0**-100
"""Sums of squares from which on those that were too small for a float of their own change nothing."""
PARTIAL, JOINED = 16, 12
"""Partial sums at least, and additions that join them and what is left over, at most."""
SCALED, SQUARED = 3, 1
"""Roundings beside the additions: the inverse of the number, times it, onto the output; a square."""


@kernel("SUM", batched=False)
def sum_(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + (sum - n z_x) s_x / s_y)`` over ``axes``, kept as size 1 with keep_dims."""
    over, keep = axes_of(x, axes), bool(node.option("keep_dims", False))
    if x.dtype.kind == "i" and node.x.quant is None:
        return np.asarray(x.sum(axis=over, keepdims=keep), x.dtype)
    if node.x.dtype == "float32":
        sums = (
            by_xnnpack(node, x, over, np.float32(1), runtime)
            if runtime.family is Runtime.XNNPACK
            else added_in_order(x, over, from_zero=runtime.family is not Runtime.BUILTIN)
        )
        return sums.reshape([1 if i in over else n for i, n in enumerate(x.shape)]) if keep else sums
    if is_quantized(node.x, "int16") and runtime is Runtime.REFERENCE:
        raise NoKernel("16-bit values, which this kernel takes for bytes")
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    as_bytes = runtime is Runtime.REFERENCE
    total = (x.view(np.uint8) if as_bytes else x).sum(axis=over, keepdims=keep, dtype=np.int64)
    y = steps(node, total, math.prod(x.shape[axis] for axis in over), runtime)
    if as_bytes:
        return np.asarray(y.clip(0, 255), np.uint8).view(x.dtype)
    return np.asarray(y.clip(*INTEGER_RANGE[node.y.dtype]), x.dtype)


@enclosure("SUM", "MEAN")
def in_any_order(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Enclosure:
    """Floats that are added in an order that is not known here, or squared on the way. Shape: see the kernels.

    Along the last axis XNNPACK's kernels for x86 keep sixteen partial sums or more (``src/configs/reduce-config.c``).
    """
    if runtime is not Runtime.XNNPACK or node.x.dtype != "float32":
        raise NoKernel(f"type {node.x.dtype}")
    over, keep = axes_of(x, axes), bool(node.option("keep_dims", False))
    count = math.prod(x.shape[axis] for axis in over)
    in_parts = over == (x.ndim - 1,)
    additions = min(count - 1, count // PARTIAL + JOINED) if in_parts else count - 1
    scale = 1 / count if node.operator.op == "MEAN" else 1.0
    found = of_sum(flushed(x), over, scale, additions + SCALED + SQUARED)
    kept = [1 if i in over else n for i, n in enumerate(x.shape) if keep or i not in over]
    return Enclosure(*(array.reshape(kept) for array in (found.low, found.high, found.width)))


def by_xnnpack(node: Node, x: Array, over: tuple[int, ...], scale: np.float32, runtime: Runtime) -> Array:
    """XNNPACK's sum of floats, which makes one operator of squares and their sum. Shape: the other axes.

    It rounds no square. Their roots give back what was squared, without its sign (in radix 2 no bit is lost).
    """
    maker = node.graph.producer(node.x.index) if node.graph else None
    squared = maker is not None and (maker.op == "SQUARE" or (maker.op == "MUL" and len(set(maker.inputs)) == 1))
    kernels = neon if runtime.on_arm64 else xnnpack
    if not squared:
        return xnnpack.reduced(x, over, scale, kernels.row_sums, squares=False)
    sums = xnnpack.reduced(np.sqrt(flushed(x)), over, scale, kernels.row_sums_of_squares, squares=True)
    if np.any((sums != 0) & (sums < SMALLEST)):
        raise NoKernel("sums of squares so small that what was squared cannot be told")
    return sums


def steps(node: Node, total: Array, count: int, runtime: Runtime) -> Array:
    """The sum on the output's grid, zero point included."""
    z_x, z_y, ratio = zero_point_of(node.x), zero_point_of(node.y), scale_of(node.x) / scale_of(node.y)
    if runtime.family is Runtime.XNNPACK:
        offset = multiply_add(np.asarray(-count * z_x, np.float32), ratio, z_y, runtime)
        return rint(multiply_add(total.astype(np.float32), ratio, offset, runtime))
    if runtime is Runtime.BUILTIN:
        bias = np.float32(-z_x) * ratio * np.float32(count)
        return round_half_away(total.astype(np.float32) * ratio + bias).astype(np.int64) + z_y
    scale = np.float64(scale_of(node.x)) / np.float64(scale_of(node.y))
    return requantize(total - z_x * count, scale, Rounding.GEMMLOWP) + z_y
