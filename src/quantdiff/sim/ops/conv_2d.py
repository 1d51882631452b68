"""CONV_2D: LiteRT ``tflite/kernels/conv.cc``.

reference: ``internal/reference/integer_ops/conv.h`` (``ConvPerChannel``); builtin: ``internal/optimized/
integer_ops/conv.h`` through ruy, but the reference kernel for groups; xnnpack:
``src/operators/convolution-nhwc.c``; tflm: ``tensorflow/lite/micro/kernels/conv_common.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import Axis, axes_of, centred, centred_image, gemm, matmul, reach_of, windows
from quantdiff.sim.blocks import Sums
from quantdiff.sim.dynamic_input import REACH
from quantdiff.sim.floats import products as float_products
from quantdiff.sim.hybrid import convolution
from quantdiff.sim.node import Node, check_8_bit, clamp_of, is_hybrid, is_real, is_wide, kernel, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    INT16_REACH,
    NO_ZERO_POINT,
    Rounding,
    has_int64_sum,
    product_scale,
    refuse_weights_off_zero,
    round_sum,
)
from quantdiff.sim.rounding.rounded import Rounded, convolution_rules
from quantdiff.sim.rounding.scaling import refuse_wrapping_zero_points
from quantdiff.sim.runtime import Runtime

ROUNDING = {
    Runtime.XNNPACK: Rounding.XNNPACK,
    Runtime.XNNPACK_ARM64: Rounding.SINGLE,
    Runtime.BUILTIN_ARM64: Rounding.NEON,
}


@kernel("CONV_2D", shared=True)
def conv_2d(
    node: Node, x: Array, w: Array, bias: Array | None = None, *, runtimes: Sequence[Runtime]
) -> tuple[Array, ...] | Rounded:
    """Compute ``y = clamp(z_y + M_o * (sum over window of (x - z_x) * w_o + bias_o))``.

    Shapes: x (n, h, w, c), w (out, kh, kw, c / groups), bias (out,) -> (n, out_h, out_w, out).
    """
    if is_hybrid(node):
        exact_sums = partial(sums, node, zero_point=0, reach=REACH)
        return tuple(convolution(node, x, w, bias, runtime=runtime, sums=exact_sums) for runtime in runtimes)
    if is_real(node):
        return tuple(float_products.convolution(node, x, w, bias, runtime) for runtime in runtimes)
    groups = x.shape[3] // w.shape[3]
    if is_wide(node):
        refuse_weights_off_zero(node)
        acc = sums(node, x, centred(w, NO_ZERO_POINT), NO_ZERO_POINT, INT16_REACH)
        roundings = {r: Rounding.SINGLE if r is Runtime.BUILTIN_ARM64 else rounding_of(r, groups) for r in runtimes}
        return tuple(from_16_bits(node, acc, bias, *each) for each in roundings.items())
    check_8_bit(node)
    if groups == 1 and any(runtime.family is Runtime.BUILTIN for runtime in runtimes):
        refuse_wrapping_zero_points(node)
    axes = axes_of(node, x.shape, (w.shape[1], w.shape[2]))
    rules = convolution_rules(node, {r: rounding_of(r, groups) for r in runtimes}, w.shape[0])
    return Rounded(sums_of(node, x, w, bias, axes), rules, (x.shape[0], axes[0].out, axes[1].out, w.shape[0]))


def sums_of(node: Node, x: Array, w: Array, bias: Array | None, axes: tuple[Axis, Axis]) -> Sums:
    """The accumulators of 8-bit inputs in blocks; padding counts as the zero point."""
    return gemm(x, w, axes, (zero_point_of(node.x), zero_point_of(node.at(1))), bias)


def from_16_bits(node: Node, acc: Array, bias: Array | None, runtime: Runtime, rounding: Rounding) -> Array:
    """int16 × int8: the bias may make it a sum of 64 bits."""
    y = round_sum(acc, bias, product_scale(node, rounding), rounding, has_int64_sum(node, 2, runtime))
    return y.clip(*clamp_of(node, runtime)).astype(np.int16)


def rounding_of(runtime: Runtime, groups: int) -> Rounding:
    """The rule of each runtime; ``builtin`` has no fast kernel for groups. On ARM64: those of ``sim/arm64.py``."""
    if runtime in ROUNDING:
        return ROUNDING[runtime]
    if runtime is Runtime.BUILTIN and groups == 1:
        return Rounding.RUY
    return Rounding.GEMMLOWP


def accumulate(node: Node, x: Array, w: Array) -> Array:
    """The sums of products before the bias, exact; padding counts as the zero point."""
    return sums(node, x, centred(w, zero_point_of(node.at(1))), zero_point_of(node.x), reach_of(node.x))


def sums(node: Node, x: Array, w: Array, zero_point: int, reach: int) -> Array:
    """The same by a zero point of the input that is given, its values no further than ``reach`` from it."""
    axes = axes_of(node, x.shape, (w.shape[1], w.shape[2]))
    columns = windows(centred_image(x, zero_point, axes), axes)
    depth = w.shape[3]
    groups = x.shape[3] // depth
    out = w.shape[0] // groups
    parts = [
        matmul(
            columns[..., g * depth : (g + 1) * depth].reshape(*columns.shape[:3], -1),
            w[g * out : (g + 1) * out].reshape(out, -1).T,
            reach,
        )
        for g in range(groups)
    ]
    return parts[0] if groups == 1 else np.concatenate(parts, axis=-1)
