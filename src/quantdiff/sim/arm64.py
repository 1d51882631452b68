"""Which kernels compute otherwise on ARM64 than on x86-64; all others give the same bits on both.

Measured by the golden tests (``docs/numerics.md``). Sources: ruy ``ruy/kernel_arm64.cc``; LiteRT
``tflite/kernels/cpu_backend_gemm.h``, ``cpu_backend_gemm_custom_gemv.h`` and ``activations.cc``; XNNPACK
``src/configs/{gemm,dwconv,binary-elementwise}-config.c``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

from quantdiff.sim.accumulate import axes_of
from quantdiff.sim.node import Node, NoKernel, fitting
from quantdiff.sim.runtime import Runtime

WORDS = "its last bits on ARM64, where its kernel is another one, are not known"
HALF = (
    "its file lets XNNPACK compute floats in 16 bits on ARM64 (reduced_precision_support), which nobody has simulated"
)
REASONS = (WORDS, HALF)
"""Why something is refused on ARM64 alone."""
LITERT = (Runtime.BUILTIN, Runtime.REFERENCE)
PROJECTION, NORMS = 16, range(20, 24)
"""Where an LSTM has the weights of its projection, and those of its norms."""
HYBRID = ("int8", "uint8", "int4", "int2")
OF_FLOATS = ["LEAKY_RELU", "MAXIMUM", "MINIMUM", "NEG", "PRELU", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "SQRT"]
CURVES = ["COS", "EXP", "GELU", "LOG", "LOGISTIC", "RESIZE_BILINEAR", "RSQRT", "SIN", "SOFTMAX", "TANH"]
BY_ROWS, BY_IMAGES = ("CONV_2D", "FULLY_CONNECTED"), ("TRANSPOSE_CONV",)
GEMV_UNITS, GEMV_DEPTH = 4, 8
"""Sizes from which ``cpu_backend_gemm_custom_gemv.h`` multiplies with a single row, rounding as on x86-64."""


def differs(node: Node, kernel: Runtime) -> bool:
    """True where the kernel of this runtime on ARM64 has a rule of its own for the operator."""
    if _in_half(node, kernel):
        return True
    rules = (table.get((kernel, node.operator.op)) for table in (DIFFERS, UNKNOWN))
    try:
        with fitting():
            return any(rule is not None and rule(node) for rule in rules)
    except NoKernel:  # a damaged operator has no kernel anywhere
        return False


def by_rows(node: Node, kernel: Runtime) -> bool:
    """Whether a single row, pixel or image is computed in a way of its own, so that a batch is not what one sample is.

    So it is in ``builtin``; of floats in XNNPACK, too, and of dynamic range everywhere.
    """
    if node.operator.op in BY_ROWS:
        return kernel is Runtime.BUILTIN or _hybrid(node) or (kernel is Runtime.XNNPACK and _real(node))
    return node.operator.op in BY_IMAGES and kernel is Runtime.XNNPACK and _real_or_hybrid(node)


def refuse_unknown(node: Node, runtime: Runtime) -> None:
    """Refuse what a kernel on ARM64 does otherwise than on x86-64 in a way that nobody has found out.

    Raises:
        NoKernel: it is one of them.
    """
    rule = UNKNOWN.get((runtime.family, node.operator.op))
    if _in_half(node, runtime.family):
        raise NoKernel(HALF)
    if rule is not None and rule(node):
        raise NoKernel(WORDS)


def _in_half(node: Node, kernel: Runtime) -> bool:
    """Floats of a file that lets XNNPACK take 16 bits for them; it does where the processor has such arithmetic."""
    tensors = (*node.inputs, *node.outputs)
    permitted = kernel is Runtime.XNNPACK and node.graph is not None and node.graph.in_half
    return permitted and any(t is not None and t.dtype == "float32" for t in tensors)


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


def _real_or_hybrid(node: Node) -> bool:
    return node.y.dtype == "float32"


def _hybrid(node: Node) -> bool:
    """Float activations on stored integers."""
    return _real_or_hybrid(node) and any(t is not None and t.dtype in HYBRID for t in node.inputs)


def _in_blocks(node: Node) -> bool:
    """Stored integers with a scale for each block."""
    return _real_or_hybrid(node) and any(t is not None and t.blocks for t in node.inputs)


def _wide_or_real(node: Node) -> bool:
    """Float activations, but for weights of 2 bits, whose kernel is as on x86-64."""
    return _real_or_hybrid(node) and all(t is None or t.dtype != "int2" for t in node.inputs)


def _real(node: Node) -> bool:
    return _real_or_hybrid(node) and not _hybrid(node)


def _unsigned_or_real(node: Node) -> bool:
    return _unsigned(node) or _real(node)


def _clamped_at_0(node: Node) -> bool:
    return node.y.dtype == "float32" and node.activation in ("RELU", "RELU6")


def _by_table(node: Node) -> bool:
    """Tables of 16 bits, whose sums are fused."""
    return _is(node, "int16")


def _rare_cell(node: Node) -> bool:
    """A cell of integers with a projection or with layer normalization."""
    return not _real(node) and any(k < len(node.inputs) and node.inputs[k] is not None for k in (PROJECTION, *NORMS))


def _real_or_unsigned(node: Node) -> bool:
    return node.y.dtype in ("float32", "uint8")


def _each(
    runtimes: Sequence[Runtime], ops: Sequence[str], rule: Callable[[Node], bool]
) -> dict[tuple[Runtime, str], Callable[[Node], bool]]:
    return dict.fromkeys(product(runtimes, ops), rule)


DIFFERS: dict[tuple[Runtime, str], Callable[[Node], bool]] = {
    (Runtime.BUILTIN, "CONV_2D"): lambda node: _real_or_hybrid(node) or convolution_by_ruy(node),
    (Runtime.BUILTIN, "FULLY_CONNECTED"): lambda node: _real_or_hybrid(node) or dense_by_ruy(node),
    (Runtime.BUILTIN, "DEPTHWISE_CONV_2D"): _real_or_hybrid,
    **_each(LITERT, ("TRANSPOSE_CONV",), _real_or_hybrid),
    (Runtime.BUILTIN, "HARD_SWISH"): _eight_bit,
    (Runtime.BUILTIN, "SOFTMAX"): lambda node: _eight_bit(node) or _real(node),
    **_each((Runtime.BUILTIN,), ("LOGISTIC", "LOG_SOFTMAX", "MEAN"), _real),
    **_each(LITERT, ("TANH",), lambda node: _real(node) or _eight_bit(node)),
    **_each((Runtime.BUILTIN, Runtime.XNNPACK), ("ELU",), lambda node: True),
    **_each((Runtime.BUILTIN,), ("ADD", "MUL"), _clamped_at_0),
    (Runtime.BUILTIN, "DEQUANTIZE"): lambda node: True,
    **_each((Runtime.XNNPACK,), ("CONV_2D", "FULLY_CONNECTED"), lambda n: _unsigned(n) or _wide_or_real(n)),
    (Runtime.XNNPACK, "DEPTHWISE_CONV_2D"): _unsigned_or_real,
    (Runtime.XNNPACK, "TRANSPOSE_CONV"): lambda node: _unsigned(node) or _real_or_hybrid(node),
    **_each((Runtime.XNNPACK,), [*OF_FLOATS, *CURVES], _real),
    **_each((Runtime.XNNPACK,), ("ADD", "SUB", "DIV"), _clamped_at_0),
    **_each((Runtime.XNNPACK,), ("MEAN", "SUM"), lambda node: _eight_bit(node) or _real(node)),
    (Runtime.XNNPACK, "MUL"): lambda node: _eight_bit(node) or _clamped_at_0(node),
    **_each(LITERT, ("RELU",), _real),
    **_each(LITERT, ("EXP", "LOG", "RSQRT"), _by_table),
    **_each(LITERT, ("GELU",), lambda node: True),
    **_each(LITERT, ("RESIZE_BILINEAR",), _real_or_unsigned),
    **_each(LITERT, ("CONCATENATION",), _unsigned),
    **_each((Runtime.REFERENCE,), ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), _real_or_hybrid),
    **_each((*LITERT, Runtime.XNNPACK), ("BATCH_MATMUL",), _real),
    **_each(LITERT, ("L2_NORMALIZATION",), _real),
    **_each(LITERT, ("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), lambda node: _real_or_hybrid(node) or _rare_cell(node)),
}
"""By the runtime whose kernel runs and the op: whether the node is one for which it has other kernels there."""

UNKNOWN: dict[tuple[Runtime, str], Callable[[Node], bool]] = {
    (Runtime.XNNPACK, "FULLY_CONNECTED"): _in_blocks,
}
"""The same, where nobody knows what they do to the last bit."""
