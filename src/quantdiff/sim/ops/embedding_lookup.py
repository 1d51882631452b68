"""EMBEDDING_LOOKUP: LiteRT ``tflite/kernels/embedding_lookup.cc``.

tflm: ``tensorflow/lite/micro/kernels/embedding_lookup.cc``, which takes the first row's scale for every row.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel, scale_of
from quantdiff.sim.runtime import Runtime


@kernel("EMBEDDING_LOOKUP", batched=False)
def embedding_lookup(node: Node, rows: Array, table: Array, *, runtime: Runtime) -> Array:
    """Return rows of the table, integers times their scale where the output is float (``EvalHybrid``).

    Shapes: rows (n,), table (vocabulary, …) -> (n, …).
    """
    if rows.size and (rows.min() < 0 or rows.max() >= len(table)):
        raise IndexError("a row that the table does not have")
    found: Array = table[rows.astype(np.int64)]
    if node.y.dtype != "float32" or node.at(1).dtype == "float32":
        return found
    scales = np.broadcast_to(scale_of(node.at(1)), len(table))
    scale = scales[np.zeros_like(rows) if runtime is Runtime.TFLM else rows.astype(np.int64)]
    real: Array = found.astype(np.float32) * scale.reshape(-1, *[1] * (table.ndim - 1))
    return real
