"""FULLY_CONNECTED and BATCH_MATMUL: products of matrices.

FULLY_CONNECTED: LiteRT ``tflite/kernels/fully_connected.cc``. reference: ``internal/reference/integer_ops/
fully_connected.h``; builtin: ``internal/optimized/integer_ops/fully_connected.h`` and ruy, or
``cpu_backend_gemm_custom_gemv.h`` at batch 1; xnnpack: ``src/operators/fully-connected-nc.c``; tflm:
``tensorflow/lite/micro/kernels/fully_connected_common.cc``.
BATCH_MATMUL: LiteRT ``tflite/kernels/batch_matmul.cc``, ``internal/reference/batch_matmul.h``; xnnpack:
``src/operators/batch-matrix-multiply-nc.c``; tflm: ``tensorflow/lite/micro/kernels/batch_matmul.cc``, with a float64
multiplier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import Axis, centred, gemm, matmul, reach_of
from quantdiff.sim.floats import products as float_products
from quantdiff.sim.floats.products import NARROW, row_products
from quantdiff.sim.hybrid import dense
from quantdiff.sim.node import (
    Node,
    NoKernel,
    check_8_bit,
    clamp_of,
    is_hybrid,
    is_quantized,
    is_real,
    is_wide,
    kernel,
    scale_of,
    zero_point_of,
)
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    by_xnnpack,
    float_product_scale,
    has_int64_sum,
    multiply_int64_by_quantized_multiplier,
    product_scale,
    quantize_multiplier,
    requantize,
    round_sum,
    symmetric,
    wrap_int32,
)
from quantdiff.sim.rounding.rounded import Rounded, requantization
from quantdiff.sim.rounding.scaling import refuse_wrapping_zero_points
from quantdiff.sim.runtime import Runtime

ROUNDING = {
    Runtime.REFERENCE: Rounding.DOUBLE,
    Runtime.BUILTIN: Rounding.RUY,
    Runtime.XNNPACK: Rounding.XNNPACK,
    Runtime.TFLM: Rounding.GEMMLOWP,
    Runtime.XNNPACK_ARM64: Rounding.SINGLE,
    Runtime.BUILTIN_ARM64: Rounding.NEON,
}
ROUNDING_16 = {Runtime.BUILTIN: Rounding.RUY, Runtime.BUILTIN_ARM64: Rounding.SINGLE}
WRAPS_AT = 2**26


@kernel("FULLY_CONNECTED", shared=True)
def fully_connected(
    node: Node, x: Array, w: Array, bias: Array | None = None, *, runtimes: Sequence[Runtime]
) -> tuple[Array, ...] | Rounded:
    """Compute ``y = clamp(z_y + M * ((x - z_x) @ (w - z_w).T + bias))``, M the effective scale.

    Shapes: x (…, depth) of any rank, w (units, depth), bias (units,) -> (batch, units), or (…, units)
    with keep_num_dims.
    """
    if is_hybrid(node) or is_real(node):
        layer = dense if is_hybrid(node) else float_products.dense
        outputs = (layer(node, x.reshape(-1, w.shape[1]), w, bias, runtime) for runtime in runtimes)
        keep = node.option("keep_num_dims", False)
        return tuple(y.reshape(*x.shape[:-1], len(w)) if keep else y for y in outputs)
    if is_wide(node):
        acc = accumulate(node, x, w)
        return tuple(from_16_bits(node, acc, bias, runtime) for runtime in runtimes)
    check_8_bit(node)
    if Runtime.XNNPACK in runtimes:
        refuse_wrapping_bias(node, bias)
    if any(runtime.family is Runtime.BUILTIN for runtime in runtimes):
        refuse_wrapping_zero_points(node)
    units, depth = w.shape[-2:]
    zero_points = zero_point_of(node.x), zero_point_of(node.at(1))
    rows = x.reshape(1, -1, 1, depth)
    axes = Axis(rows.shape[1], 1, 1, 1, 0, rows.shape[1]), Axis(1, 1, 1, 1, 0, 1)
    sums = gemm(rows, w if w.ndim == 2 else w.reshape(units, depth), axes, zero_points, bias)  # noqa: PLR2004
    rules = [
        requantization(node, runtime, ROUNDING[runtime], effective_scale(node, runtime), channels=units)
        for runtime in runtimes
    ]
    shape = (*x.shape[:-1], units) if node.option("keep_num_dims", False) else (-1, units)
    return Rounded(sums, tuple(rules), shape)


def refuse_wrapping_bias(node: Node, bias: Array | None) -> None:
    """XNNPACK's sums for 4-bit weights are 16 times as large, and wrap (``src/qs8-qc4w-gemm``)."""
    if node.at(1).dtype == "int4" and bias is not None and np.any(np.abs(bias.astype(np.int64)) >= WRAPS_AT):
        raise NoKernel("a bias of 2**26 or more on 4-bit weights, which XNNPACK's sums may not hold")


