"""REDUCE_MAX, REDUCE_MIN: LiteRT ``tflite/kernels/reduce.cc``; tflm: ``tensorflow/lite/micro/kernels/reduce.cc``.

Of several zeros ``reference`` and tflm keep the first, the others the last. xnnpack: ``src/operators/reduce-nd.c``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import flushed
from quantdiff.sim.node import Node, NoKernel, kernel
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
