"""Values along axes taken together, or the best of them chosen: REDUCE_MAX and its kin, CUMSUM, ARG_MAX, TOPK_V2.

REDUCE_…: LiteRT ``tflite/kernels/reduce.cc``; tflm: ``tensorflow/lite/micro/kernels/reduce.cc``. Of several zeros
``reference`` and tflm keep the first, the others the last. xnnpack: ``src/operators/reduce-nd.c``. REDUCE_PROD
(``EvalQuantizedProd``, ``internal/reference/reduce.h``) scales the accumulator after every factor, by the 64-bit
multiply with its 15-bit mantissa; tflm has no such op. REDUCE_ANY, REDUCE_ALL: ``EvalType``.
CUMSUM: ``tflite/kernels/cumsum.cc``, ``internal/optimized/optimized_ops.h`` (``CumSum``).
ARG_MAX, ARG_MIN: ``tflite/kernels/arg_min_max.cc``, ``internal/reference/arg_min_max.h``; tflm:
``tensorflow/lite/micro/kernels/arg_min_max.cc``. TOPK_V2: ``tflite/kernels/topk_v2.cc``. Of equal values
the first counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.floats.elementwise import flushed, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import multiply_int64_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.runtime import Runtime

REDUCTIONS: dict[str, Any] = {"REDUCE_MAX": np.maximum, "REDUCE_MIN": np.minimum}
FLOAT_MAX = np.finfo(np.float32).max
KEEP_FIRST = (Runtime.REFERENCE, Runtime.TFLM)


def axes_of(x: Array, axes: Array) -> tuple[int, ...]:
    """The axes to reduce, each once and from the front."""
    return tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))


@kernel(*REDUCTIONS, batched=False)
def reduce(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return the largest or smallest value over ``axes``, kept as size 1 with keep_dims."""
    if node.x.quant is not None and node.x.quant != node.y.quant:
        raise NoKernel("input and output whose scales differ")
    over, keep = axes_of(x, axes), bool(node.option("keep_dims", False))
    if x.dtype != np.float32:
        return np.asarray(REDUCTIONS[node.operator.op].reduce(x, axis=over, keepdims=keep), x.dtype)
    if runtime is Runtime.XNNPACK_ARM64:
        y = by_neon(flushed(x), over, 1 if node.operator.op == "REDUCE_MAX" else -1)
        return y if keep else y.reshape([n for i, n in enumerate(x.shape) if i not in over])
    if runtime is Runtime.XNNPACK:
        x = flushed(x)
        refuse_zeros_of_both_signs(x, over)
    y = REDUCTIONS[node.operator.op].reduce(x, axis=over, keepdims=True)
    if runtime in KEEP_FIRST:  # they start from the last finite number, not from the first value
        y = np.maximum(y, -FLOAT_MAX) if node.operator.op == "REDUCE_MAX" else np.minimum(y, FLOAT_MAX)
    y = np.where(y == 0, zero_that_remains(x, over, runtime), y)
    return y if keep else y.reshape([n for i, n in enumerate(x.shape) if i not in over])


def by_neon(x: Array, over: tuple[int, ...], sign: int) -> Array:
    """The largest (``sign`` 1) or smallest value; of zeros the largest or smallest, too. Shape: the axes of size 1."""
    y = np.maximum.reduce(sign * x, axis=over, keepdims=True)
    positive = np.any((x == 0) & (np.signbit(x) == (sign < 0)), axis=over, keepdims=True)
    return sign * np.where(y == 0, np.where(positive, np.float32(0), np.float32(-0.0)), y).astype(np.float32)


def refuse_zeros_of_both_signs(x: Array, over: tuple[int, ...]) -> None:
    """Which of them remains depends on the width of the CPU's vectors, where these lie along the last axis."""
    positive, negative = ((x == 0) & (np.signbit(x) == sign) for sign in (False, True))
    if x.ndim - 1 in over and np.any(positive.any(axis=over) & negative.any(axis=over)):
        raise NoKernel("zeros of both signs, of which XNNPACK keeps the one or the other")


def zero_that_remains(x: Array, over: tuple[int, ...], runtime: Runtime) -> Array:
    """The first or the last zero over the axes, with its sign. Shape: as ``x``, the axes of size 1."""
    rows = np.moveaxis(x, over, range(len(over)))
    flat = rows.reshape(-1, *rows.shape[len(over) :])
    step = 1 if runtime in KEEP_FIRST else -1
    place = np.argmax(flat[::step] == 0, axis=0)
    zero: Array = np.take_along_axis(flat[::step], place[None], axis=0)
    return zero.reshape([1 if i in over else n for i, n in enumerate(x.shape)])


