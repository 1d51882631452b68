"""Shapes and counts that a graph makes for itself: RANGE, ZEROS_LIKE, BROADCAST_ARGS.

Sources: LiteRT ``tflite/kernels/{range,zeros_like,broadcast_args}.cc``.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


@kernel("RANGE", batched=False)
def count_up(node: Node, start: Array, limit: Array, delta: Array, *, runtime: Runtime) -> Array:
    """Return values from ``start`` to before ``limit``, each the one before plus ``delta``."""
    del node, runtime
    first, last, step = (np.asarray(value).reshape(-1)[0] for value in (start, limit, delta))
    size = math.ceil(abs((last - first) / step))
    return np.add.accumulate(np.asarray([first, *[step] * (size - 1)], start.dtype)[:size], dtype=start.dtype)


@kernel("ZEROS_LIKE", batched=False)
def zeros_like(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return zeros. Shape as ``x``."""
    del node, runtime
    return np.zeros_like(x)


@kernel("BROADCAST_ARGS", batched=False)
def broadcast_args(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the shape that two shapes broadcast to."""
    del runtime
    shape = np.broadcast_shapes(tuple(int(size) for size in a), tuple(int(size) for size in b))
    return np.asarray(shape, node.y.dtype)