def from_16_bits(node: Node, acc: Array, bias: Array | None, runtime: Runtime) -> Array:
    """int16 × int8: rule D in LiteRT, but R where ``builtin`` can take ruy (zero points 0, no int64 bias)."""
    wide, unsaid = has_int64_sum(node, 2, runtime), node.option("quantized_bias_type", "FLOAT32") == "FLOAT32"
    rounding = Rounding.GEMMLOWP if runtime is Runtime.TFLM else Rounding.DOUBLE
    scale = product_scale(node, rounding)
    if runtime.family is Runtime.BUILTIN and symmetric(node) and (not wide or (bias is None and unsaid)):
        rounding, wide, scale = ROUNDING_16[runtime], False, effective_scale(node, runtime)
    y = round_sum(acc, bias, scale, rounding, wide) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(np.int16)


def accumulate(node: Node, x: Array, w: Array) -> Array:
    """The sums of products before the bias, exact. Shapes: see ``fully_connected``."""
    units, depth = w.shape[-2:]
    rows = (x.astype(np.float32) - np.float32(zero_point_of(node.x))).reshape(-1, depth)
    acc = matmul(rows, centred(w, zero_point_of(node.at(1))).T, reach_of(node.x))
    return acc.reshape(*x.shape[:-1], units) if node.option("keep_num_dims", False) else acc


def effective_scale(node: Node, runtime: Runtime) -> Array:
    """The multiplier; ``builtin`` per tensor rounds ``s_x · s_w`` to float32 on the way."""
    if runtime.family is Runtime.BUILTIN and scale_of(node.at(1)).ndim == 0:
        return float_product_scale(node)
    return product_scale(node, Rounding.XNNPACK if by_xnnpack(runtime) else Rounding.DOUBLE)


BY_REFERENCE = {Runtime.BUILTIN: Runtime.REFERENCE, Runtime.BUILTIN_ARM64: Runtime.REFERENCE_ARM64}


@kernel("BATCH_MATMUL", batched=False)
def batch_matmul(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + M * (a - z_a) @ (b - z_b))``, each side transposed on request.

    Shapes: a (…, m, k), b (…, k, n) -> (…, m, n); the leading axes broadcast.
    """
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    if is_quantized(node.x, "int16") and is_quantized(node.at(1), "int8", "int16") and node.y.dtype == "int16":
        return matmul_from_16_bits(node, left, right, runtime)
    if node.x.dtype == node.at(1).dtype == "float32":
        return matmul_of_floats(left, right, runtime)
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


def matmul_of_floats(left: Array, right: Array, runtime: Runtime, units: int = NARROW) -> Array:
    """A product of matrices after the other, summed as in a dense layer without a bias. Shapes: as above.

    ``builtin`` has no kernel of its own; XNNPACK on ARM64 has but that for many units.
    """
    runtime = BY_REFERENCE.get(runtime, runtime)
    outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    a = np.broadcast_to(left, (*outer, *left.shape[-2:])).reshape(-1, *left.shape[-2:])
    b = np.broadcast_to(right, (*outer, *right.shape[-2:])).reshape(-1, *right.shape[-2:]).swapaxes(1, 2)
    products = [row_products(x, w, None, runtime, len(x), units) for x, w in zip(a, b, strict=True)]
    return np.stack(products).reshape(*outer, left.shape[-2], right.shape[-1])


def matmul_from_16_bits(node: Node, left: Array, right: Array, runtime: Runtime) -> Array:
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
