"""DEPTHWISE_CONV_2D: LiteRT ``tflite/kernels/depthwise_conv.cc``.

reference: ``internal/reference/integer_ops/depthwise_conv.h``; builtin: ``internal/optimized/integer_ops/
depthwise_conv.h`` (``DepthwiseConvGeneral``) and ``optimized_ops.h`` (``Quantize``: vectors of eight
channels, then a scalar tail), for uint8 ``depthwiseconv_uint8.h``; xnnpack:
``src/operators/convolution-nhwc.c``; tflm: ``tensorflow/lite/micro/kernels/depthwise_conv_common.cc``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from types import ModuleType

import numpy as np
from numpy.typing import DTypeLike

from quantdiff.quant import Array
from quantdiff.sim.accumulate import (
    Axis,
    as_bytes,
    axes_of,
    centred,
    centred_image,
    exact_dtype,
    in_one,
    kept,
    reach_of,
    seen_zero,
)
from quantdiff.sim.blocks import Channels, Sums
from quantdiff.sim.dynamic_input import REACH
from quantdiff.sim.floats import products as float_products
from quantdiff.sim.hybrid import depthwise
from quantdiff.sim.node import (
    Node,
    check_8_bit,
    clamp_of,
    is_hybrid,
    is_real,
    is_wide,
    kernel,
    loops,
    sized,
    zero_point_of,
)
from quantdiff.sim.rounding.fixed_point import (
    INT16_REACH,
    NO_ZERO_POINT,
    Rounding,
    product_scale,
    refuse_narrow_bias,
    refuse_weights_off_zero,
    requantize,
    round_sum,
)
from quantdiff.sim.rounding.rounded import Rounded, convolution_rules
from quantdiff.sim.runtime import Runtime

VECTOR = 8
"""Channels that the vectorised loop of ``builtin`` rounds together."""


@kernel("DEPTHWISE_CONV_2D", shared=True)
def depthwise_conv_2d(
    node: Node, x: Array, w: Array, bias: Array | None = None, *, runtimes: Sequence[Runtime]
) -> tuple[Array, ...] | Rounded:
    """Compute ``y = clamp(z_y + M_o * (sum over window of (x - z_x) * w_o + bias_o))``, channel by channel.

    Shapes: x (n, h, w, c), w (1, kh, kw, c * m), bias (c * m,) -> (n, out_h, out_w, c * m).
    """
    if is_hybrid(node):
        exact_sums = partial(sums, node, zero_point=0, reach=REACH)
        return tuple(depthwise(node, x, w, bias, runtime=runtime, sums=exact_sums) for runtime in runtimes)
    if is_real(node):
        return tuple(float_products.depthwise(node, x, w, bias, runtime) for runtime in runtimes)
    if is_wide(node):
        refuse_weights_off_zero(node)
        refuse_narrow_bias(bias, "TFLM")
        acc, scale = (
            sums(node, x, centred(w, NO_ZERO_POINT), NO_ZERO_POINT, INT16_REACH),
            product_scale(node, Rounding.GEMMLOWP),
        )
        y = round_sum(acc, bias, scale, Rounding.GEMMLOWP, int64_sum=True)
        return tuple(y.clip(*clamp_of(node, runtime)).astype(np.int16) for runtime in runtimes)
    check_8_bit(node)
    axes = axes_of(node, x.shape, w.shape[1:3])
    fast = node.x.dtype == "int8" and w.shape[3] >= VECTOR  # the uint8 kernel of builtin does as the reference
    roundings = {r: rounding_of(r, fast) for r in runtimes}
    rules = convolution_rules(node, roundings, w.shape[3], tail=w.shape[3] % VECTOR)
    return Rounded(sums_of(node, x, w, bias, axes), rules, (x.shape[0], axes[0].out, axes[1].out, w.shape[3]))


def rounding_of(runtime: Runtime, fast: bool) -> Rounding:
    """The rule of each runtime's vectors; ``builtin`` has some where it is ``fast``."""
    if runtime.family is Runtime.XNNPACK:
        return Rounding.XNNPACK if runtime is Runtime.XNNPACK else Rounding.SINGLE
    return Rounding.RUY if fast and runtime is Runtime.BUILTIN else Rounding.GEMMLOWP


