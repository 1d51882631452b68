"""Dynamic range: float activations on int8 weights, summed as integers, scaled in float32.

Sources: LiteRT ``tflite/kernels/fully_connected.cc`` (``EvalHybridDense``), ``conv.cc`` (``EvalHybrid``,
``EvalHybridPerChannel``), ``depthwise_conv.cc`` (``EvalHybridPerChannel``), ``transpose_conv.cc`` (``EvalHybrid``),
``internal/reference/transpose_conv.h`` (``HybridTransposeConv``), ``internal/optimized/
sse_tensor_utils.cc`` (``SseMatrixBatchVectorMultiplyAccumulateImpl``), ``internal/optimized/optimized_ops.h``
(``HybridConv``, ``HybridConvPerChannel``), ``internal/optimized/integer_ops/depthwise_conv_hybrid.h``,
``internal/reference/conv.h``, ``internal/reference/integer_ops/depthwise_conv.h``; XNNPACK
``src/qd8-f32-qc8w-gemm``, on a CPU with FMA.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim import hybrid_4_bit
from quantdiff.sim.accumulate import axes_of, matmul
from quantdiff.sim.dynamic_input import LOW as LOWEST
from quantdiff.sim.dynamic_input import REACH, VECTOR, DynamicInput, asymmetric, kleidi, symmetric, xnnpack
from quantdiff.sim.floats.elementwise import clamped, fused_multiply_add, multiply_add
from quantdiff.sim.node import Node, NoKernel, quant_of, zero_point_of
from quantdiff.sim.runtime import Runtime

Sums = Callable[[Array, Array], Array]
"""The sums of products of an op: (inputs, weights), both integers, exact."""
Spread = Callable[[Array, Array, Callable[[Array, Array], Array] | None], Array]
"""The same of a transposed convolution; a function adds each product to the floats so far, in LiteRT's order."""
DEPTHWISE_VECTOR = 4
"""Channels that ``builtin`` scales together in a depthwise convolution."""
GEMM_ROWS = 4
"""``builtin`` and ``reference`` hand a convolution to ruy where this divides the channels."""
BLOCK = 16
"""Products that the SSE kernel, and NEON's, adds at once."""
GEMM_BATCH, GEMM_LEAST, LARGE = 16, 2, 128 * 128
"""On ARM64: rows from which on ruy takes a dense layer, how much more than it is oblong, and a large matrix."""


