"""MAXIMUM and MINIMUM: LiteRT ``tflite/kernels/maximum_minimum.cc``; integers are compared as they stand.

Of two zeros the second comes out. xnnpack: ``src/f32-vbinary``, where a lone value stands second always, and
numbers below the smallest normal one count as zeros; on ARM64 the order makes no difference.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import flushed
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


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
