"""MAX_POOL_2D and AVERAGE_POOL_2D: ``internal/reference/integer_ops/pooling.h``; all runtimes agree."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.floats.elementwise import added_in_order, clamped, flushed
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel
from quantdiff.sim.rounding.fixed_point import divide_half_away
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.window import Axis, axes_of, pad_image, windows


@kernel("MAX_POOL_2D")
def max_pool_2d(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute the largest value of each window, clamped. Shapes: (n, h, w, c) -> (n, out_h, out_w, c)."""
    axes = axes_of(node, x.shape, filter_of(node))
    if node.x.dtype == "float32":
        return largest_float(node, x, axes, runtime)
    check(node)
    low, _ = INTEGER_RANGE[node.x.dtype]
    largest: Array = windows(pad_image(x, axes, low), axes).max(axis=(3, 4))
    clamped: Array = largest.clip(*clamp_of(node, runtime))
    return clamped.astype(x.dtype)


@kernel("AVERAGE_POOL_2D")
def average_pool_2d(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute the mean of the window's part inside the image, half away, clamped.

    Shapes: (n, h, w, c) -> (n, out_h, out_w, c).
    """
    axes = rows, columns = axes_of(node, x.shape, filter_of(node))
    if node.x.dtype == "float32":
        return mean_float(node, x, axes, runtime)
    check(node)
    total = windows(pad_image(x.astype(np.int64), axes, 0), axes).sum(axis=(3, 4))
    count = (inside(rows)[:, None] * inside(columns))[..., None]
    return divide_half_away(total, count).clip(*clamp_of(node, runtime)).astype(x.dtype)


def largest_float(node: Node, x: Array, axes: tuple[Axis, Axis], runtime: Runtime) -> Array:
    """The same of floats; below the smallest normal one there is nothing in XNNPACK."""
    x = flushed(x) if runtime is Runtime.XNNPACK else x
    seen = windows(pad_image(x, axes, -np.inf), axes)
    return clamped(node, seen.max(axis=(3, 4)), runtime)


def mean_float(node: Node, x: Array, axes: tuple[Axis, Axis], runtime: Runtime) -> Array:
    """The same of floats, line by line; XNNPACK in rounds of nine taps."""
    seen = windows(pad_image(x, axes, 0.0), axes)
    count = (inside(axes[0])[:, None] * inside(axes[1]))[..., None].astype(np.float32)
    if runtime is Runtime.XNNPACK and filter_of(node) == (1, 1):  # which it takes for a clamp
        return clamped(node, flushed(seen[:, :, :, 0, 0]), runtime)
    if runtime is Runtime.XNNPACK:
        return clamped(node, xnnpack.average(seen, np.float32(1) / count), runtime)
    total = added_in_order(seen, (3, 4))
    return clamped(node, total / count, runtime)


def check(node: Node) -> None:
    """Refuse what these formulas do not cover."""
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")


def filter_of(node: Node) -> tuple[int, int]:
    """Window height and width."""
    return int(node.option("filter_height", 1)), int(node.option("filter_width", 1))


def inside(axis: Axis) -> Array:
    """How many taps of each window lie inside the image. Shape: (out,)."""
    first = np.arange(axis.out) * axis.stride - axis.before
    return np.minimum(first + axis.taps, axis.size) - np.maximum(first, 0)
