"""Dense layers of float activations on weights of 4 bits, where ``builtin`` has kernels of its own.

LiteRT ``tflite/kernels/fully_connected.cc`` (``EvalHybridDense4Bit``, ``EvalBlockwise4Bit``),
``internal/optimized/4bit/sse_fully_connected.cc``, ``neon_fully_connected.cc``.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import Array, round_half_away
from quantdiff.sim.accumulate import matmul
from quantdiff.sim.dynamic_input import REACH, asymmetric, xnnpack
from quantdiff.sim.floats.elementwise import clamped, fused_multiply_add, multiply_add
from quantdiff.sim.node import Node, NoKernel, quant_of
from quantdiff.sim.runtime import Runtime, has_avx512_vnni

WIDTH, DEPTH, UNSIGNED = 4, 32, 128
"""Units and depth from which on the packed kernel runs; what makes an int8 value unsigned."""
OFFSET, LOWEST, HIGH = 7, -8, 127
"""What packing adds to each weight, the one that it has no room for, and the largest input."""
HALF, BYTE = 8, 255
"""Weights of a block that share their bytes with as many others, and what -8 becomes."""


def is_packed(w: Tensor, runtime: Runtime) -> bool:
    """True where ``builtin`` packs the weights; its other layers of 4 bits are as those of 8."""
    units, depth = w.shape
    packs = w.dtype == "int4" and w.is_constant and units >= WIDTH and depth >= DEPTH and depth % 2 == 0
    return packs and runtime.family is Runtime.BUILTIN


def blocks_of(node: Node) -> Array | None:
    """The scales of the weights' blocks in float32, None where there are none. Shape: (units, blocks)."""
    w = node.at(1)
    if w.blocks is None or node.graph is None:
        return None
    scales = node.graph.tensors[w.blocks.scales].data
    if scales is None or w.blocks.kind != "BlockwiseQuantization":
        raise NoKernel("blocks whose scales are not stored")
    return scales.astype(np.float32).reshape(w.shape[0], -1)


def dense(node: Node, x: Array, w: Array, bias: Array | None, runtime: Runtime) -> Array:
    """Compute ``clamp((s_x * -7 * sum(q) * s_w + b) + acc * s_x * s_w)``, each row quantized by its largest magnitude.

    ARM64 fuses: the bias, all sums of a single row, and of several rows the units that fill no four.
    Shapes: x (rows, depth), w (units, depth), bias (units,) -> (rows, units).
    """
    reach = np.abs(x).max(axis=1, keepdims=True)
    reach = np.where(reach == 0, np.float32(HIGH), reach).astype(np.float64)
    s_x = (reach / HIGH).astype(np.float32)
    q = round_half_away(x * (HIGH / reach).astype(np.float32)).astype(np.int32)
    scale = np.asarray(quant_of(node.at(1)).scale, np.float32)
    offset = (-OFFSET * q.sum(axis=1, keepdims=True)).astype(np.float32) * s_x
    start = offset * scale if bias is None else multiply_add(offset, scale, bias, runtime)
    real = matmul(q, raised(w, runtime).T, REACH).astype(np.float32) * s_x
    y = start + real * scale
    if runtime.on_arm64:
        body = len(w) // WIDTH * WIDTH if math.prod(node.x.shape) > x.shape[1] else 0
        y[:, body:] = fused_multiply_add(real, scale, start)[:, body:]
    return clamped(node, y, runtime)


def raised(w: Array, runtime: Runtime) -> Array:
    """Each weight plus 7 in four bits; -8 fills all of them, and those of its neighbour (``SsePackInner``). Shape as w.

    Of 32 weights the even ones and the odd ones are packed by themselves: the first eight in upper halves of bytes.
    """
    up = (w.astype(np.int32) + OFFSET) & BYTE
    if not np.any(w == LOWEST):
        return up
    if runtime.on_arm64:
        raise NoKernel("a weight of -8, which the packed kernel of ARM64 has no room for")
    for start in range(0, w.shape[1], DEPTH):
        for one in (up[:, start : start + DEPTH : 2], up[:, start + 1 : start + DEPTH : 2]):
            first, second = one[:, :HALF].copy(), one[:, HALF:].copy()
            together = first << 4 & BYTE
            together[:, : second.shape[1]] |= second
            if one.shape[1] == 2 * HALF:  # in a vector: what two bytes are shifted by passes from one to the other
                together[:, 1::2] |= first[:, ::2] >> 4
            one[:, :HALF], one[:, HALF:] = together >> 4, together[:, : second.shape[1]] & 15
    return up


def dense_of_blocks(x: Array, w: Array, bias: Array | None, scales: Array, runtime: Runtime) -> Array:
    """Compute ``(sum of acc_k * s_k - z_x * sum of s_k * sum(w_k)) * s_x + b`` over the blocks k, in their order.

    The fused activation is left out, as the kernel leaves it. ARM64 fuses each product but the last onto its sum.
    Shapes: as ``dense``; scales (units, blocks).
    """
    dynamic, size = asymmetric(x, runtime), x.shape[1] // scales.shape[1]
    total, sums = np.zeros((len(x), len(w)), np.float32), np.zeros(len(w), np.float32)
    for k in range(scales.shape[1]):
        block = w[:, k * size : (k + 1) * size].astype(np.int32)
        acc = matmul(dynamic.q[:, k * size : (k + 1) * size], block.T, REACH)
        total = multiply_add(acc.astype(np.float32), scales[:, k], total, runtime)
        sums = sums + scales[:, k] * block.sum(axis=1).astype(np.float32)
    real = multiply_add(-dynamic.zero_point.astype(np.float32), sums, total, runtime) * dynamic.scale
    return np.asarray(real if bias is None else real + bias)


def dense_of_blocks_xnnpack(x: Array, w: Array, bias: Array | None, scales: Array) -> Array:
    """The same in XNNPACK (``src/qd8-f32-qb4w-gemm``), where inputs are unsigned and scales are cut to bfloat16."""
    if not has_avx512_vnni():
        raise NoKernel("weights in blocks on a processor without AVX-512 VNNI, whose kernels are not simulated")
    dynamic, size, scales = xnnpack(x), x.shape[1] // scales.shape[1], as_bfloat16(scales)
    q, zero_point = dynamic.q + UNSIGNED, (dynamic.zero_point + UNSIGNED).astype(np.float32)
    blocks = [(w[:, k : k + size].astype(np.int32), q[:, k : k + size]) for k in range(0, x.shape[1], size)]
    sums = np.zeros(len(w), np.float32)
    for k, (block, _) in enumerate(blocks):
        sums = sums - block.sum(axis=1).astype(np.float32) * scales[:, k]
    total = sums * zero_point
    for k, (block, values) in enumerate(blocks):
        acc = matmul(values, block.T, 2 * UNSIGNED).astype(np.float32)
        total = fused_multiply_add(acc, np.broadcast_to(scales[:, k], acc.shape), total)
    real = total * dynamic.scale
    return np.asarray(real if bias is None else real + bias)


def as_bfloat16(x: Array) -> Array:
    """The nearest float32 with 8 bits of mantissa, ties to even. Shape as ``x``."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
