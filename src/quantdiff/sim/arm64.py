"""Which kernels compute otherwise on ARM64 than on x86-64; all others give the same bits on both.

Measured by the golden tests (``docs/numerics.md``). Sources: ruy ``ruy/kernel_arm64.cc``; LiteRT
``tflite/kernels/cpu_backend_gemm.h``, ``cpu_backend_gemm_custom_gemv.h`` and ``activations.cc``; XNNPACK
``src/configs/{gemm,dwconv,binary-elementwise}-config.c``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from quantdiff.sim.node import Node
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.window import axes_of

LITERT = (Runtime.BUILTIN, Runtime.REFERENCE)
GEMV_UNITS, GEMV_DEPTH = 4, 8
"""Sizes from which ``cpu_backend_gemm_custom_gemv.h`` multiplies with a single row, rounding as on x86-64."""


def differs(node: Node, kernel: Runtime) -> bool:
    """True where the kernel of this runtime on ARM64 has a rule of its own for the operator."""
    rule = DIFFERS.get((kernel, node.operator.op))
    return rule is not None and rule(node)


def dense_by_ruy(node: Node) -> bool:
    """All but the single row of 8 bits that has a kernel of its own."""
    if _is(node, "int16"):
        return True
    units, depth = node.at(1).shape[-2:]
    return _eight_bit(node) and not _by_gemv(math.prod(node.x.shape) // depth, units, depth)


def convolution_by_ruy(node: Node) -> bool:
    """All without groups, but for the single pixel of 8 bits that has a kernel of its own."""
    out, *taps, depth = node.at(1).shape
    if not _is(node, "int8", "uint8", "int16") or node.x.shape[3] != depth:
        return False
    if _is(node, "int16"):
        return True
    pixels = node.x.shape[0] * math.prod(axis.out for axis in axes_of(node, node.x.shape, (taps[0], taps[1])))
    return not _by_gemv(pixels, out, math.prod(taps) * depth)


def _by_gemv(rows: int, units: int, depth: int) -> bool:
    return rows == 1 and units >= GEMV_UNITS and depth >= GEMV_DEPTH


def _is(node: Node, *dtypes: str) -> bool:
    return node.y.dtype in dtypes and node.y.quant is not None and bool(node.y.quant.scale)


def _eight_bit(node: Node) -> bool:
    return _is(node, "int8", "uint8")


def _unsigned(node: Node) -> bool:
    return _is(node, "uint8")


def _by_table(node: Node) -> bool:
    """Tables of 16 bits, whose sums are fused; and what no uint8 can hold."""
    return _is(node, "uint8", "int16")


DIFFERS: dict[tuple[Runtime, str], Callable[[Node], bool]] = {
    (Runtime.BUILTIN, "CONV_2D"): convolution_by_ruy,
    (Runtime.BUILTIN, "FULLY_CONNECTED"): dense_by_ruy,
    (Runtime.BUILTIN, "SOFTMAX"): _eight_bit,
    (Runtime.XNNPACK, "CONV_2D"): _unsigned,
    (Runtime.XNNPACK, "DEPTHWISE_CONV_2D"): _unsigned,
    (Runtime.XNNPACK, "FULLY_CONNECTED"): _unsigned,
    (Runtime.XNNPACK, "MUL"): _eight_bit,
    (Runtime.XNNPACK, "TRANSPOSE_CONV"): _unsigned,
    **dict.fromkeys(((r, op) for r in LITERT for op in ("EXP", "GELU", "LOG", "RSQRT")), _by_table),
    **dict.fromkeys(((r, "CONCATENATION") for r in LITERT), _unsigned),
    (Runtime.BUILTIN, "DEQUANTIZE"): lambda node: True,
}
"""By the runtime whose kernel runs and the op: whether the node is one for which it has other kernels there."""
