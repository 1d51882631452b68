"""EQUAL, NOT_EQUAL, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL: LiteRT ``tflite/kernels/comparisons.cc``.

Quantized values are scaled first: ``internal/reference/comparisons.h`` (``ComparisonWithScaling``); tflm:
``tensorflow/lite/micro/kernels/comparisons.cc``, the same. xnnpack declines them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.runtime import Runtime

COMPARISONS: dict[str, Callable[..., Any]] = {
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
}
SCALED = ("EQUAL", "NOT_EQUAL")
"""The others compare stored integers of 16 bits, whatever their grids."""
LEFT_SHIFT = 8


@kernel(*COMPARISONS)
def compare(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return where the comparison of the real values holds. Shapes broadcast."""
    wide = is_quantized(node.x, "int16")
    if wide and runtime is Runtime.TFLM:
        raise NoKernel("16-bit values")
    if is_quantized(node.x, "int8", "uint8") or (wide and node.operator.op in SCALED):
        a, b = scaled(a, node.x), scaled(b, node.at(1))
    return np.asarray(COMPARISONS[node.operator.op](a, b), np.bool_)


def scaled(x: Array, tensor: Tensor) -> Array:
    """The real values times 256, rounded twice. Shape as ``x``."""
    mantissa, shift = quantize_multiplier(np.float64(scale_of(tensor)))
    if shift > 0:
        raise NoKernel("a scale of 1 or more, which this arithmetic is not made for")
    steps = centred(x, zero_point_of(tensor)).astype(np.int64) << LEFT_SHIFT
    return multiply_by_quantized_multiplier(steps, mantissa, shift, Rounding.GEMMLOWP)
