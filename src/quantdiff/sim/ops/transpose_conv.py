"""TRANSPOSE_CONV: LiteRT ``tflite/kernels/transpose_conv.cc``.

reference: ``internal/reference/integer_ops/transpose_conv.h``; builtin: ``internal/optimized/integer_ops/
transpose_conv.h``, rounded as the depthwise convolution; xnnpack: ``src/operators/deconvolution-nhwc.c``;
tflm: ``tensorflow/lite/micro/kernels/transpose_conv.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import add_bias, centred, matmul
from quantdiff.sim.floats import neon
from quantdiff.sim.floats.eigen import product as eigen_product
from quantdiff.sim.floats.elementwise import clamped, flushed, fused_multiply_add, multiply_add
from quantdiff.sim.floats.products import lanes_of
from quantdiff.sim.hybrid import transposed
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel, scale_of, sized, zero_point_of
from quantdiff.sim.ops.depthwise_conv_2d import round_channels
from quantdiff.sim.rounding.fixed_point import (
    NO_ZERO_POINT,
    Rounding,
    has_int64_sum,
    product_scale,
    refuse_narrow_bias,
    refuse_weights_off_zero,
    requantize,
    round_sum,
)
from quantdiff.sim.runtime import Runtime

VECTOR = 16
TYPES = (("int8", "int8", "int8"), ("uint8", "uint8", "uint8"), ("int16", "int8", "int16"))


@kernel("TRANSPOSE_CONV", batched=False)
def transpose_conv(
    node: Node, shape: Array, w: Array, x: Array, bias: Array | None = None, *, runtime: Runtime
) -> Array:
    """Compute the transpose of a convolution: every input adds a window to the output.

    Shapes: shape (4,), w (out, kh, kw, c), x (n, h, w, c), bias (out,) -> shape.
    """
    types = (node.at(2).dtype, node.at(1).dtype, node.y.dtype)
    sizes = [int(size) for size in shape]
    if set(types) == {"float32"}:
        return clamped(node, of_floats(node, sizes, w, x, bias, runtime), runtime)
    if types == ("float32", "int8", "float32"):
        alone = at_once(node, sizes, w, x) == 1
        return transposed(node, x, w, bias, runtime=runtime, spread=partial(spread, node, sizes), alone=alone)
    if not is_quantized(node.at(2), "int8", "uint8", "int16") or types not in TYPES:
        raise NoKernel(f"types {types[0]} × {types[1]} -> {types[2]}")
    if types[0] == "int16":
        return from_16_bits(
            node, spread(node, sizes, centred(x, NO_ZERO_POINT), centred(w, NO_ZERO_POINT)), bias, runtime
        )
    acc = add_bias(accumulate(node, sizes, w, x), bias)
    unsigned = types[0] == "uint8" and runtime is Runtime.BUILTIN
    steps = in_vectors(node, acc) if unsigned else round_channels(acc, partial(scale_for, node), runtime)
    y = steps + zero_point_of(node.y)
    return y.clip(*clamp_of(node, runtime)).astype(node.y.dtype)


def in_vectors(node: Node, acc: Array) -> Array:
    """uint8 in ``builtin``: blocks of 16 outputs by rule R, across channels (``Quantize``). Shape as ``acc``."""
    flat, scale = acc.reshape(-1), scale_for(node, Rounding.GEMMLOWP)
    body = flat.size // VECTOR * VECTOR
    parts = [requantize(flat[:body], scale, Rounding.RUY), requantize(flat[body:], scale, Rounding.GEMMLOWP)]
    return np.concatenate(parts).reshape(acc.shape)


def scale_for(node: Node, rounding: Rounding) -> Array:
    """The multiplier; of uint8 by way of a product in float32, as in other convolutions."""
    if node.at(2).dtype == "uint8" and rounding is not Rounding.XNNPACK:
        product = scale_of(node.at(2)) * scale_of(node.at(1))
        return np.asarray(product, np.float64) / np.float64(scale_of(node.y))
    return product_scale(node, rounding, (2, 1))


def from_16_bits(node: Node, sums: Array, bias: Array | None, runtime: Runtime) -> Array:
    """int16 × int8, in LiteRT summed in as many bits as the bias has (``EvalQuantizedPerChannel16x8``)."""
    refuse_weights_off_zero(node)
    if runtime is Runtime.TFLM or has_int64_sum(node, 3, runtime):
        refuse_narrow_bias(bias, runtime.value)
        y = round_sum(sums, bias, product_scale(node, Rounding.GEMMLOWP, (2, 1)), Rounding.GEMMLOWP, int64_sum=True)
    elif runtime.on_arm64:
        raise NoKernel("16-bit values with a bias of 32 bits, which nobody has measured on ARM64")
    else:
        y = round_channels(add_bias(sums, bias), partial(scale_for, node), runtime)
    return y.clip(*clamp_of(node, runtime)).astype(np.int16)


def accumulate(node: Node, shape: list[int], w: Array, x: Array) -> Array:
    """The sums of products before the bias, as int64."""
    return spread(node, shape, centred(x, zero_point_of(node.at(2))), centred(w, zero_point_of(node.at(1))))


def spread(
    node: Node, shape: list[int], x: Array, w: Array, scaled: Callable[[Array, Array], Array] | None = None
) -> Array:
    """The sums of products of integers: exact, or as ``scaled`` adds each to the floats so far, in the inputs' order.

    The first input that reaches an output comes with the last tap.
    """
    out, taps_h, taps_w, depth = w.shape
    rows, columns = spans_of(node, shape, w, x)
    sizes = (len(x), *sized((rows.whole, columns.whole, out), x[0].size))
    whole = np.zeros(sizes, np.int64 if scaled is None else np.float32)
    for i, j in reversed([*product(range(taps_h), range(taps_w))]):
        seen = whole[:, rows.at(i), columns.at(j)]
        if scaled is None:
            seen += matmul(x, w[:, i, j].T).astype(np.int64)
        else:
            for k in range(depth):
                seen[...] = scaled(seen, x[..., k, None] * w[:, i, j, k].astype(np.int32))
    return rows.cut(columns, whole)


def of_floats(node: Node, shape: list[int], w: Array, x: Array, bias: Array | None, runtime: Runtime) -> Array:
    """Floats: LiteRT goes through the inputs, the bias last; ``builtin`` multiplies them by all taps first (Eigen).

    XNNPACK goes through the taps, from the bias on, by fused multiply-add (``src/indirection.c``,
    ``xnn_indirection_init_subconv2d``, ``xnn_indirection_init_deconv2d``).
    """
    out, taps_h, taps_w, depth = w.shape
    rows, columns = spans_of(node, shape, w, x)
    whole = np.zeros((len(x), *sized((rows.whole, columns.whole, out), x[0].size)), np.float32)
    taps = [*product(range(taps_h), range(taps_w))]
    if runtime.family is Runtime.XNNPACK:
        lanes = lanes_of(out, at_once(node, shape, w, x), one_tap=False) if runtime.on_arm64 else 1
        sums = [whole + (0 if bias is None else flushed(bias)), *(whole.copy() for _ in range(lanes - 1))]
        for (i, j), k in product(taps, range(depth)):
            seen = sums[k % lanes][:, rows.at(i), columns.at(j)]
            factors = np.broadcast_arrays(flushed(x[..., k, None]), flushed(w[:, i, j, k]), seen)
            seen[...] = flushed(fused_multiply_add(*factors))
        return rows.cut(columns, flushed(sums[0] + sums[1]) if lanes > 1 else sums[0])
    multiplied = patches(x, w, runtime) if runtime.family is Runtime.BUILTIN else None
    for i, j in reversed(taps):  # the first input that reaches an output comes with the last tap
        seen = whole[:, rows.at(i), columns.at(j)]
        if multiplied is not None:
            seen += multiplied[..., i, j, :]
        else:
            for k in range(depth):
                seen[...] = multiply_add(x[..., k, None], w[:, i, j, k], seen, runtime)
    y = rows.cut(columns, whole)
    return y if bias is None else y + bias


def at_once(node: Node, shape: list[int], w: Array, x: Array) -> int:
    """Pixels that XNNPACK multiplies together: of every image one, where it takes the kernel apart by its strides."""
    rows, columns = spans_of(node, shape, w, x)
    apart = max(rows.stride, columns.stride) > 1 and rows.stride <= rows.taps and columns.stride <= columns.taps
    return node.at(2).shape[0] if apart else math.prod(shape[1:3])


def patches(x: Array, w: Array, runtime: Runtime) -> Array:
    """Each input times all taps, image by image. Shapes: x, w as above -> (n, h, w, kh, kw, out)."""
    out, taps_h, taps_w, depth = w.shape
    units = w.transpose(1, 2, 0, 3).reshape(-1, depth)
    one = neon.product if runtime.on_arm64 else eigen_product
    made = [one(image.reshape(-1, depth), units) for image in x]
    return np.stack(made).reshape(*x.shape[:3], taps_h, taps_w, out)


def spans_of(node: Node, shape: list[int], w: Array, x: Array) -> tuple[Span, Span]:
    """Rows and columns."""
    rows, columns = (
        Span(size, taps, int(node.option(f"stride_{side}", 1)), want, node.option("padding") == "SAME")
        for size, taps, side, want in zip(x.shape[1:3], w.shape[1:3], "hw", shape[1:3], strict=True)
    )
    return rows, columns


@dataclass(frozen=True, slots=True)
class Span:
    """One image axis: ``size`` inputs spread by ``stride``, ``want`` outputs cut out of all that is reached."""

    size: int
    taps: int
    stride: int
    want: int
    same: bool

    @property
    def reach(self) -> int:
        """Outputs that some input adds to."""
        return (self.size - 1) * self.stride + self.taps

    @property
    def before(self) -> int:
        """Outputs cut off in front."""
        return max(0, self.reach - self.want) // 2 if self.same else 0

    @property
    def whole(self) -> int:
        """Outputs to hold before the cut."""
        return max(self.reach, self.before + self.want)

    def cut(self, columns: Span, whole: Array) -> Array:
        """The outputs that are wanted, of rows (self) and columns."""
        inside = slice(self.before, self.before + self.want), slice(columns.before, columns.before + columns.want)
        return whole[:, inside[0], inside[1]]

    def at(self, tap: int) -> slice:
        """Where a tap adds to."""
        return slice(tap, tap + (self.size - 1) * self.stride + 1, self.stride)
