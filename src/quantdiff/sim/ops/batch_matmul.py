"""BATCH_MATMUL: LiteRT ``tflite/kernels/batch_matmul.cc``, ``internal/reference/batch_matmul.h``.

xnnpack: ``src/operators/batch-matrix-multiply-nc.c``; tflm:
``tensorflow/lite/micro/kernels/batch_matmul.cc``, with a float64 multiplier.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred, matmul
from quantdiff.sim.floats.products import NARROW, row_products
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    float_product_scale,
    multiply_int64_by_quantized_multiplier,
    product_scale,
    quantize_multiplier,
    requantize,
    wrap_int32,
)
from quantdiff.sim.runtime import Runtime

BY_REFERENCE = {Runtime.BUILTIN: Runtime.REFERENCE, Runtime.BUILTIN_ARM64: Runtime.REFERENCE_ARM64}


@kernel("BATCH_MATMUL", batched=False)
def batch_matmul(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + M * (a - z_a) @ (b - z_b))``, each side transposed on request.

    Shapes: a (…, m, k), b (…, k, n) -> (…, m, n); the leading axes broadcast.
    """
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    if is_quantized(node.x, "int16") and is_quantized(node.at(1), "int8", "int16") and node.y.dtype == "int16":
        return from_16_bits(node, left, right, runtime)
    if node.x.dtype == node.at(1).dtype == "float32":
        return of_floats(left, right, runtime)
    if not all(is_quantized(tensor, "int8") for tensor in (node.x, node.at(1), node.y)):
        raise NoKernel(f"types {node.x.dtype} × {node.at(1).dtype}")
    if scale_of(node.at(1)).ndim:
        raise NoKernel("a right side quantized per channel")
    acc = wrap_int32(matmul(centred(left, zero_point_of(node.x)), centred(right, zero_point_of(node.at(1)))))
    rounding = Rounding.XNNPACK if runtime is Runtime.XNNPACK else Rounding.GEMMLOWP
    in_steps = runtime in (Runtime.XNNPACK, Runtime.TFLM)
    scale = product_scale(node, rounding) if in_steps else float_product_scale(node)
    y = requantize(acc, scale, rounding) + zero_point_of(node.y)
    return y.clip(*INTEGER_RANGE[node.y.dtype]).astype(np.int8)


def of_floats(left: Array, right: Array, runtime: Runtime, units: int = NARROW) -> Array:
    """A product of matrices after the other, summed as in a dense layer without a bias. Shapes: as above.

    ``builtin`` has no kernel of its own; XNNPACK on ARM64 has but that for many units.
    """
    runtime = BY_REFERENCE.get(runtime, runtime)
    outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    a = np.broadcast_to(left, (*outer, *left.shape[-2:])).reshape(-1, *left.shape[-2:])
    b = np.broadcast_to(right, (*outer, *right.shape[-2:])).reshape(-1, *right.shape[-2:]).swapaxes(1, 2)
    products = [row_products(x, w, None, runtime, len(x), units) for x, w in zip(a, b, strict=True)]
    return np.stack(products).reshape(*outer, left.shape[-2], right.shape[-1])


def from_16_bits(node: Node, left: Array, right: Array, runtime: Runtime) -> Array:
    """int16 × int8 or int16, summed in 64 bits (``EvalInt16``, ``EvalInt16Int8``).

    LiteRT takes the right side's scale as a whole: where there are several it reads 0, and so is every output.
    """
    if any(zero_point_of(tensor) for tensor in (node.x, node.at(1), node.y)):
        raise NoKernel("16-bit matrices whose zero point is not 0, which the runtimes refuse")
    if runtime is Runtime.TFLM and node.at(1).dtype != "int16":
        raise NoKernel("int16 × int8, for which TFLM has no kernel")
    if scale_of(node.at(1)).ndim:
        if runtime is Runtime.TFLM:
            raise NoKernel("a right side quantized per channel")
        scale = np.zeros(())
    else:
        scale = product_scale(node, Rounding.GEMMLOWP) if runtime is Runtime.TFLM else float_product_scale(node)
    acc = matmul(left.astype(np.int32), right.astype(np.int32))
    y = multiply_int64_by_quantized_multiplier(acc, *quantize_multiplier(scale))
    return y.clip(*INTEGER_RANGE["int16"]).astype(np.int16)
