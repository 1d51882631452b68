"""MAXIMUM and MINIMUM: ``tflite/kernels/maximum_minimum.cc``; integers are compared as they stand."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime


@kernel("MAXIMUM")
def maximum(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the larger of each pair. Shapes broadcast."""
    del node, runtime
    return np.maximum(a, b)


@kernel("MINIMUM")
def minimum(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the smaller of each pair. Shapes broadcast."""
    del node, runtime
    return np.minimum(a, b)
