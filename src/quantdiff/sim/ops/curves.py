"""Curves that go through a table for 8-bit types: LOGISTIC, TANH, ELU, GELU; LiteRT ``tflite/kernels/activations.cc``.

LOGISTIC and TANH: ``SigmoidPrepare``, ``TanhPrepare``. xnnpack: ``src/reference/unary-elementwise.cc`` (``SigmoidOp``,
``TanHOp``) through ``x8-lut``; tflm: ``internal/reference/integer_ops/{logistic,tanh}.h`` in fixed point.
ELU: ``EluPrepare``, a table of float32 values. tflm: ``tensorflow/lite/micro/kernels/elu.cc`` takes ``exp(x) - 1``
where the others take ``expm1``; xnnpack: ``src/reference/unary-elementwise.cc`` (``ELUOp``); floats by a polynomial.
The resolver of reference kernels leaves it out.
GELU: ``GeluPrepare``, ``internal/reference/gelu.h``. Quantized values go through a table, on ``builtin`` kernels in
XNNPACK too; floats through Eigen's ``erfc`` or ``tanh``, under either resolver. tflm has no such op.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import eigen, libm, neon, xnnpack
from quantdiff.sim.floats.elementwise import multiply_add, plain
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel
from quantdiff.sim.rounding import gemmlowp
from quantdiff.sim.rounding.fixed_point import rounding_divide_by_pot
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables import int16_table
from quantdiff.sim.tables.table import fixed_point_table, float_table, look_up

FIRST_ONE, LAST_CURVED = np.float32(16.619047164916992188), np.float32(-9)


LOGISTIC_OF_FLOATS: dict[Runtime, Callable[[Array], Array]] = {
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
        return logistic_from_16_bits(node, x, runtime)
    if node.x.dtype == "float32":
        return LOGISTIC_OF_FLOATS.get(runtime, logistic_with_ends)(x)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    if runtime is Runtime.TFLM:
        return look_up(x, fixed_point_table(node, logistic_from_q4))
    return look_up(
        x, float_table(node, logistic_in_double if runtime is Runtime.XNNPACK else logistic_in_single, runtime)
    )


def logistic_with_ends(x: Array) -> Array:
    """Floats as ``internal/reference/logistic.h``: 1 from 16.619047 on, an exponential alone below -9."""
    lowest = libm.apply("expf", np.minimum(x, LAST_CURVED))
    return np.where(x > FIRST_ONE, np.float32(1), np.where(x < LAST_CURVED, lowest, logistic_in_single(x)))


def logistic_in_single(x: Array) -> Array:
    """LiteRT's: float32 throughout, with the C library's ``expf``."""
    return np.float32(1) / (np.float32(1) + libm.apply("expf", -x))


def logistic_in_double(x: Array) -> Array:
    """XNNPACK's: float64 inside, cut off at ±100."""
    e = np.exp(np.clip(x, -100, 100).astype(np.float64))
    return np.where(x > 100, 1, np.where(x < -100, 0, e / (1 + e))).astype(np.float32)  # noqa: PLR2004


def logistic_from_q4(a: Array) -> Array:
    """TFLM's: Q4 in, 1/256 steps above -128 out."""
    return rounding_divide_by_pot(gemmlowp.logistic(a, 4), 31 - 8) - 128


def logistic_from_16_bits(node: Node, x: Array, runtime: Runtime) -> Array:
    """int16: the table, but gemmlowp's function where ``builtin`` meets a power of two."""
    multiplier, shift = int16_table.how_scaled(node, (0,))
    if multiplier == 0 and runtime is Runtime.BUILTIN:
        return gemmlowp.logistic(gemmlowp.rescale(x.astype(np.int64), shift, 16), 3, 16).astype(np.int16)
    return int16_table.logistic(x, multiplier, shift).astype(np.int16)


TANH_OF_FLOATS = {Runtime.BUILTIN: eigen.tanh, Runtime.XNNPACK: xnnpack.tanh}
"""Where floats have curves of their own; the others ask the C library."""


