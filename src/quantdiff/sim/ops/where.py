"""Where values stand: WHERE of one input, SPARSE_TO_DENSE.

Sources: LiteRT ``tflite/kernels/{where,sparse_to_dense}.cc``, ``internal/reference/reference_ops.h``
(``SelectTrueCoords``, ``SparseToDense``); TFLM has neither.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel, sized
from quantdiff.sim.runtime import Runtime


@kernel("WHERE", batched=False)
def where(node: Node, condition: Array, *, runtime: Runtime) -> Array:
    """Return the places that are not 0, in their order. Shape: (how many, axes of the input)."""
    del node, runtime
    return np.argwhere(condition).astype(np.int64)


@kernel("SPARSE_TO_DENSE", batched=False)
def sparse_to_dense(
    node: Node, places: Array, shape: Array, values: Array, default: Array, *, runtime: Runtime
) -> Array:
    """Return ``default`` with ``values`` at ``places``. Shapes: places (n, axes) or (n,) or (), values (n,) or ()."""
    del node, runtime
    y = np.full(sized(shape), np.asarray(default).reshape(-1)[0], values.dtype)
    rows = np.asarray(places, np.int64).reshape(-1, y.ndim)
    y[tuple(rows.T)] = values
    return y
