"""SELECT, SELECT_V2: LiteRT ``tflite/kernels/select.cc``; tflm: ``tensorflow/lite/micro/kernels/select.cc``."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


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
