"""TOPK_V2: LiteRT ``tflite/kernels/topk_v2.cc``; of equal values the first comes first."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


@kernel("TOPK_V2", batched=False)
def top_k(node: Node, x: Array, k: Array, *, runtime: Runtime) -> tuple[Array, Array]:
    """Return the ``k`` largest values along the last axis, from the largest on, and their indices."""
    del runtime
    falling = -(x if x.dtype.kind == "f" else x.astype(np.int64))
    index = np.argsort(falling, axis=-1, kind="stable")[..., : int(np.asarray(k).reshape(-1)[0])]
    return np.take_along_axis(x, index, axis=-1), index.astype(node.outputs[1].dtype)
