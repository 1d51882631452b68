"""CONCATENATION: LiteRT ``tflite/kernels/concatenation.cc``; equal scales are copied."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime


@kernel("CONCATENATION", batched=False)
def concatenation(node: Node, *parts: Array, runtime: Runtime) -> Array:
    """Join the inputs along ``axis``. Shapes agree but for that axis."""
    del runtime
    if any(tensor is not None and tensor.quant != node.y.quant for tensor in node.inputs):
        raise NoKernel("inputs whose scales differ from the output's")
    return np.concatenate(parts, axis=int(node.option("axis", 0)))
