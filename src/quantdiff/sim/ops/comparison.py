"""Comparisons, choices between two values, truth values and bits.

EQUAL and its kin: LiteRT ``tflite/kernels/comparisons.cc``; quantized values are scaled first
(``internal/reference/comparisons.h``, ``ComparisonWithScaling``); tflm:
``tensorflow/lite/micro/kernels/comparisons.cc``, the same. xnnpack declines them.
MAXIMUM and MINIMUM: ``tflite/kernels/maximum_minimum.cc``; integers are compared as they stand. Of two zeros the second
comes out. xnnpack: ``src/f32-vbinary``, where a lone value stands second always, and numbers below the smallest normal
one count as zeros; on ARM64 the order makes no difference.
The others: ``tflite/kernels/{select,logical,elementwise,bitwise_xor,right_shift}.cc``; tflm:
``tensorflow/lite/micro/kernels/select.cc``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.floats.elementwise import flushed
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.runtime import Runtime

COMPARISONS: dict[str, Callable[..., Any]] = {
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
}
SCALED = ("EQUAL", "NOT_EQUAL")
"""The others compare stored integers of 16 bits, whatever their grids."""
LEFT_SHIFT = 8


@kernel(*COMPARISONS)
def compare(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return where the comparison of the real values holds. Shapes broadcast."""
    wide = is_quantized(node.x, "int16")
    if wide and runtime is Runtime.TFLM:
        raise NoKernel("16-bit values")
    if is_quantized(node.x, "int8", "uint8") or (wide and node.operator.op in SCALED):
        a, b = scaled(a, node.x), scaled(b, node.at(1))
    return np.asarray(COMPARISONS[node.operator.op](a, b), np.bool_)


def scaled(x: Array, tensor: Tensor) -> Array:
    """The real values times 256, rounded twice. Shape as ``x``."""
    mantissa, shift = quantize_multiplier(np.float64(scale_of(tensor)))
    if shift > 0:
        raise NoKernel("a scale of 1 or more, which this arithmetic is not made for")
    steps = centred(x, zero_point_of(tensor)).astype(np.int64) << LEFT_SHIFT
    return multiply_by_quantized_multiplier(steps, mantissa, shift, Rounding.GEMMLOWP)


@kernel("MAXIMUM")
def maximum(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the larger of each pair. Shapes broadcast."""
    if runtime.on_arm64:
        return larger(flushed(a), flushed(b))
    a, b = in_order(node, a, b, runtime)
    return np.where(a > b, a, b)


@kernel("MINIMUM")
def minimum(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the smaller of each pair. Shapes broadcast."""
    if runtime.on_arm64:
        return -larger(-flushed(a), -flushed(b))
    a, b = in_order(node, a, b, runtime)
    return np.where(a < b, a, b)


def larger(a: Array, b: Array) -> Array:
    """NEON's maximum, whose zero is above 0 where one of both is, and which passes NaN on. Shapes broadcast."""
    return np.where((a == 0) & (b == 0), a + b, np.maximum(a, b))


def in_order(node: Node, a: Array, b: Array, runtime: Runtime) -> tuple[Array, Array]:
    """The operands as the kernel takes them."""
    if runtime is not Runtime.XNNPACK or a.dtype != np.float32:
        return a, b
    if b.size == 1 and node.at(1).is_constant:  # becomes a clamp, which knows no -0, and nothing where it is endless
        return (a, b) if np.isinf(b).all() else (flushed(b + np.float32(0)), flushed(a))
    return (flushed(b), flushed(a)) if repeats_along_rows(a, b) else (flushed(a), flushed(b))


def repeats_along_rows(a: Array, b: Array) -> bool:
    """True when the last axis along which either has a length is one along which ``a`` has none."""
    rank = max(a.ndim, b.ndim)
    sizes = zip(*((1,) * (rank - v.ndim) + v.shape for v in (a, b)), strict=True)
    last = [(m, n) for m, n in sizes if max(m, n) > 1]
    return not last or last[-1][0] == 1


@kernel("SELECT", batched=False)
def select(node: Node, where: Array, x: Array, y: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` where the condition holds, else ``y``; a condition of one axis chooses whole rows."""
    del node, runtime
    rows = where.ndim == 1 and x.ndim > 1
    return np.where(where.reshape(-1, *[1] * (x.ndim - 1)) if rows else where, x, y)


@kernel("SELECT_V2", batched=False)
def select_v2(node: Node, where: Array, x: Array, y: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` where the condition holds, else ``y``. Shapes broadcast."""
    del node, runtime
    return np.where(where, x, y)


CONNECTIVES: dict[str, Callable[..., Any]] = {
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "LOGICAL_NOT": np.logical_not,
}


@kernel(*CONNECTIVES)
def connect(node: Node, *x: Array, runtime: Runtime) -> Array:
    """Return the truth values joined, or turned round. Shapes broadcast."""
    del runtime
    return np.asarray(CONNECTIVES[node.operator.op](*x))


@kernel("BITWISE_XOR")
def exclusive_or(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the bits that one of both has. Shapes broadcast."""
    del node, runtime
    return np.asarray(np.bitwise_xor(a, b))


@kernel("RIGHT_SHIFT")
def right_shift(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Shift ``a`` by ``b`` bits, by 0 at least and by all bits but one at most; the sign stays. Shapes broadcast."""
    del node, runtime
    shifted: Array = np.right_shift(a, np.clip(b, 0, 8 * a.dtype.itemsize - 1).astype(a.dtype))
    return shifted