def sums_of(node: Node, x: Array, w: Array, bias: Array | None, axes: tuple[Axis, Axis]) -> Sums:
    """The accumulators of 8-bit inputs in blocks."""
    channels, (rows, columns) = w.shape[3], axes
    positions = x.shape[0] * rows.out * columns.out
    compiled = loops(positions * channels)
    if compiled is None:
        offset = np.zeros(channels, np.int32) if bias is None else bias.reshape(-1).astype(np.int32)
        return Sums(positions, offset, [accumulate(node, x, w).reshape(-1, channels)])
    if channels % x.shape[3]:
        raise ValueError(f"{channels} channels of weights for {x.shape[3]} of the image")
    zero_point, kind = zero_point_of(node.x), compiled.packed_type(w.dtype, zero_point_of(node.at(1))) or np.int16
    packed, total = packed_channels(w, kind, zero_point_of(node.at(1)), below(compiled, kind, rows))
    first = 0 if bias is None else bias.reshape(-1).astype(np.int64)
    offset = first - seen_zero(zero_point, x.dtype) * total
    image = x if channels == x.shape[3] else np.repeat(x, channels // x.shape[3], 3)
    return in_one(positions, offset, block_of(compiled, image, zero_point, packed, axes), w[..., 0].size)


def below(compiled: ModuleType, kind: DTypeLike, rows: Axis) -> tuple[int, ...]:
    """How many lines below the first each output line begins that the same words serve: one, or two."""
    each = compiled.WORD // np.dtype(kind).itemsize
    fits = rows.taps + rows.stride <= -(-rows.taps // each) * each
    return (0, rows.stride) if fits and rows.dilation == 1 and rows.out > 1 else (0,)


@kept
def packed_channels(
    w: Array, kind: type[np.int8] | type[np.int16], zero_point: int, lines: tuple[int, ...]
) -> tuple[Array, Array]:
    """Weights once for each of these lines, and the sum of each channel. Shape: w (1, kh, kw, c)."""
    compiled, weights = loops(inf), centred(w[0], zero_point)
    assert compiled is not None  # who else asks
    packed = np.stack([compiled.pack_channels(weights, kind, line) for line in lines])
    return packed, weights.sum(axis=(0, 1), dtype=np.int64)


def block_of(compiled: ModuleType, x: Array, zero_point: int, packed: Array, axes: tuple[Axis, Axis]) -> Channels:
    """The sums of products over raw activations. Shapes: x (n, h, w, c), packed as by ``packed_channels``."""
    (rows, columns), channels = axes, x.shape[3]
    groups, pixel = -(-rows.taps // packed.shape[4]), compiled.WIDE * packed.shape[3]
    pixels = columns.before + columns.size + columns.after
    sized((rows.before + rows.size + rows.after, pixels, channels), x[0].size)
    across = np.arange(columns.taps) * columns.dilation
    image, bytes_ = as_bytes(x, zero_point)
    return Channels(
        image,
        (rows.out, columns.out),
        (rows.stride, columns.stride),
        (rows.before, columns.before * channels, pixels * channels, (rows.taps - 1) * rows.dilation + 1),
        bytes_,
        (groups, rows.dilation),
        ((np.arange(groups)[:, None] * pixels + across) * pixel).reshape(-1),
        packed,
    )


def round_channels(acc: Array, scale_of: Callable[[Rounding], Array], runtime: Runtime) -> Array:
    """The accumulators scaled; in ``builtin`` the last ``channels mod 8`` channels round otherwise."""
    if runtime.family is Runtime.XNNPACK:
        return requantize(acc, scale_of(Rounding.XNNPACK), rounding_of(runtime, fast=False))
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
    """The sums of products before the bias, exact; padding counts as the zero point."""
    return sums(node, x, centred(w, zero_point_of(node.at(1))), zero_point_of(node.x), reach_of(node.x))


def sums(node: Node, x: Array, w: Array, zero_point: int, reach: int) -> Array:
    """The same by a zero point of the input that is given: one shifted product per tap."""
    _, taps_h, taps_w, channels = w.shape
    axes = rows, columns = axes_of(node, x.shape, (taps_h, taps_w))
    dtype = exact_dtype(reach, w.reshape(-1, channels))
    image = centred_image(x, zero_point, axes).astype(dtype, copy=False)
    if channels != x.shape[3]:
        image = np.repeat(image, channels // x.shape[3], axis=3)
    acc = np.zeros((x.shape[0], rows.out, columns.out, channels), dtype)
    product = np.empty_like(acc)
    for i in range(taps_h):
        for j in range(taps_w):
            top, left = i * rows.dilation, j * columns.dilation
            seen = image[:, top :: rows.stride, left :: columns.stride][:, : rows.out, : columns.out]
            acc += np.multiply(seen, w[0, i, j].astype(dtype), out=product)
    return acc