QUANTIFIERS: dict[str, Callable[..., Any]] = {"REDUCE_ALL": np.all, "REDUCE_ANY": np.any}


@kernel(*QUANTIFIERS, batched=False)
def reduce_bool(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return whether all or any values over ``axes`` are true, these kept as size 1 with keep_dims."""
    del runtime
    keep = bool(node.option("keep_dims", False))
    return np.asarray(QUANTIFIERS[node.operator.op](x, axis=axes_of(x, axes), keepdims=keep))


@kernel("REDUCE_PROD", batched=False)
def reduce_prod(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return the product over ``axes``, kept as size 1 with keep_dims."""
    if runtime is Runtime.TFLM:
        raise NoKernel("this runtime has no such op")
    over, keep = axes_of(x, axes), bool(node.option("keep_dims", False))
    if node.x.quant is None or not node.x.quant.scale:
        if x.dtype.kind == "f":
            raise NoKernel("a float product depends on the order")
        return np.asarray(x.prod(axis=over, keepdims=keep), x.dtype)
    if not is_quantized(node.x, "int8", "int16"):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    shape = [1 if i in over else n for i, n in enumerate(x.shape) if keep or i not in over]
    if runtime is not Runtime.REFERENCE and x.size == math.prod(shape):
        return x.reshape(shape)  # optimized/reduce.h (ReduceIsCopy) forgets the scales
    factors = np.moveaxis(x, over, range(len(over))).reshape(-1, *(n for i, n in enumerate(x.shape) if i not in over))
    product = one_after_another(node, factors.astype(np.int64) - zero_point_of(node.x))
    y = (product + zero_point_of(node.y)).clip(*INTEGER_RANGE[node.y.dtype]).astype(x.dtype)
    return y.reshape(shape)


def one_after_another(node: Node, factors: Array) -> Array:
    """The product on the output's grid, in the order of the file. Shapes: (n, …) -> (…)."""
    root = math.pow(float(scale_of(node.y)), 1.0 / len(factors))
    multiplier = quantize_multiplier(float(scale_of(node.x)) / root)
    product: Array = factors[0]
    for factor in factors[1:]:
        product = multiply_int64_by_quantized_multiplier(product * factor, *multiplier)
    return multiply_int64_by_quantized_multiplier(product, *multiplier)


@kernel("CUMSUM", batched=False)
def cumsum(node: Node, x: Array, axis: Array, *, runtime: Runtime) -> Array:
    """Return the sums up to each value along ``axis``, itself left out with ``exclusive``. Shape as ``x``."""
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    del runtime
    along = int(np.asarray(axis).reshape(-1)[0])
    turned = np.flip(x, along) if node.option("reverse", False) else x
    moved = np.moveaxis(turned, along, 0)
    exclusive = bool(node.option("exclusive", False))
    before = np.zeros_like(moved[:1])
    parts = np.concatenate([before, moved[:-1] if exclusive else moved])
    sums = np.add.accumulate(parts, axis=0, dtype=x.dtype)
    y = np.moveaxis(sums if exclusive else sums[1:], 0, along)
    return (np.flip(y, along) if node.option("reverse", False) else y).copy()


CHOICES: dict[str, Callable[..., Any]] = {"ARG_MAX": np.argmax, "ARG_MIN": np.argmin}


@kernel(*CHOICES, batched=False)
def choose(node: Node, x: Array, axis: Array, *, runtime: Runtime) -> Array:
    """Return the index of the first largest or smallest value along ``axis``, that axis removed."""
    del runtime
    index = CHOICES[node.operator.op](x, axis=int(np.asarray(axis).reshape(-1)[0]))
    return np.asarray(index, node.y.dtype)


@kernel("TOPK_V2", batched=False)
def top_k(node: Node, x: Array, k: Array, *, runtime: Runtime) -> tuple[Array, Array]:
    """Return the ``k`` largest values along the last axis, from the largest on, and their indices."""
    del runtime
    falling = -(x if x.dtype.kind == "f" else x.astype(np.int64))
    index = np.argsort(falling, axis=-1, kind="stable")[..., : int(np.asarray(k).reshape(-1)[0])]
    return np.take_along_axis(x, index, axis=-1), index.astype(node.outputs[1].dtype)
