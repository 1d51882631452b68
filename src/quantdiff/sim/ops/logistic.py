"""LOGISTIC: LiteRT ``tflite/kernels/activations.cc`` (``SigmoidPrepare``), a table for 8-bit types.

xnnpack: ``src/reference/unary-elementwise.cc`` (``SigmoidOp``) through ``x8-lut``; tflm:
``internal/reference/integer_ops/logistic.h`` in fixed point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import eigen, libm, neon, xnnpack
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel
from quantdiff.sim.rounding import gemmlowp
from quantdiff.sim.rounding.fixed_point import rounding_divide_by_pot
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import int16_table
from quantdiff.sim.tables.table import fixed_point_table, float_table, look_up

FIRST_ONE, LAST_CURVED = np.float32(16.619047164916992188), np.float32(-9)


FLOATS: dict[Runtime, Callable[[Array], Array]] = {
    Runtime.BUILTIN: partial(eigen.logistic, runtime=Runtime.BUILTIN),
    Runtime.BUILTIN_ARM64: partial(eigen.logistic, runtime=Runtime.BUILTIN_ARM64),
    Runtime.XNNPACK: xnnpack.logistic,
    Runtime.XNNPACK_ARM64: neon.logistic,
}
"""Where floats have curves of their own; the others ask the C library."""


@kernel("LOGISTIC", batched=lambda node: node.x.dtype != "float32")
def logistic(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``y = 1 / (1 + exp(-x))`` on the output's grid. Shape as ``x``."""
    if is_quantized(node.x, "int16") and node.y.dtype == "int16":
        return from_16_bits(node, x, runtime)
    if node.x.dtype == "float32":
        return FLOATS.get(runtime, with_ends)(x)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    if runtime is Runtime.TFLM:
        return look_up(x, fixed_point_table(node, from_q4))
    return look_up(x, float_table(node, double if runtime is Runtime.XNNPACK else single, runtime))


def with_ends(x: Array) -> Array:
    """Floats as ``internal/reference/logistic.h``: 1 from 16.619047 on, an exponential alone below -9."""
    lowest = libm.apply("expf", np.minimum(x, LAST_CURVED))
    return np.where(x > FIRST_ONE, np.float32(1), np.where(x < LAST_CURVED, lowest, single(x)))


def single(x: Array) -> Array:
    """LiteRT's: float32 throughout, with the C library's ``expf``."""
    return np.float32(1) / (np.float32(1) + libm.apply("expf", -x))


def double(x: Array) -> Array:
    """XNNPACK's: float64 inside, cut off at ±100."""
    e = np.exp(np.clip(x, -100, 100).astype(np.float64))
    return np.where(x > 100, 1, np.where(x < -100, 0, e / (1 + e))).astype(np.float32)  # noqa: PLR2004


def from_q4(a: Array) -> Array:
    """TFLM's: Q4 in, 1/256 steps above -128 out."""
    return rounding_divide_by_pot(gemmlowp.logistic(a, 4), 31 - 8) - 128


def from_16_bits(node: Node, x: Array, runtime: Runtime) -> Array:
    """int16: the table, but gemmlowp's function where ``builtin`` meets a power of two."""
    multiplier, shift = int16_table.how_scaled(node, (0,))
    if multiplier == 0 and runtime is Runtime.BUILTIN:
        return gemmlowp.logistic(gemmlowp.rescale(x.astype(np.int64), shift, 16), 3, 16).astype(np.int16)
    return int16_table.logistic(x, multiplier, shift).astype(np.int16)
