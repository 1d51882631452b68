"""REDUCE_PROD: LiteRT ``tflite/kernels/reduce.cc`` (``EvalQuantizedProd``), ``internal/reference/reduce.h``.

The accumulator is scaled after every factor, by the 64-bit multiply with its 15-bit mantissa. tflm has no such op.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.ops.reduce import axes_of
from quantdiff.sim.rounding.fixed_point import multiply_int64_by_quantized_multiplier, quantize_multiplier
from quantdiff.sim.runtime import Runtime


@kernel("REDUCE_PROD", batched=False)
def reduce_prod(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return the product over ``axes``, kept as size 1 with keep_dims."""
    if runtime is Runtime.TFLM:
        raise NoKernel("this runtime has no such op")
    over, keep = axes_of(x, axes), bool(node.option("keep_dims", False))
    if node.x.quant is None or not node.x.quant.scale:
        if x.dtype.kind == "f":
            raise NoKernel("a float product depends on the order")
        return np.asarray(x.prod(axis=over, keepdims=keep), x.dtype)
    if not is_quantized(node.x, "int8", "int16"):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    shape = [1 if i in over else n for i, n in enumerate(x.shape) if keep or i not in over]
    if runtime is not Runtime.REFERENCE and x.size == math.prod(shape):
        return x.reshape(shape)  # optimized/reduce.h (ReduceIsCopy) forgets the scales
    factors = np.moveaxis(x, over, range(len(over))).reshape(-1, *(n for i, n in enumerate(x.shape) if i not in over))
    product = one_after_another(node, factors.astype(np.int64) - zero_point_of(node.x))
    y = (product + zero_point_of(node.y)).clip(*INTEGER_RANGE[node.y.dtype]).astype(x.dtype)
    return y.reshape(shape)


def one_after_another(node: Node, factors: Array) -> Array:
    """The product on the output's grid, in the order of the file. Shapes: (n, …) -> (…)."""
    root = math.pow(float(scale_of(node.y)), 1.0 / len(factors))
    multiplier = quantize_multiplier(float(scale_of(node.x)) / root)
    product: Array = factors[0]
    for factor in factors[1:]:
        product = multiply_int64_by_quantized_multiplier(product * factor, *multiplier)
    return multiply_int64_by_quantized_multiplier(product, *multiplier)
