"""CUMSUM: LiteRT ``tflite/kernels/cumsum.cc``, ``internal/optimized/optimized_ops.h`` (``CumSum``)."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, kernel
from quantdiff.sim.runtime import Runtime


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