@kernel("TANH")
def tanh(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute the hyperbolic tangent on the output's grid. Shape as ``x``."""
    if is_quantized(node.x, "int16") and node.y.dtype == "int16":
        return tanh_from_16_bits(node, x, runtime)
    if node.x.dtype == "float32":
        curve = TANH_OF_FLOATS.get(runtime.family)
        return libm.apply_on("tanhf", x, runtime) if curve is None else curve(x, runtime)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    if runtime is Runtime.TFLM:
        return look_up(x, fixed_point_table(node, tanh_from_q4))
    return look_up(x, float_table(node, lambda real: libm.apply_on("tanhf", real, runtime), runtime))


def tanh_from_q4(a: Array) -> Array:
    """TFLM's: Q4 in, 1/128 steps out."""
    return rounding_divide_by_pot(gemmlowp.tanh(a, 4), 31 - 7)


def tanh_from_16_bits(node: Node, x: Array, runtime: Runtime) -> Array:
    """int16: the table, but gemmlowp's function where ``builtin`` meets a power of two."""
    multiplier, shift = int16_table.how_scaled(node, (0, 1))
    if multiplier == 0 and runtime is Runtime.BUILTIN:
        return gemmlowp.tanh(gemmlowp.rescale(x.astype(np.int64), shift, 16), 3, 16).astype(np.int16)
    return int16_table.tanh(x, multiplier, shift).astype(np.int16)


@kernel("ELU")
def elu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` where it is not negative, else ``exp(x) - 1``. Shape as ``x``."""
    if runtime is Runtime.REFERENCE:
        raise NoKernel("this runtime has no such op")
    if plain(node) and node.x.dtype == "float32":
        if runtime.family is Runtime.XNNPACK:
            return neon.elu(x) if runtime.on_arm64 else xnnpack.elu(x)
        return elu_by_expm1(x, runtime)
    if not is_quantized(node.x, "int8"):
        raise NoKernel(f"type {node.x.dtype}")
    return look_up(
        x, float_table(node, elu_by_exp if runtime is Runtime.TFLM else partial(elu_by_expm1, runtime=runtime), runtime)
    )


def elu_by_expm1(x: Array, runtime: Runtime) -> Array:
    """ELU in float32. Shape as ``x``."""
    return np.where(x < 0, libm.apply_on("expm1f", np.minimum(x, 0), runtime), x)


def elu_by_exp(x: Array) -> Array:
    """ELU in float32, less exact near 0. Shape as ``x``."""
    return np.where(x < 0, libm.apply("expf", np.minimum(x, 0)) - np.float32(1), x)


HALF, ONE, CUBIC = np.float32(0.5), np.float32(1), np.float32(0.044715)
MINUS_SQRT_HALF = np.float32(-np.sqrt(0.5))
SQRT_2_OVER_PI = np.float32(np.sqrt(2 / np.pi))


GELU_OF_FLOATS = {
    Runtime.XNNPACK: (xnnpack.gelu, xnnpack.gelu_by_tanh),
    **dict.fromkeys((Runtime.BUILTIN, Runtime.REFERENCE), (eigen.gelu, eigen.gelu_by_tanh)),
}
"""The exact form, and the approximate one."""


@kernel("GELU", batched=lambda node: node.x.dtype != "float32")
def gelu(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute ``x`` times the normal distribution function at ``x``. Shape as ``x``."""
    if runtime is Runtime.TFLM:
        raise NoKernel("this runtime has no such op")
    if plain(node) and node.x.dtype == "float32":
        return GELU_OF_FLOATS[runtime.family][bool(node.option("approximate", False))](x, runtime)
    curve = partial(gelu_by_tanh if node.option("approximate", False) else gelu_by_erfc, runtime=runtime)
    if is_quantized(node.x, "int16"):
        return int16_table.by_points(node, x, curve, runtime)
    if not is_quantized(node.x, "int8", "uint8"):
        raise NoKernel(f"type {node.x.dtype}")
    return look_up(x, float_table(node, curve, runtime))


def gelu_by_erfc(x: Array, runtime: Runtime) -> Array:
    """The exact form in float32 (``GeluTransform``). Shape as ``x``."""
    return HALF * x * libm.apply_on("erfcf", x * MINUS_SQRT_HALF, runtime)


def gelu_by_tanh(x: Array, runtime: Runtime) -> Array:
    """The approximate form in float32 (``GeluTransformApproximate``). Shape as ``x``."""
    inner = SQRT_2_OVER_PI * multiply_add(CUBIC * x * x, x, x, runtime)
    return HALF * x * (ONE + libm.apply_on("tanhf", inner, runtime))
