"""Arithmetic beside ADD and SUB: MUL, DIV, FLOOR_DIV, FLOOR_MOD, SQUARED_DIFFERENCE, ADD_N.

MUL: LiteRT ``tflite/kernels/mul.cc``, ``internal/reference/integer_ops/mul.h``. xnnpack:
``src/qs8-vmul/sse-mul16-ld64.c.in``, on ARM64 ``src/qs8-vmul/neon.c.in`` (RNDNU, which is rule S); tflm:
``tensorflow/lite/micro/kernels/mul_common.cc``.
DIV: ``tflite/kernels/div.cc``, ``internal/reference/div.h`` (``DivElementwise``) on all runtimes; xnnpack declines it.
FLOOR_DIV and FLOOR_MOD are unquantized: ``tflite/kernels/{floor_div,floor_mod}.cc``.
SQUARED_DIFFERENCE: LiteRT and tflm ``squared_difference.cc``. Both inputs on a common grid, twice as coarse as the
coarser one and 7 bits finer; xnnpack takes floats alone.
ADD_N: LiteRT ``tflite/kernels/add_n.cc``; tflm: ``tensorflow/lite/micro/kernels/add_n.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.blocks import Multiplied, Sums, blocks_of, flattened, width_of
from quantdiff.sim.floats.elementwise import clamped, computed, plain
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel, loops, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    product_scale,
    quantize_multiplier,
    requantize,
    rounding_divide_by_any_pot,
    saturating_rounding_doubling_high_mul,
)
from quantdiff.sim.rounding.gemmlowp import get_reciprocal
from quantdiff.sim.rounding.rounded import Rounded, requantization
from quantdiff.sim.runtime import Runtime

ROUNDING = {Runtime.XNNPACK: Rounding.XNNPACK, Runtime.XNNPACK_ARM64: Rounding.SINGLE}


@kernel("MUL", shared=True)
def mul(node: Node, a: Array, b: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...] | Rounded:
    """Compute ``y = clamp(z_y + M (a - z_a) (b - z_b))``. Shapes broadcast.

    ``M = s_a s_b / s_y`` in float32 everywhere but in tflm, which takes float64.
    """
    if plain(node):
        return tuple(clamped(node, computed(runtime, np.multiply, a, b), runtime) for runtime in runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if node.x.dtype == node.at(1).dtype == node.y.dtype != "int16":
        return multiplied_in_8_bits(node, a, b, runtimes)
    product = centred(a, zero_point_of(node.x)).astype(np.int64) * centred(b, zero_point_of(node.at(1)))
    return tuple(rounded_product(node, product, runtime) for runtime in runtimes)


def rounded_product(node: Node, product: Array, runtime: Runtime) -> Array:
    """The products as one runtime has them."""
    y = requantize(product, scale_of_product(node, runtime), rounding_of_product(runtime)) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def multiplied_in_8_bits(node: Node, a: Array, b: Array, runtimes: Sequence[Runtime]) -> Rounded:
    """The same in one go over the operands."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    points, size = (zero_point_of(node.x), zero_point_of(node.at(1))), math.prod(shape)
    width, pairs = width_of(size), Multiplied(flattened(a, shape), flattened(b, shape), points)
    rules = [
        requantization(node, r, rounding_of_product(r), scale_of_product(node, r), channels=width) for r in runtimes
    ]
    blocks = blocks_of(pairs, width, loops(size), lambda x, y: centred(x, points[0]) * centred(y, points[1]))
    return Rounded(Sums(size // width, np.zeros(width, np.int32), blocks), tuple(rules), shape)


def rounding_of_product(runtime: Runtime) -> Rounding:
    """The rule of each runtime."""
    return ROUNDING.get(runtime, Rounding.GEMMLOWP)


def scale_of_product(node: Node, runtime: Runtime) -> Array:
    """The multiplier of each runtime."""
    return product_scale(node, Rounding.GEMMLOWP if runtime is Runtime.TFLM else Rounding.XNNPACK)


INTEGER_BITS = 31
"""Of a divisor, which is a whole number of steps."""


@kernel("DIV")
def div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``a / b``; integers are cut off towards zero. Shapes broadcast."""
    if not plain(node):
        return quantized_quotient(node, a, b, runtime)
    if a.dtype.kind == "f":
        return clamped(node, computed(runtime, np.divide, a, b), runtime)
    quotient = np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64))
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


def quantized_quotient(node: Node, a: Array, b: Array, runtime: Runtime) -> Array:
    """Return ``clamp(z_y + M (a - z_a) / (b - z_b))``, with ``M = s_a / (s_b s_y)``, each factor rounded by itself."""
    check_divided(node, runtime)
    dividend, divisor = (centred(q, zero_point_of(t)).astype(np.int64) for q, t in ((a, node.x), (b, node.at(1))))
    if not divisor.all():
        raise NoKernel("a divisor of 0")
    mantissa, shift = quantize_multiplier(scale_of_quotient(node, runtime))
    inverse, over_unit = get_reciprocal(np.abs(divisor), INTEGER_BITS)
    x = dividend * np.sign(divisor)
    room = sign_bits(x)
    quotient = saturating_rounding_doubling_high_mul(x << room, inverse)
    steps = saturating_rounding_doubling_high_mul(quotient, mantissa)
    exponent = room + over_unit - shift
    if np.any(exponent < 0):
        raise NoKernel("a multiplier so large that C leaves the shift undefined")
    y = rounding_divide_by_any_pot(steps, exponent) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def check_divided(node: Node, runtime: Runtime) -> None:
    """Refuse what the runtime has no kernel for."""
    known = ("int8",) if runtime is Runtime.TFLM else ("int8", "uint8", "int16")
    if not all(is_quantized(t, *known) and t.dtype == node.x.dtype for t in (node.x, node.at(1), node.y)):
        raise NoKernel(f"types {node.x.dtype} / {node.at(1).dtype} -> {node.y.dtype}")


def scale_of_quotient(node: Node, runtime: Runtime) -> Array:
    """The multiplier of each runtime: tflm takes float64."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    a, b, y = (np.asarray(scale_of(t), wide) for t in (node.x, node.at(1), node.y))
    return np.asarray(np.divide(a, np.multiply(b, y)))


def sign_bits(x: Array) -> Array:
    """How far an int32 can be shifted left without loss (``CountLeadingSignBits``)."""
    return INTEGER_BITS - np.frexp(np.where(x < 0, ~x, x).astype(np.float64))[1].astype(np.int64)


@kernel("FLOOR_DIV")
def floor_div(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return ``floor(a / b)``, of floats by a quotient in float64. Shapes broadcast."""
    del node, runtime
    if a.dtype.kind != "f":
        return a // b
    return np.floor(a.astype(np.float64) / b).astype(np.float32)


@kernel("FLOOR_MOD")
def floor_mod(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return what is left of ``a``, with the sign of ``b``. Shapes broadcast."""
    del node, runtime
    if a.dtype.kind != "f":
        return np.mod(a, b)
    left = np.fmod(a, b)
    return np.where((left != 0) & ((b < 0) != (left < 0)), left + b, left)


LEFT_SHIFT = {"int8": 7, "int16": 0}


@kernel("SQUARED_DIFFERENCE")
def squared_difference(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Compute ``(a - b)**2``. Shapes broadcast."""
    if plain(node) and node.x.dtype in ("float32", "int32"):
        difference = computed(runtime, np.subtract, a, b)
        return computed(runtime, np.square, difference)
    if not is_quantized(node.x, "int8", *(("int16",) if runtime is Runtime.TFLM else ())):
        raise NoKernel(f"type {node.x.dtype}")
    left = LEFT_SHIFT[node.x.dtype]
    tensors = node.at(0), node.at(1)
    coarse = 2 * max(np.float64(scale_of(tensor)) for tensor in tensors)
    scale = coarse * coarse / (np.float64(scale_of(node.y)) * 4.0**left)
    if scale >= 1 and runtime is not Runtime.TFLM:
        raise NoKernel(f"a multiplier of {scale:.3g}: this runtime stops at 1")
    x, y = (on_common_grid(v, t, coarse, left) for v, t in zip((a, b), tensors, strict=True))
    steps = requantize((x - y) ** 2, scale, Rounding.GEMMLOWP) + zero_point_of(node.y)
    return steps.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)


def on_common_grid(q: Array, tensor: Tensor, coarse: float, left_shift: int) -> Array:
    """The values in units of ``coarse / 2**left_shift``. Shape as ``q``."""
    shifted = centred(q, zero_point_of(tensor)).astype(np.int64) << left_shift
    return requantize(shifted, np.float64(scale_of(tensor)) / coarse, Rounding.GEMMLOWP)


@kernel("ADD_N")
def add_n(node: Node, first: Array, *others: Array, runtime: Runtime) -> Array:
    """Return the inputs added one after another. Shape as each of them."""
    del runtime
    if not plain(node):
        raise NoKernel(f"type {node.x.dtype}, quantized")
    total = first
    for other in others:
        total = total + other
    return total
