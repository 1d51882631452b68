"""MEAN: LiteRT ``tflite/kernels/reduce.cc`` (``EvalMean``).

reference, tflm, and builtin but for one case: ``internal/reference/reduce.h`` (``QuantizedMeanOrSum``).
builtin with keep_dims over the image axes: ``internal/optimized/integer_ops/mean.h``. xnnpack:
``src/operators/reduce-nd.c`` and ``src/reference/unary-elementwise.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.floats import eigen
from quantdiff.sim.floats.elementwise import added_in_order, multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.ops.sum import by_xnnpack
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier, rint
from quantdiff.sim.runtime import Runtime

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
        return tuple(of_floats(node, x, over, runtime) for runtime in runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    narrow = np.int32 if count < FEW else np.int64
    total = x.sum(axis=over, keepdims=bool(node.option("keep_dims", False)), dtype=narrow).astype(np.int64)
    ways = [way_of(node, x, axes, runtime) for runtime in runtimes]
    outputs = {way: way(node, total, count) for way in dict.fromkeys(ways)}
    return tuple(outputs[way].clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype) for way in ways)


def of_floats(node: Node, x: Array, over: tuple[int, ...], runtime: Runtime) -> Array:
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
