"""ADD and SUB: LiteRT ``tflite/kernels/{add,sub}.cc``, ``internal/reference/integer_ops/add.h``.

builtin's vectors for ADD: ``internal/optimized/integer_ops/add.h`` and ``internal/optimized/optimized_ops.h``
(``AddElementwise``, ``AddScalarBroadcast``). xnnpack: ``src/microparams-init.c``
(``xnn_init_qs8_add_minmax_scalar_params``), multipliers of 21 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import centred
from quantdiff.sim.blocks import LookedUp, Sums, blocks_of, flattened, width_of
from quantdiff.sim.floats.elementwise import clamped, computed, plain, section_of
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel, loops, scale_of, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rint,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)
from quantdiff.sim.rounding.rounded import Rounded, requantization
from quantdiff.sim.runtime import Runtime

LEFT_SHIFT, NARROW_SHIFT = 20, 15
VECTOR = WIDE = 16
"""16-bit elements, and 8-bit ones, that ``builtin`` adds together."""
NARROW = 8
"""The same of uint8, or where one operand is a single value."""
MULTIPLIER_BITS = 20


NEARLY_WHOLE = 1e-3
"""How far a logarithm of base 2 may be from a whole one (``CheckedLog2``)."""


@kernel("ADD", shared=True)
def add(node: Node, a: Array, b: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Compute ``y = clamp(z_y + (s_a (a - z_a) + s_b (b - z_b)) / s_y)``. Shapes broadcast."""
    return add_or_subtract(node, a, b, 1, runtimes)


