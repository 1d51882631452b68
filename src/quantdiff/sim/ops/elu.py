"""ELU: LiteRT ``tflite/kernels/activations.cc`` (``EluPrepare``), a table of float32 values.

tflm: ``tensorflow/lite/micro/kernels/elu.cc`` takes ``exp(x) - 1`` where the others take ``expm1``;
xnnpack: ``src/reference/unary-elementwise.cc`` (``ELUOp``); floats by a polynomial.
The resolver of reference kernels leaves it out.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import glibc_arm64, libm, neon, xnnpack_curves
from quantdiff.sim.floats.elementwise import plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.table import float_table, look_up


@kernel("ELU")
def elu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` where it is not negative, else ``exp(x) - 1``. Shape as ``x``."""
    if runtime is Runtime.REFERENCE:
        raise NoKernel("this runtime has no such op")
    if plain(node) and node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return neon.elu(x) if runtime.on_arm64 else xnnpack_curves.elu(x)
        return bent(x, runtime)
    if not is_quantized(node.x, "int8"):
        raise NoKernel(f"type {node.x.dtype}")
    return look_up(
        x, float_table(node, bent_by_exp if runtime is Runtime.TFLM else partial(bent, runtime=runtime), runtime)
    )


def bent(x: Array, runtime: Runtime) -> Array:
    """ELU in float32. Shape as ``x``."""
    return np.where(x < 0, glibc_arm64.apply("expm1f", np.minimum(x, 0), runtime), x)


def bent_by_exp(x: Array) -> Array:
    """ELU in float32, less exact near 0. Shape as ``x``."""
    return np.where(x < 0, libm.apply("expf", np.minimum(x, 0)) - np.float32(1), x)
