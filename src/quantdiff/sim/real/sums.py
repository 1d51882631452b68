"""Sums of products: the exact accumulator times the product of the scales; of floats, in double.

What is left out of these is the order in which a runtime adds in float32.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import Axis, axes_of, axis_of, pad_image, windows
from quantdiff.sim.blocks import Block, Sums
from quantdiff.sim.node import (
    UNBOUNDED,
    Node,
    NoKernel,
    bounds_of,
    kernels,
    loops,
    quant_of,
    real,
    scale_of,
    zero_point_of,
)
from quantdiff.sim.ops import transpose_conv
from quantdiff.sim.rounding.exact_sums import ACCUMULATE
from quantdiff.sim.rounding.rounded import Rounded, sums_of
from quantdiff.sim.runtime import Runtime

BIAS = 2


MOST = 2**15
"""Products of bytes whose sum an int32 holds."""


@dataclass(frozen=True, slots=True)
class ExactSums:
    """Sums of products of integers, what is to be added to them, and the real unit of each.

    Shapes: sums (rows, channels), offset and unit (channels,); ``shape`` is that of the output.
    """

    sums: Array
    offset: Array
    unit: Array
    shape: tuple[int, ...]

    def finished(self, finish: Finish) -> Array:
        """In real units, double, with bias and fused activation."""
        bias, low, high = finish
        compiled = loops(self.sums.size)
        if compiled is not None and self.sums.flags.c_contiguous:
            y = np.empty(self.sums.shape)
            compiled.scale_sums(self.sums, (self.offset, self.unit), finish, y)
        else:
            y = (self.sums + self.offset) * self.unit + bias
            y = y if (low, high) == UNBOUNDED else y.clip(low, high, out=y)
        return y.reshape(self.shape)


def exact_sums(node: Node, x: Array, w: Array) -> ExactSums:
    """``(sum of (x - z_x) (w - z_w)) s_x s_w`` of stored integers. Shapes as the op has them.

    Raises:
        NoKernel: these are no integers, or their scales do not fit.
    """
    unit = np.asarray(scale_of(node.x), np.float64) * np.asarray(scale_of(node.at(1)), np.float64)
    found = None
    with suppress(NoKernel):  # what no runtime computes is summed all the same
        found = _by_instructions(node, x, w)
    if found is None:
        acc = np.ascontiguousarray(ACCUMULATE[node.operator.op](node, x, w))
        found = acc.reshape(-1, acc.shape[-1]), np.zeros(acc.shape[-1]), acc.shape
    sums, offset, shape = found
    return ExactSums(sums, offset, np.broadcast_to(unit, offset.shape).copy(), shape)


def _by_instructions(node: Node, x: Array, w: Array) -> tuple[Array, Array, tuple[int, ...]] | None:
    """Sums and offset by the simulator's products of bytes, and the output's shape; None where they do not fit."""
    outputs = x.size // max(1, prod(node.x.shape)) * prod(node.y.shape)
    compiled = loops(outputs)
    if compiled is None or not _in_bytes(node, x, w):
        return None
    kernel: Any = kernels()[node.operator.op].function
    rounded: Rounded = kernel(node, x, w, None, runtimes=(Runtime.REFERENCE,))
    sums = rounded.sums
    parts = [_held(compiled, block, sums) for block in sums.blocks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts), sums.offset.astype(np.float64), rounded.shape


def _held(compiled: ModuleType, block: Block, sums: Sums) -> Array:
    """The sums of a block, an array of their own."""
    return np.array(block) if isinstance(block, np.ndarray) else sums_of(compiled, block, sums.rows, sums.offset.size)


def _in_bytes(node: Node, x: Array, w: Array) -> bool:
    """Whether the simulator's products of bytes take them: their sums wrap as int32."""
    low, high = INTEGER_RANGE[node.x.dtype]
    alike = x.dtype.itemsize == w.dtype.itemsize == 1 and node.x.dtype == node.y.dtype == node.at(1).dtype
    return alike and low <= zero_point_of(node.x) <= high and w[0].size < MOST


