"""ONE_HOT: LiteRT ``tflite/kernels/one_hot.cc``."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel, sized
from quantdiff.sim.runtime import Runtime


@kernel("ONE_HOT", batched=False)
def one_hot(node: Node, indices: Array, depth: Array, on: Array, off: Array, *, runtime: Runtime) -> Array:
    """Return ``on`` at each index of a new axis, ``off`` elsewhere. Shape: as ``indices``, ``depth`` at ``axis``."""
    del runtime
    axis = int(node.option("axis", -1))
    (count,) = sized(depth.reshape(-1)[:1])
    sized((count, *indices.shape))
    places = np.arange(count)
    at = indices.ndim if axis == -1 else axis
    hit = np.expand_dims(indices, at) == places.reshape(-1, *[1] * (indices.ndim - at))
    return np.where(hit, on.reshape(()), off.reshape(())).astype(node.y.dtype)