@kernel("SUB", shared=True)
def sub(node: Node, a: Array, b: Array, *, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Compute ``y = clamp(z_y + (s_a (a - z_a) - s_b (b - z_b)) / s_y)``. Shapes broadcast."""
    return add_or_subtract(node, a, b, -1, runtimes)


def add_or_subtract(node: Node, a: Array, b: Array, sign: int, runtimes: Sequence[Runtime]) -> tuple[Array, ...]:
    """Both ops, by each runtime's integers; plain numbers as they are."""
    if plain(node):
        function = np.add if sign > 0 else np.subtract
        return tuple(clamped(node, computed(runtime, function, a, b), runtime) for runtime in runtimes)
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")
    if node.x.dtype == "int16":
        if set(runtimes) != {Runtime.TFLM}:
            refuse_powers_of_two(node)
        operands = centred(a, zero_point_of(node.x)), centred(b, zero_point_of(node.at(1)))
        return tuple(of_16_bits(node, *operands, sign, runtime) for runtime in runtimes)
    shape = np.broadcast_shapes(a.shape, b.shape)
    flat = flattened(a, shape).view(np.uint8), flattened(b, shape).view(np.uint8)
    outputs: dict[object, Array] = {}

    def by(terms: Terms) -> Array:
        key = terms.key()
        if key not in outputs:
            outputs[key] = added(node, flat, shape, terms)
        return outputs[key]

    return tuple(in_8_bits(node, sign, runtime, by) for runtime in runtimes)


def refuse_powers_of_two(node: Node) -> None:
    """LiteRT has a kernel of shifts for 16 bits, where the file asks for it and all scales are powers of two."""
    powers = [np.log(scale_of(tensor)) * np.float32(1 / np.log(2)) for tensor in (node.x, node.at(1), node.y)]
    if node.option("pot_scale_int16", True) and all(abs(power - np.rint(power)) < NEARLY_WHOLE for power in powers):
        raise NoKernel("16-bit operands whose scales are powers of two, which LiteRT shifts")


def in_8_bits(node: Node, sign: int, runtime: Runtime, by: Callable[[Terms], Array]) -> Array:
    """The output of one runtime; ``by`` computes it for all elements by the same terms."""
    if runtime is Runtime.XNNPACK:
        return by(in_21_bits(node, sign))
    vectors = vectors_of(node) if sign > 0 and runtime is Runtime.BUILTIN else None
    if vectors is None:
        return by(in_three_steps(node, sign))
    inside = by(in_three_steps(node, sign, vectors.scaled))
    if vectors.whole == vectors.length:
        return inside
    held = vectors.hold(np.arange(inside.size)).reshape(inside.shape)
    return np.where(held, inside, by(in_three_steps(node, sign)))


@dataclass(frozen=True, slots=True)
class Vectors:
    """Which elements ``builtin`` adds in vectors, and how it scales their operands there.

    Of every ``length`` elements in a row the first ``whole``.
    """

    length: int
    whole: int
    scaled: Callable[[Array, ArrayLike, int], Array]

    def hold(self, elements: Array) -> Array:
        """Whether elements, counted in the output of one sample or of many, are among them. Shape as ``elements``."""
        return np.asarray(elements % self.length < self.whole)


def vectors_of(node: Node) -> Vectors | None:
    """The vectors of an 8-bit ADD; None where there are none.

    Elements of int8 go by sixteen, and their operands are rounded once; those of uint8, and a single value with many,
    by eight, and what is left of the shift drops bits.
    """
    section = section_of(node.x.shape, node.at(1).shape)
    if section is None:
        return None
    width, scaled = (WIDE, scaled_once) if node.x.dtype == "int8" and not section.is_scalar else (NARROW, scaled_down)
    whole = section.length // width * width
    return Vectors(section.length, whole, scaled) if whole else None


@dataclass(frozen=True, slots=True)
class Terms:
    """What each of the 256 values of an operand contributes to the sum, by its byte, and how the sum is rounded."""

    left: Array
    right: Array
    scale: float
    rounding: Rounding
    runtime: Runtime

    def key(self) -> tuple[object, ...]:
        """Equal for equal terms, which give equal outputs."""
        return self.left.tobytes(), self.right.tobytes(), self.scale, self.rounding, self.runtime


def added(node: Node, operands: tuple[Array, Array], shape: tuple[int, ...], terms: Terms) -> Array:
    """The output, of ``shape``, for two operands of 8 bits that are flat bytes."""
    size = operands[0].size
    width, pairs = width_of(size), LookedUp(*operands, terms.left, terms.right)
    rule = requantization(node, terms.runtime, terms.rounding, terms.scale, channels=width)
    blocks = blocks_of(pairs, width, loops(size), lambda a, b: terms.left[a] + terms.right[b])
    (y,) = Rounded(Sums(size // width, np.zeros(width, np.int32), blocks), (rule,), shape).whole()
    return y


def values_of(dtype: str, zero_point: int) -> Array:
    """Every value of an 8-bit operand without its zero point, in the order of its bytes."""
    return centred(np.arange(256, dtype=np.uint8).view(dtype), zero_point).astype(np.int64)


def in_three_steps(node: Node, sign: int, scaled: Callable[..., Array] | None = None) -> Terms:
    """Scale both operands to twice the larger scale, by rule G or as ``scaled``, add, scale to the output by rule G."""
    a, b = ((node.at(i).dtype, float(scale_of(node.at(i))), zero_point_of(node.at(i))) for i in (0, 1))
    return _in_three_steps(a, b, float(scale_of(node.y)), sign, scaled or scaled_twice)


@lru_cache(maxsize=256)
def _in_three_steps(
    a: tuple[str, float, int], b: tuple[str, float, int], scale: float, sign: int, scaled: Callable[..., Array]
) -> Terms:
    """The same for operands given as type, scale and zero point; kept, since samples come in parts."""
    twice = 2 * max(a[1], b[1])
    left, right = (scaled(values_of(dtype, point), own / twice, LEFT_SHIFT) for dtype, own, point in (a, b))
    last = twice / (2.0**LEFT_SHIFT * scale)
    return Terms(left.astype(np.int32), (sign * right).astype(np.int32), last, Rounding.GEMMLOWP, Runtime.REFERENCE)


def of_16_bits(node: Node, a: Array, b: Array, sign: int, runtime: Runtime) -> Array:
    """The same three steps with a shorter shift; the vectors of ``builtin``'s ADD round the operands once."""
    if runtime is Runtime.XNNPACK:
        m_a, m_b, shift = multipliers_of_21_bits(node)
        steps = (a.astype(np.int64) * m_a + sign * b.astype(np.int64) * m_b + (1 << (shift - 1))) >> shift
        return (steps + zero_point_of(node.y)).clip(*clamp_of(node, Runtime.XNNPACK)).astype(node.y.dtype)
    y = in_three_wide_steps(node, a, b, sign, scaled_twice)
    if node.operator.op == "ADD" and runtime is Runtime.BUILTIN and a.shape == b.shape:
        size = math.prod(node.y.shape)
        in_vector = np.arange(y.size).reshape(y.shape) % size < size // VECTOR * VECTOR
        y = np.where(in_vector, in_three_wide_steps(node, a, b, sign, scaled_once), y)
    return (y + zero_point_of(node.y)).clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def in_three_wide_steps(node: Node, a: Array, b: Array, sign: int, how: Callable[..., Array]) -> Array:
    """The sum before zero point and clamp; ``how`` scales the operands, once as in ``AddElementwiseInt16``."""
    scales = [np.float64(scale_of(t)) for t in (node.x, node.at(1))]
    twice = 2 * max(scales)
    left, right = (how(x.astype(np.int64), s / twice, NARROW_SHIFT) for x, s in zip((a, b), scales, strict=True))
    return scaled_twice(left + sign * right, twice / (2.0**NARROW_SHIFT * np.float64(scale_of(node.y))), 0)


def scaled_twice(x: Array, scale: ArrayLike, left_shift: int) -> Array:
    """``x * scale * 2**left_shift`` by rule G, after the shift."""
    return multiply_by_quantized_multiplier(x << left_shift, *quantize_multiplier(scale), Rounding.GEMMLOWP)


def scaled_once(x: Array, scale: ArrayLike, left_shift: int) -> Array:
    """The same where what is left of the shift goes first, so that there is one rounding; a shift down drops bits."""
    mantissa, shift = quantize_multiplier(scale)
    whole = int(shift) + left_shift
    shifted = wrap_int32(x << whole) if whole >= 0 else x >> -whole
    return saturating_rounding_doubling_high_mul(shifted, mantissa)


def scaled_down(x: Array, scale: ArrayLike, left_shift: int) -> Array:
    """The same by two steps, the second of which drops bits instead of rounding."""
    mantissa, shift = quantize_multiplier(scale)
    return saturating_rounding_doubling_high_mul(wrap_int32(x << left_shift), mantissa) >> -min(int(shift), 0)


def in_21_bits(node: Node, sign: int) -> Terms:
    """Multipliers of at most 21 bits, one sum, one shift half up."""
    a, b = ((node.at(i).dtype, zero_point_of(node.at(i))) for i in (0, 1))
    return _in_21_bits(a, b, multipliers_of_21_bits(node), sign)


@lru_cache(maxsize=256)
def _in_21_bits(a: tuple[str, int], b: tuple[str, int], multipliers: tuple[int, int, int], sign: int) -> Terms:
    """The same for operands given as type and zero point; kept, since samples come in parts."""
    m_a, m_b, shift = multipliers
    left, right = values_of(*a) * m_a, values_of(*b) * (sign * m_b)
    return Terms(left.astype(np.int32), right.astype(np.int32), 2.0**-shift, Rounding.SINGLE, Runtime.XNNPACK)


def multipliers_of_21_bits(node: Node) -> tuple[int, int, int]:
    """Of both operands, and the shift of the sum."""
    ratios = [scale_of(t) / scale_of(node.y) for t in (node.x, node.at(1))]
    _, exponent = np.frexp(max(ratios))
    shift = MULTIPLIER_BITS - (int(exponent) - 1)
    m_a, m_b = (int(rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return m_a, m_b, shift
