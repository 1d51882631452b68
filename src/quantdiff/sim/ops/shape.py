"""SHAPE and RANK: ``tflite/kernels/{shape,rank}.cc``."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


@kernel("SHAPE", batched=False)
def shape(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return the sizes of ``x``. Shape: (rank,)."""
    del runtime
    return np.asarray(x.shape, node.y.dtype)


@kernel("RANK", batched=False)
def rank(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return the number of axes of ``x``. Shape: ()."""
    del runtime
    return np.asarray(x.ndim, node.y.dtype)
