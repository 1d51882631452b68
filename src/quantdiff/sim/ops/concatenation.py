"""CONCATENATION: LiteRT ``tflite/kernels/concatenation.cc``; equal scales are copied.

Other scales exist for uint8 alone: ``internal/optimized/optimized_ops.h`` (``ConcatenationWithScaling``).
"""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, sized, zero_point_of
from quantdiff.sim.runtime import Runtime


@kernel("CONCATENATION", batched=False)
def concatenation(node: Node, *parts: Array, runtime: Runtime) -> Array:
    """Join the inputs along ``axis``. Shapes agree but for that axis."""
    tensors = [tensor for tensor in node.inputs if tensor is not None]
    sized([sum(part.size for part in parts)])  # a chain that joins each tensor with itself doubles it every time
    aligned = [rescaled(part, tensor, node.y, runtime) for part, tensor in zip(parts, tensors, strict=True)]
    return np.concatenate(aligned, axis=int(node.option("axis", 0)))


def rescaled(part: Array, tensor: Tensor, y: Tensor, runtime: Runtime) -> Array:
    """One input on the output's grid, in float32 with the zero point multiplied out. Shape as ``part``."""
    if (
        tensor.quant is None
        or y.quant is None
        or (tensor.quant.scale, tensor.quant.zero_point)
        == (
            y.quant.scale,
            y.quant.zero_point,
        )
    ):
        return part
    if not is_quantized(y, "uint8"):
        raise NoKernel("inputs whose scales differ from the output's")
    scale = scale_of(tensor) * (np.float32(1) / scale_of(y))
    bias = np.float32(-zero_point_of(tensor)) * scale
    steps = round_half_away(multiply_add(part.astype(np.float32), scale, bias, runtime))
    return (steps.astype(np.int64) + zero_point_of(y)).clip(*INTEGER_RANGE["uint8"]).astype(np.uint8)
