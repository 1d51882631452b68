"""DEPTHWISE_CONV_2D: LiteRT ``tflite/kernels/depthwise_conv.cc``.

reference: ``internal/reference/integer_ops/depthwise_conv.h``; builtin: ``internal/optimized/integer_ops/
depthwise_conv.h`` (``DepthwiseConvGeneral``) and ``optimized_ops.h`` (``Quantize``: vectors of eight
channels, then a scalar tail), for uint8 ``depthwiseconv_uint8.h``; xnnpack:
``src/operators/convolution-nhwc.c``; tflm: ``tensorflow/lite/micro/kernels/depthwise_conv_common.cc``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import add_bias, centred, exact_dtype
from quantdiff.sim.fixed_point import Rounding, requantize
from quantdiff.sim.node import Node, clamp_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.scales import check_8_bit, convolution_scale, product_scale
from quantdiff.sim.wide import is_wide, refuse_weights_off_zero, round_sum
from quantdiff.sim.window import axes_of, pad_image

VECTOR = 8
"""Channels that the vectorised loop of ``builtin`` rounds together."""


@kernel("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(node: Node, x: Array, w: Array, bias: Array | None = None, *, runtime: Runtime) -> Array:
    """Compute ``y = clamp(z_y + M_o * (sum over window of (x - z_x) * w_o + bias_o))``, channel by channel.

    Shapes: x (n, h, w, c), w (1, kh, kw, c * m), bias (c * m,) -> (n, out_h, out_w, c * m).
    """
    if is_wide(node):
        refuse_weights_off_zero(node)
        wide_scale = product_scale(node, Rounding.GEMMLOWP)
        y = round_sum(accumulate(node, x, w), bias, wide_scale, Rounding.GEMMLOWP, int64_sum=True)
        return y.clip(*clamp_of(node, runtime)).astype(np.int16)
    check_8_bit(node)
    acc = add_bias(accumulate(node, x, w), bias)
    old = node.x.dtype == "uint8" and runtime is Runtime.BUILTIN  # whose kernel rounds as the reference does
    rounded = round_channels(acc, partial(convolution_scale, node), Runtime.REFERENCE if old else runtime)
    return (rounded + zero_point_of(node.y)).clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def round_channels(acc: Array, scale_of: Callable[[Rounding], Array], runtime: Runtime) -> Array:
    """The accumulators scaled; in ``builtin`` the last ``channels mod 8`` channels round otherwise."""
    if runtime is Runtime.XNNPACK:
        return requantize(acc, scale_of(Rounding.XNNPACK), Rounding.XNNPACK)
    scale = np.broadcast_to(scale_of(Rounding.GEMMLOWP), acc.shape[-1:])
    if runtime is not Runtime.BUILTIN:
        return requantize(acc, scale, Rounding.GEMMLOWP)
    body = acc.shape[-1] // VECTOR * VECTOR
    parts = [
        requantize(acc[..., :body], scale[:body], Rounding.RUY),
        requantize(acc[..., body:], scale[body:], Rounding.GEMMLOWP),
    ]
    return np.concatenate(parts, axis=-1)


def accumulate(node: Node, x: Array, w: Array) -> Array:
    """The sums of products before the bias, as int64: one shifted product per tap."""
    _, taps_h, taps_w, channels = w.shape
    axes = rows, columns = axes_of(node, x.shape, (taps_h, taps_w))
    centred_x = pad_image(centred(x, zero_point_of(node.x)), axes, 0)
    kernel_w = centred(w, zero_point_of(node.at(1)))
    dtype = exact_dtype(centred_x, kernel_w.reshape(-1, channels))
    image = np.repeat(centred_x.astype(dtype), channels // x.shape[3], axis=3)
    acc = np.zeros((x.shape[0], rows.out, columns.out, channels), dtype)
    for i in range(taps_h):
        for j in range(taps_w):
            top, left = i * rows.dilation, j * columns.dilation
            seen = image[:, top :: rows.stride, left :: columns.stride][:, : rows.out, : columns.out]
            acc += seen * kernel_w[0, i, j].astype(dtype)
    return acc.astype(np.int64)
