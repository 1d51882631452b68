"""CONV_2D: LiteRT ``tflite/kernels/conv.cc``.

reference: ``internal/reference/integer_ops/conv.h`` (``ConvPerChannel``); builtin: ``internal/optimized/
integer_ops/conv.h`` through ruy, but the reference kernel for groups; xnnpack:
``src/operators/convolution-nhwc.c``; tflm: ``tensorflow/lite/micro/kernels/conv_common.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import add_bias, centred, matmul
from quantdiff.sim.fixed_point import Rounding, requantize
from quantdiff.sim.node import Node, clamp_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.scales import check_8_bit, convolution_scale, product_scale
from quantdiff.sim.wide import has_int64_sum, is_wide, refuse_weights_off_zero, round_sum
from quantdiff.sim.window import axes_of, pad_image, windows


@kernel("CONV_2D")
def conv_2d(node: Node, x: Array, w: Array, bias: Array | None = None, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + M_o * (sum over window of (x - z_x) * w_o + bias_o))``.

    Shapes: x (n, h, w, c), w (out, kh, kw, c / groups), bias (out,) -> (n, out_h, out_w, out).
    """
    rounding = rounding_of(runtime, groups=x.shape[3] // w.shape[3])
    if is_wide(node):
        refuse_weights_off_zero(node)
        wide = has_int64_sum(node, 2)
        y = round_sum(accumulate(node, x, w), bias, product_scale(node, rounding), rounding, wide)
        return y.clip(*clamp_of(node, runtime)).astype(np.int16)
    check_8_bit(node)
    acc = add_bias(accumulate(node, x, w), bias)
    y = requantize(acc, convolution_scale(node, rounding), rounding) + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def rounding_of(runtime: Runtime, groups: int) -> Rounding:
    """The rule of each runtime; ``builtin`` has no fast kernel for groups."""
    if runtime is Runtime.XNNPACK:
        return Rounding.XNNPACK
    if runtime is Runtime.BUILTIN and groups == 1:
        return Rounding.RUY
    return Rounding.GEMMLOWP


def accumulate(node: Node, x: Array, w: Array) -> Array:
    """The sums of products before the bias, as int64; padding counts as the zero point."""
    axes = axes_of(node, x.shape, (w.shape[1], w.shape[2]))
    centred_x = pad_image(centred(x, zero_point_of(node.x)), axes, 0)
    columns = windows(centred_x, axes)
    kernel_w = centred(w, zero_point_of(node.at(1)))
    depth = w.shape[3]
    groups = x.shape[3] // depth
    out = w.shape[0] // groups
    parts = [
        matmul(
            columns[..., g * depth : (g + 1) * depth].reshape(*columns.shape[:3], -1),
            kernel_w[g * out : (g + 1) * out].reshape(out, -1).T,
        )
        for g in range(groups)
    ]
    return parts[0] if groups == 1 else np.concatenate(parts, axis=-1)
