"""Sums of products: the exact accumulator times the product of the scales."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import Block, Sums
from quantdiff.sim.compiled import loops
from quantdiff.sim.node import Node, NoKernel, quant_of, scale_of, zero_point_of
from quantdiff.sim.ops import transpose_conv
from quantdiff.sim.real.float_sums import Finish
from quantdiff.sim.real.registry import UNBOUNDED, bounds_of, real
from quantdiff.sim.registry import kernels
from quantdiff.sim.rounding.requantization import ACCUMULATE
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
    compiled = loops(x.size)
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