@real("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", stored=True, bounded=True)
def sum_of_products(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    """``(sum of (x - z_x) (w - z_w)) s_x s_w + bias s_b``. Shapes as the op has them; scales per output channel."""
    if node.x.dtype == "float32":
        raise NoKernel("weights alone are quantized")
    held = exact_sums(node, x, w)
    added = np.zeros(held.unit.size) if bias is None else _real_bias(node, BIAS, bias)
    return held.finished((np.broadcast_to(added, held.unit.shape).copy(), *bounds_of(node)))


@real("TRANSPOSE_CONV", stored=True)
def transposed(node: Node, shape: Array, w: Array, x: Array, bias: Array | None = None) -> Array:
    """The same for the transpose of a convolution."""
    return _scaled(node, transpose_conv.accumulate(node, [int(size) for size in shape], w, x), (2, 1), bias)


@real("BATCH_MATMUL")
def batch_matmul(node: Node, a: Array, b: Array) -> Array:
    """``a @ b``, each side transposed on request; exact, as every product is one of integers times two scales."""
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    product: Array = left @ right
    return product


def _scaled(node: Node, acc: Array, factors: tuple[int, int], bias: Array | None) -> Array:
    x, w = (np.asarray(scale_of(node.at(i)), np.float64) for i in factors)
    y = acc.astype(np.float64) * (x * w)
    if bias is not None:
        y += _real_bias(node, BIAS + 1, bias)
    return y


def _real_bias(node: Node, position: int, bias: Array) -> Array:
    scale = np.asarray(quant_of(node.at(position)).scale, np.float32).astype(np.float64)
    return bias.reshape(-1).astype(np.float64) * scale


WIDE = 16
"""Channels from which on compiled loops, which take those of one place together, are faster than NumPy."""


BLOCK = 2**17
"""Sums that are finished while they are in the cache."""


@real("FULLY_CONNECTED float32", bounded=True)
def fully_connected(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    """``x @ w.T + bias``. Shapes: x (…, depth), w (units, depth) -> (batch, units); (…, units) with keep_num_dims."""
    rows = x.reshape(-1, w.shape[1]).astype(np.float64, copy=False)
    y = _products(rows, w.T.astype(np.float64, copy=False), finish_of(node, len(w), bias))
    return y.reshape(*x.shape[:-1], len(w)) if node.option("keep_num_dims", False) else y


@real("CONV_2D float32", bounded=True)
def conv_2d(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    """A sum over each window. Shapes: x (n, h, w, c), w (out, kh, kw, c / groups) -> (n, out_h, out_w, out)."""
    axes = axes_of(node, x.shape, (w.shape[1], w.shape[2]))
    columns = windows(pad_image(x.astype(np.float64, copy=False), axes, 0), axes)
    kernels = w.astype(np.float64, copy=False).reshape(len(w), -1)
    groups, depth, finish = x.shape[3] // w.shape[3], w.shape[3], finish_of(node, len(w), bias)
    if groups == 1:
        y = _products(columns.reshape(-1, kernels.shape[1]), kernels.T, finish)
        return y.reshape(*columns.shape[:3], len(w))
    rows = [np.ascontiguousarray(columns[..., k * depth : (k + 1) * depth]) for k in range(groups)]
    each = [(part, *finish[1:]) for part in np.split(finish[0], groups)]
    pairs = zip(rows, np.split(kernels, groups), each, strict=True)
    parts = [_products(a.reshape(-1, kernels.shape[1]), k.T, its) for a, k, its in pairs]
    return np.concatenate(parts, axis=-1).reshape(*columns.shape[:3], len(w))


@real("DEPTHWISE_CONV_2D float32", bounded=True)
def depthwise_conv_2d(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    """Each channel with its own windows. Shapes: x (n, h, w, c), w (1, kh, kw, c * m) -> (n, out_h, out_w, c * m)."""
    axes = rows, columns = axes_of(node, x.shape, (w.shape[1], w.shape[2]))
    given, finish = x.astype(np.float64, copy=False), finish_of(node, w.shape[3], bias)
    if (several := w.shape[3] // x.shape[3]) > 1:
        given = np.repeat(given, several, axis=3)
    y = np.empty((len(x), rows.out, columns.out, w.shape[3]))
    if w.shape[3] >= WIDE and (compiled := loops(y.size)) is not None:
        ways = tuple((getattr(rows, way), getattr(columns, way)) for way in ("stride", "dilation", "before"))
        compiled.sum_taps(np.ascontiguousarray(given), w[0].astype(np.float64), ways, finish, y)
        return y
    given, products = pad_image(given, axes, 0), np.empty_like(y)
    y[:] = 0
    for i in range(rows.taps):
        for j in range(columns.taps):
            down, right = (
                slice(tap * axis.dilation, tap * axis.dilation + axis.stride * (axis.out - 1) + 1, axis.stride)
                for tap, axis in ((i, rows), (j, columns))
            )
            y += np.multiply(given[:, down, right], w[0, i, j], out=products)
    return finished(y, finish, over=True)


@real("CONV_3D float32")
def conv_3d(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    """A sum over each box. Shapes: x (n, d, h, w, c), w (kd, kh, kw, c, out) -> (n, out_d, out_h, out_w, out)."""
    padding, axes = str(node.option("padding", "SAME")), list[Axis]()
    for size, taps, side in zip(x.shape[1:4], w.shape[:3], "dhw", strict=True):
        stride, dilation = int(node.option(f"stride_{side}", 1)), int(node.option(f"dilation_{side}_factor", 1))
        axes.append(axis_of(size, taps, stride, dilation, padding))
    image = np.pad(x.astype(np.float64, copy=False), ((0, 0), *((a.before, a.after) for a in axes), (0, 0)))
    y = np.zeros((len(x), *(a.out for a in axes), w.shape[4]))
    for taps in np.ndindex(*w.shape[:3]):
        places = (
            slice(t * a.dilation, t * a.dilation + a.stride * (a.out - 1) + 1, a.stride)
            for t, a in zip(taps, axes, strict=True)
        )
        y += image[(slice(None), *places)] @ w[taps].astype(np.float64)
    return _biased(y, bias)


@real("BATCH_MATMUL float32", anywhere=True)
def batch_matmul_of_floats(node: Node, a: Array, b: Array) -> Array:
    """``a @ b``, each side transposed on request."""
    left = np.swapaxes(a, -1, -2) if node.option("adj_x", False) else a
    right = np.swapaxes(b, -1, -2) if node.option("adj_y", False) else b
    return np.asarray(left.astype(np.float64) @ right.astype(np.float64))


@real("MEAN float32", "SUM float32")
def mean_or_sum(node: Node, x: Array, axes: Array) -> Array:
    """The mean or the sum over ``axes``."""
    over = tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))
    reduce = np.mean if node.operator.op == "MEAN" else np.sum
    return np.asarray(reduce(x.astype(np.float64), axis=over, keepdims=bool(node.option("keep_dims", False))))


Finish = tuple[Array, float, float]
"""What is done with sums: a bias per channel, double, and the bounds of the fused activation."""


def finished(sums: Array, finish: Finish, *, over: bool = False) -> Array:
    """Sums as they leave the operator; ``over`` themselves where nobody else holds them. Shape: (…, channels)."""
    bias, low, high = finish
    y = sums if over else np.empty_like(sums)
    if (compiled := loops(sums.size)) is not None and sums.flags.c_contiguous:
        compiled.finish_sums(sums.reshape(-1, bias.size), bias, low, high, y.reshape(-1, bias.size))
        return y
    np.add(sums, bias, out=y)
    return y if (low, high) == UNBOUNDED else np.clip(y, low, high, out=y)


def _products(x: Array, w: Array, finish: Finish) -> Array:
    """``x @ w`` finished, some rows after the others. Shapes: x (rows, depth), w (depth, channels)."""
    y = np.empty((len(x), w.shape[1]))
    at_once = max(1, BLOCK // max(1, w.shape[1]))
    for start in range(0, len(x), at_once):
        part = y[start : start + at_once]
        finished(np.matmul(x[start : start + at_once], w, out=part), finish, over=True)
    return y


def finish_of(node: Node, channels: int, bias: Array | None) -> Finish:
    """What an operator does with its sums."""
    added = np.zeros(channels) if bias is None else bias.reshape(-1).astype(np.float64)
    return added, *bounds_of(node)


def _biased(y: Array, bias: Array | None) -> Array:
    """With the bias, in place: nobody else holds the sums."""
    if bias is not None:
        y += bias.reshape(-1)
    return y
