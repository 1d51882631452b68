"""GELU: LiteRT ``tflite/kernels/activations.cc`` (``GeluPrepare``), ``internal/reference/gelu.h``.

Quantized values go through a table, on ``builtin`` kernels in XNNPACK too; floats through Eigen's ``erfc`` or ``tanh``,
under either resolver. tflm has no such op.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import eigen, glibc_arm64, xnnpack_curves
from quantdiff.sim.floats.elementwise import multiply_add, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import lut_int16
from quantdiff.sim.tables.table import float_table, look_up

HALF, ONE, CUBIC = np.float32(0.5), np.float32(1), np.float32(0.044715)
MINUS_SQRT_HALF = np.float32(-np.sqrt(0.5))
SQRT_2_OVER_PI = np.float32(np.sqrt(2 / np.pi))


FLOATS = {
    Runtime.XNNPACK: (xnnpack_curves.gelu, xnnpack_curves.gelu_by_tanh),
    **dict.fromkeys((Runtime.BUILTIN, Runtime.REFERENCE), (eigen.gelu, eigen.gelu_by_tanh)),
}
"""The exact form, and the approximate one."""


@kernel("GELU", batched=lambda node: node.x.dtype != "float32")
def gelu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` times the normal distribution function at ``x``. Shape as ``x``."""
    if runtime is Runtime.TFLM:
        raise NoKernel("this runtime has no such op")
    if plain(node) and node.x.dtype == "float32":
        return FLOATS[runtime.family][bool(node.option("approximate", False))](x, runtime)
    curve = partial(by_tanh if node.option("approximate", False) else by_erfc, runtime=runtime)
    if is_quantized(node.x, "int16"):
        return lut_int16.apply(node, x, curve, runtime)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    return look_up(x, float_table(node, curve, runtime))


def by_erfc(x: Array, runtime: Runtime) -> Array:
    """The exact form in float32 (``GeluTransform``). Shape as ``x``."""
    return HALF * x * glibc_arm64.apply("erfcf", x * MINUS_SQRT_HALF, runtime)


def by_tanh(x: Array, runtime: Runtime) -> Array:
    """The approximate form in float32 (``GeluTransformApproximate``). Shape as ``x``."""
    inner = SQRT_2_OVER_PI * multiply_add(CUBIC * x * x, x, x, runtime)
    return HALF * x * (ONE + glibc_arm64.apply("tanhf", inner, runtime))
