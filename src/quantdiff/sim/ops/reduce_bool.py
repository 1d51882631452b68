"""REDUCE_ANY, REDUCE_ALL: LiteRT ``tflite/kernels/reduce.cc`` (``EvalType``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.ops.reduce import axes_of
from quantdiff.sim.runtime import Runtime

QUANTIFIERS: dict[str, Callable[..., Any]] = {"REDUCE_ALL": np.all, "REDUCE_ANY": np.any}


@kernel(*QUANTIFIERS, batched=False)
def reduce_bool(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return whether all or any values over ``axes`` are true, these kept as size 1 with keep_dims."""
    del runtime
    keep = bool(node.option("keep_dims", False))
    return np.asarray(QUANTIFIERS[node.operator.op](x, axis=axes_of(x, axes), keepdims=keep))
