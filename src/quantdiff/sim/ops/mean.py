"""MEAN, SUM and L2_NORMALIZATION: sums over axes, and what is divided by them.

MEAN and SUM: LiteRT ``tflite/kernels/reduce.cc`` (``EvalMean``, ``EvalSum``); xnnpack: ``src/operators/reduce-nd.c``.
MEAN: reference, tflm, and builtin but for one case: ``internal/reference/reduce.h`` (``QuantizedMeanOrSum``). builtin
with keep_dims over the image axes: ``internal/optimized/integer_ops/mean.h``; xnnpack:
``src/reference/unary-elementwise.cc`` as well.
SUM: reference: ``internal/reference/reduce.h``, which takes int8 values for uint8; tflm: the same as int8; builtin:
``internal/optimized/reduce.h`` in float32.
L2_NORMALIZATION: ``tflite/kernels/l2norm.cc``, ``internal/reference/{l2normalization.h,
integer_ops/l2normalization.h}``; tflm: ``tensorflow/lite/micro/kernels/l2norm.cc``. xnnpack declines it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.accumulate import centred
from quantdiff.sim.enclosures import Enclosure, enclosure, of_sum
from quantdiff.sim.floats import eigen, neon, xnnpack
from quantdiff.sim.floats.elementwise import added_in_order, flushed, multiply_add
from quantdiff.sim.floats.products import in_order
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.ops.reduce import axes_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    rint,
)
from quantdiff.sim.rounding.gemmlowp import inverse_root_multiplier
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
    y = steps_of_sum(node, total, math.prod(x.shape[axis] for axis in over), runtime)
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


def steps_of_sum(node: Node, total: Array, count: int, runtime: Runtime) -> Array:
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


VECTOR = 16
FEW = 2**15
"""Values of 16 bits whose sum an int32 holds, in which NumPy adds faster."""
IMAGE_AXES = {(1, 2), (2, 1)}


def keeps_samples(node: Node) -> bool:
    """True when the first axis is not among those that are averaged, and no vectors of floats begin with the rows."""
    axes = node.at(1).data
    return (
        axes is not None
        and node.x.dtype != "float32"
        and bool(node.x.shape)
        and not np.any(axes % len(node.x.shape) == 0)
    )


@kernel("MEAN", batched=keeps_samples, shared=True)
def mean(node: Node, x: Array, axes: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Compute ``y = clamp(z_y + (sum / n - z_x) s_x / s_y)`` over ``axes``, kept as size 1 with keep_dims."""
    over = tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))
    count = math.prod(x.shape[axis] for axis in over)
    if node.x.dtype == "float32":
        return tuple(mean_of_floats(node, x, over, runtime) for runtime in runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    narrow = np.int32 if count < FEW else np.int64
    total = x.sum(axis=over, keepdims=bool(node.option("keep_dims", False)), dtype=narrow).astype(np.int64)
    ways = [way_of(node, x, axes, runtime) for runtime in runtimes]
    outputs = {way: way(node, total, count) for way in dict.fromkeys(ways)}
    return tuple(outputs[way].clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype) for way in ways)


def mean_of_floats(node: Node, x: Array, over: tuple[int, ...], runtime: Runtime) -> Array:
    """Floats one after another, divided by their number; along the last axis alone ``builtin`` adds in vectors.

    ``internal/optimized/reduce.h`` (``Mean<float, float>``): axes of size 1 do not count, neighbours are one axis.
    """
    kept = [1 if i in over else n for i, n in enumerate(x.shape) if i not in over or node.option("keep_dims", False)]
    count = np.float32(math.prod(x.shape[axis] for axis in over))
    if runtime.family is Runtime.XNNPACK:
        return by_xnnpack(node, x, over, np.float32(1) / count, runtime).reshape(kept)
    if runtime.family is Runtime.BUILTIN and is_last_alone(x.shape, over):
        total = eigen.row_sums(x.reshape(-1, int(count)), runtime)
    else:
        total = added_in_order(x, over, from_zero=runtime.family is not Runtime.BUILTIN)
    return np.asarray(total / count, np.float32).reshape(kept)


