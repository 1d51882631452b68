"""EXP, ELU, GELU, LOG: int8 through a table of 256 entries, float by the C library.

LiteRT ``tflite/kernels/{exp,activations,elementwise}.cc`` (``LUTPopulate``); tflm:
``tensorflow/lite/micro/kernels/elu.cc``; xnnpack takes ELU: ``src/reference/unary-elementwise.cc`` (``ELUOp``).
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim import libm
from quantdiff.sim.floats import plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.table import float_table, look_up

HALF, SQRT_HALF, CUBIC = np.float32(0.5), np.float32(np.sqrt(0.5)), np.float32(0.044715)
SQRT_2_OVER_PI = np.float32(np.sqrt(2 / np.pi))


@kernel("EXP")
def exp(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``exp(x)``. Shape as ``x``."""
    if plain(node):
        return in_float(node, x, "expf", runtime)
    return by_table(node, x, lambda real: libm.apply("expf", real), runtime)


@kernel("LOG")
def log(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``log(x)``; the lowest output where x is not positive. Shape as ``x``."""
    if plain(node):
        return in_float(node, x, "logf", runtime)

    def function(real: Array) -> Array:
        lowest = np.float32(INTEGER_RANGE[node.y.dtype][0] - zero_point_of(node.y)) * scale_of(node.y)
        return np.where(real > 0, libm.apply("logf", np.where(real > 0, real, 1)), lowest)

    return by_table(node, x, function, runtime)


@kernel("ELU")
def elu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` where it is not negative, else ``exp(x) - 1``. Shape as ``x``."""
    below = exp_minus_one if runtime is Runtime.TFLM else expm1
    return by_table(node, x, lambda real: np.where(real < 0, below(real), real), runtime)


def expm1(x: Array) -> Array:
    """LiteRT's and XNNPACK's ``exp(x) - 1``."""
    return libm.apply("expm1f", x)


def exp_minus_one(x: Array) -> Array:
    """TFLM's, which loses bits near 0."""
    return libm.apply("expf", x) - np.float32(1)


@kernel("GELU")
def gelu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` times the normal distribution below x, or its approximation by tanh. Shape as ``x``."""
    return by_table(node, x, approximate_gelu if node.option("approximate", False) else exact_gelu, runtime)


def exact_gelu(x: Array) -> Array:
    """``x erfc(-x / sqrt 2) / 2`` in float32."""
    return HALF * x * libm.apply("erfcf", x * -SQRT_HALF)


def approximate_gelu(x: Array) -> Array:
    """``x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))) / 2`` in float32."""
    inner = SQRT_2_OVER_PI * (x + CUBIC * x * x * x)
    return HALF * x * (np.float32(1) + libm.apply("tanhf", inner))


def by_table(node: Node, x: Array, function: libm.Vector, runtime: Runtime) -> Array:
    """The function of an 8-bit value."""
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    return look_up(x, float_table(node, function, runtime))


def in_float(node: Node, x: Array, name: str, runtime: Runtime) -> Array:
    """The function of a float value."""
    if runtime is Runtime.XNNPACK:
        raise NoKernel("XNNPACK approximates it by polynomials of its own")
    if x.dtype != np.float32:
        raise NoKernel(f"type {node.x.dtype}")
    return libm.apply(name, x)