def dense(node: Node, x: Array, w: Array, bias: Array | None, runtime: Runtime) -> Array:
    """Compute ``y = clamp(bias + s_x * s_w * (q_x - z_x) @ w.T)``, q_x from each row's own range.

    Shapes: x (rows, depth), w (units, depth), bias (units,) -> (rows, units).
    """
    blocks = hybrid_4_bit.blocks_of(node)
    if blocks is not None and runtime is Runtime.XNNPACK:
        return clamped(node, hybrid_4_bit.dense_of_blocks_xnnpack(x, w, bias, blocks), runtime)
    if hybrid_4_bit.is_packed(node.at(1), runtime):
        if blocks is not None:
            return hybrid_4_bit.dense_of_blocks(x, w, bias, blocks, runtime)
        return hybrid_4_bit.dense(node, x, w, bias, runtime)
    scale = np.zeros(1, np.float32)  # where there are blocks: the tensor itself has none, and nobody asks for theirs
    if blocks is None or runtime is Runtime.TFLM:
        scale = _channel_scale(node, len(w), runtime, shared=True)
    if runtime.family is Runtime.XNNPACK:
        dynamic = kleidi(x) if runtime.on_arm64 else xnnpack(x)
        return clamped(node, _by_xnnpack(_products(dynamic.centred, w), dynamic.scale, scale, bias, runtime), runtime)
    start = np.zeros(1, np.float32) if bias is None else bias
    y = products_onto(start, node, x, w, scale, runtime=runtime, rows=math.prod(node.x.shape) // x.shape[1])
    y = clamped(node, np.where(zero_samples(node, x), start, y), runtime)
    return y + np.float32(0) if node.activation in ("RELU", "RELU6") else y  # where max(0, -0) is 0


def products_onto(  # noqa: PLR0913 (what is multiplied, onto what, and how)
    start: Array, node: Node, x: Array, w: Array, scale: Array, *, runtime: Runtime, rows: int
) -> Array:
    """LiteRT's sums (``MatrixBatchVectorMultiplyAccumulate``) onto what is there, each row of x on a grid of its own.

    ``rows`` go into one call of the kernel.

    Shapes: x (rows, depth), w (units, depth), scale (units,) or fewer, start (rows, units) or fewer -> (rows, units).
    """
    dynamic = (asymmetric if node.option("asymmetric_quantize_inputs", False) else symmetric)(x, runtime)
    acc, scale = _products(dynamic.centred, w), dynamic.scale * scale
    if not runtime.on_arm64:
        return start + (acc + sse_defect(_products, dynamic.q, w)).astype(np.float32) * scale
    if by_four_dots(rows, *w.shape):
        return start + acc.astype(np.float32) * scale
    return fused_multiply_add((acc + neon_defect(dynamic.q, w)).astype(np.float32), scale, start)


def by_four_dots(rows: int, units: int, depth: int) -> bool:
    """Where four rows go together, whose sums are rounded before they are added, on processors with dot products.

    ``internal/optimized/neon_tensor_utils.cc``: ``NeonMatrixBatchVectorMultiplyAccumulate``, ``UseCpuBackendGemm``.
    """
    apart = (max(units // depth, depth // units)).bit_length() - 1
    if rows >= GEMM_BATCH and units % GEMM_ROWS == 0 and rows.bit_length() - 1 - apart > GEMM_LEAST:
        return False
    fits = depth % BLOCK == 0 and units % 2 == 0 and units >= rows
    return fits and (rows % GEMM_ROWS == 0 or (rows > 1 and units * depth >= LARGE))


def neon_defect(q: Array, w: Array) -> Array:
    """What NEON's 16 bits lose where two products of -128 by -128 meet, eight apart in a block of 16.

    Shapes: q (rows, depth), w (units, depth) -> (rows, units).
    """
    if not np.any(w == LOWEST):
        return np.zeros((), np.float32)
    body = w.shape[1] // BLOCK * BLOCK
    left, right = ((a[:, :body] == LOWEST).reshape(len(a), -1, 2, BLOCK // 2).all(axis=2) for a in (q, w))
    return np.asarray(-(2.0**16) * (left.reshape(len(q), -1).astype(np.float64) @ right.reshape(len(w), -1).T))


def zero_samples(node: Node, x: Array) -> Array:
    """True for the rows of a call to the kernel that is all 0 and leaves the bias as it is. Shape (rows, 1)."""
    calls = len(x) // max(1, math.prod(node.x.shape) // x.shape[1])
    return np.repeat(~x.reshape(calls, -1).any(axis=1), len(x) // calls)[:, None]


def plus(bias: Array | None, real: Array) -> Array:
    """The sum, or ``real`` alone."""
    return real if bias is None else real + bias


def convolution(node: Node, x: Array, w: Array, bias: Array | None, *, runtime: Runtime, sums: Sums) -> Array:
    """Compute ``y = clamp(s_x * s_w * sums(q_x - z_x, w) + bias)``, q_x from each sample's own range.

    Shapes: x (n, h, w, c), w (out, kh, kw, c / groups), bias (out,) -> (n, out_h, out_w, out).
    """
    if node.at(1).dtype == "int2":
        raise NoKernel("weights of 2 bits, which LiteRT's convolution reads as floats")
    groups = x.shape[3] // w.shape[3]
    scale = _channel_scale(node, len(w), runtime, shared=groups == 1)
    if runtime.family is Runtime.XNNPACK:
        pixels = groups == 1 and is_dense(node, w)
        rows = kleidi if runtime.on_arm64 else xnnpack
        dynamic = rows(x.reshape(-1, x.shape[3])) if pixels else xnnpack(x.reshape(len(x), -1))
        s_x = dynamic.scale.reshape(*x.shape[:3], 1) if pixels else _spread(dynamic)
        acc = sums(dynamic.centred.reshape(x.shape), w)
        alone = not pixels and math.prod(acc.shape[1:3]) == 1  # whose kernel is as on x86-64
        return clamped(node, _by_xnnpack(acc, s_x, scale, bias, Runtime.XNNPACK if alone else runtime), runtime)
    if bias is None:
        raise NoKernel("a hybrid convolution without a bias, which LiteRT requires")
    if groups == 1 and np.all(scale == scale[0]):
        dynamic = symmetric(x.reshape(len(x), -1), runtime)
        q = dynamic.q.reshape(x.shape)
        acc, s_x = sums(q, w), _spread(dynamic)
        if len(w) % GEMM_ROWS and not runtime.on_arm64:
            acc = acc + sse_defect(sums, q, w)
        return clamped(node, acc.astype(np.float32) * (s_x * scale[0]) + bias, runtime)
    dynamic = asymmetric(x.reshape(len(x), -1), runtime)
    real, s_x = sums(dynamic.centred.reshape(x.shape), w).astype(np.float32), _spread(dynamic)
    fast = runtime.family is Runtime.BUILTIN and groups == 1
    return clamped(node, (real * (scale * s_x) if fast else real * scale * s_x) + bias, runtime)


def transposed(  # noqa: PLR0913 (the operands, and how)
    node: Node, x: Array, w: Array, bias: Array | None, *, runtime: Runtime, spread: Spread, alone: bool
) -> Array:
    """Compute ``y = clamp(s_x * s_w * spread(q_x - z_x, w) + bias)``, q_x from each image's own range.

    LiteRT scales every product by itself and adds floats in the order of the inputs. ``alone``: XNNPACK takes one pixel
    at a time, whose kernel is as on x86-64.
    Shapes: x (n, h, w, c), w (out, kh, kw, c), bias (out,); ``spread`` gives (n, out_h, out_w, out).
    """
    scale, rows = _channel_scale(node, len(w), runtime, shared=True), x.reshape(len(x), -1)
    by_delegate = runtime.family is Runtime.XNNPACK
    dynamic = xnnpack(rows) if by_delegate else asymmetric(rows, runtime)
    q, s_x = dynamic.centred.reshape(x.shape), _spread(dynamic)
    if by_delegate:
        rule = Runtime.XNNPACK if alone else runtime
        return clamped(node, _by_xnnpack(spread(q, w, None), s_x, scale, bias, rule), runtime)
    y = spread(q, w, lambda sums, products: multiply_add(products.astype(np.float32) * scale, s_x, sums, runtime))
    return clamped(node, plus(bias, y), runtime)


def is_dense(node: Node, w: Array) -> bool:
    """True where XNNPACK makes a dense layer of a convolution, so that each pixel is quantized by its own range.

    ``src/subgraph/convolution-2d.c`` (``xnn_define_convolution_2d``). Shape: w (out, kh, kw, c).
    """
    strides = (node.option("stride_h", 1), node.option("stride_w", 1))
    return w.shape[1:3] == strides == (1, 1) and w.shape != (1, 1, 1, 1)


def depthwise(node: Node, x: Array, w: Array, bias: Array | None, *, runtime: Runtime, sums: Sums) -> Array:
    """Compute ``y = clamp(s_x * s_w * sums(q_x - z_x, w) + bias)`` channel by channel.

    Shapes: x (n, h, w, c), w (1, kh, kw, c * m), bias (c * m,) -> (n, out_h, out_w, c * m).
    """
    scale = _channel_scale(node, w.shape[3], runtime)
    if bias is None and runtime.family is Runtime.BUILTIN:
        raise NoKernel("a hybrid depthwise convolution without a bias, which LiteRT reads all the same")
    dynamic = asymmetric(x.reshape(len(x), -1), runtime)
    real, s_x = sums(dynamic.centred.reshape(x.shape), w).astype(np.float32), _spread(dynamic)
    if runtime.family is not Runtime.BUILTIN or (runtime.on_arm64 and by_three(node, x.shape, w.shape)):
        return clamped(node, plus(bias, real * (scale * s_x)), runtime)
    body = len(scale) // DEPTHWISE_VECTOR * DEPTHWISE_VECTOR
    vectors, tail = (real * scale * s_x)[..., :body], (real * s_x * scale)[..., body:]
    return clamped(node, plus(bias, np.concatenate([vectors, tail], axis=-1)), runtime)


def by_three(node: Node, x: tuple[int, ...], w: tuple[int, ...]) -> bool:
    """Where ARM64 has a kernel for windows of three by three.

    ``internal/optimized/depthwiseconv_3x3_filter_common.h`` (``Fast3x3FilterKernelSupported``). Shapes: x (n, h, w, c),
    w (1, 3, 3, c).
    """
    if w[1:] != (3, 3, x[3]) or x[3] % VECTOR:
        return False
    rows, columns = axes_of(node, x, (3, 3))
    if rows.stride != columns.stride or rows.stride > 2 or max(rows.dilation, columns.dilation) > 1:  # noqa: PLR2004
        return False
    before, sizes = {rows.before, columns.before}, x[1:3]
    if before not in ({0}, {1}):
        return False
    reach = [axis.stride * (axis.out - 1) - axis.before + 3 for axis in (rows, columns)]
    inside = all(end <= size + axis.before for end, size, axis in zip(reach, sizes, (rows, columns), strict=True))
    return inside and (before == {0} or 1 not in sizes or set(sizes) == {1})


def sse_defect(sums: Sums, q: Array, w: Array) -> Array:
    """What the SSE kernel adds wrongly where a weight is -128: it cannot negate it for an input below 0.

    Whole blocks of a row only (``DotProdInt8x4x4``). Shapes: as ``sums`` takes them.
    """
    flat = np.where(w == np.iinfo(np.int8).min, 256, 0).reshape(len(w), -1)
    flat[:, flat.shape[1] // BLOCK * BLOCK :] = 0
    return sums(np.minimum(q, 0), flat.reshape(w.shape)) if flat.any() else np.zeros((), np.float32)


def _products(q: Array, w: Array) -> Array:
    """The sums of a dense layer. Shapes: q (rows, depth), w (units, depth) -> (rows, units)."""
    return matmul(q, w.astype(np.int32).T, REACH)


def _spread(dynamic: DynamicInput) -> Array:
    """The scales of the samples, for an image. Shape (n, 1, 1, 1)."""
    return dynamic.scale.reshape(-1, 1, 1, 1)


def _by_xnnpack(acc: Array, s_x: Array, s_w: Array, bias: Array | None, runtime: Runtime) -> Array:
    """The input's scale first, then the weights' together with the bias; on ARM64 both scales at once."""
    b, real = np.zeros(1, np.float32) if bias is None else bias, acc.astype(np.float32)
    return real * (s_x * s_w) + b if runtime.on_arm64 else fused_multiply_add(real * s_x, s_w, b)


def _channel_scale(node: Node, channels: int, runtime: Runtime, shared: bool = False) -> Array:
    """The weights' scales, one per channel, as float32; ``shared`` where a kernel spreads a single one."""
    if runtime is Runtime.TFLM:
        raise NoKernel("float activations on int8 weights, for which TFLM has no kernel")
    if runtime.family is Runtime.XNNPACK and zero_point_of(node.at(1)):  # which the others ignore
        raise NoKernel("weights whose zero point is not 0, which XNNPACK refuses")
    scale = np.asarray(quant_of(node.at(1)).scale, np.float32)
    if scale.size == 1 < channels and not (shared or runtime.family is Runtime.XNNPACK):
        raise NoKernel("one scale for all channels, where LiteRT reads one per channel")
    return np.broadcast_to(scale, (channels,))