def is_last_alone(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Whether the last axes, and no others, are averaged, and something is left (``ResolveAxis``)."""
    sides = [axis in over for axis, size in enumerate(shape) if size != 1]
    runs = [side for i, side in enumerate(sides) if i == 0 or side != sides[i - 1]]
    return runs == [False, True]


def way_of(node: Node, x: Array, axes: Array, runtime: Runtime) -> Callable[[Node, Array, int], Array]:
    """How a runtime divides the sum."""
    if runtime.family is Runtime.XNNPACK:
        return by_float if runtime is Runtime.XNNPACK else by_fused_float
    return over_image if runtime is Runtime.BUILTIN and is_image_mean(node, x, axes) else by_multiplier


def is_image_mean(node: Node, x: Array, axes: Array) -> bool:
    """The case that ``builtin`` has a faster kernel for."""
    pair = tuple(int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1))
    narrow = x.dtype != np.int16
    return narrow and bool(node.option("keep_dims", False)) and x.ndim == 4 and pair in IMAGE_AXES  # noqa: PLR2004


def by_multiplier(node: Node, total: Array, count: int) -> Array:
    """Rule G with 1/n folded into the mantissa."""
    mantissa, shift = quantize_multiplier(np.float64(scale_of(node.x)) / np.float64(scale_of(node.y)))
    bits = min(count.bit_length() - 1, 32, 31 + int(shift))
    folded = np.int64((int(mantissa) << bits) // count)
    steps = multiply_by_quantized_multiplier(
        total - zero_point_of(node.x) * count, folded, shift - bits, Rounding.GEMMLOWP
    )
    return steps + zero_point_of(node.y)


def over_image(node: Node, total: Array, count: int) -> Array:
    """Raw sums scaled, rule R in blocks of 16 channels and G behind; the zero points fold into one offset."""
    s_x, s_y = scale_of(node.x), scale_of(node.y)
    shift_by = np.float32(zero_point_of(node.x)) * s_x / s_y
    offset = zero_point_of(node.y) - int(shift_by + np.float32(0.5 if shift_by > 0 else -0.5))
    mantissa, shift = quantize_multiplier(np.float64(s_x / (np.float32(count) * s_y)))
    body = total.shape[-1] // VECTOR * VECTOR
    parts = [
        multiply_by_quantized_multiplier(part, mantissa, shift, rounding)
        for part, rounding in ((total[..., :body], Rounding.RUY), (total[..., body:], Rounding.GEMMLOWP))
    ]
    return np.concatenate(parts, axis=-1) + offset


def by_float(node: Node, total: Array, count: int, runtime: Runtime = Runtime.XNNPACK) -> Array:
    """A float32 product and a float32 zero point, half to even."""
    scale = scale_of(node.x) / scale_of(node.y) * (np.float32(1) / np.float32(count))
    shift = np.asarray(-count * zero_point_of(node.x), np.float32)
    zero_point = multiply_add(shift, scale, zero_point_of(node.y), runtime)
    return rint(multiply_add(total.astype(np.float32), scale, zero_point, runtime))


def by_fused_float(node: Node, total: Array, count: int) -> Array:
    """The same on ARM64."""
    return by_float(node, total, count, Runtime.XNNPACK_ARM64)


OUTPUT_BITS, MIDDLE = 7, 128
SMALLEST_NORM = np.float32(1e-6)


@kernel("L2_NORMALIZATION")
def l2_normalization(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` over the root of the sum of its squares along the last axis, in units of 1/128. Shape as ``x``."""
    if node.x.dtype == "float32":
        total = sum_of_squares(x, runtime)[..., None]
        return np.asarray(x / np.maximum(np.sqrt(total), SMALLEST_NORM), np.float32)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    steps = centred(x, zero_point_of(node.x)).astype(np.int64)
    squares = np.square(steps).sum(axis=-1, keepdims=True)
    mantissa, shift = inverse_root_multiplier(squares)
    if node.x.dtype == "int8":
        y = multiply_by_quantized_multiplier(steps, mantissa, shift + OUTPUT_BITS, Rounding.GEMMLOWP)
    else:
        y = multiply_by_quantized_multiplier(steps * MIDDLE, mantissa, shift, Rounding.GEMMLOWP) + MIDDLE
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def sum_of_squares(x: Array, runtime: Runtime) -> Array:
    """Along the last axis, one after another, as a dense layer sums on ARM64. Shape: the other axes."""
    if not runtime.on_arm64:
        return np.asarray(np.add.accumulate(x * x, axis=-1, dtype=np.float32)[..., -1])
    squares = ((x[..., k], x[..., k]) for k in range(x.shape[-1]))
    return in_order(squares, np.zeros(x.shape[:-1], np.float32), runtime, x.shape[-1])
