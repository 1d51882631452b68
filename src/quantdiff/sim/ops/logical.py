"""LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT: LiteRT ``tflite/kernels/{logical,elementwise}.cc``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime

CONNECTIVES: dict[str, Callable[..., Any]] = {
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "LOGICAL_NOT": np.logical_not,
}


@kernel(*CONNECTIVES)
def connect(node: Node, *x: Array, runtime: Runtime) -> Array:
    """Return the truth values joined, or turned round. Shapes broadcast."""
    del runtime
    return np.asarray(CONNECTIVES[node.operator.op](*x))
