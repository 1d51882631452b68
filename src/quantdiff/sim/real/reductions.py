"""Means and sums over axes, pooling, and interpolation between pixels."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node
from quantdiff.sim.ops.pool_2d import filter_of, inside
from quantdiff.sim.ops.resize_bilinear import Places, interpolate
from quantdiff.sim.real.registry import real
from quantdiff.sim.window import axes_of, pad_image, windows


@real("MEAN", curve=True)
def mean(node: Node, x: Array, axes: Array) -> Array:
    """The mean over ``axes``."""
    return np.asarray(x.mean(axis=_over(x, axes), keepdims=bool(node.option("keep_dims", False))))


@real("SUM", curve=True)
def sum_(node: Node, x: Array, axes: Array) -> Array:
    """The sum over ``axes``."""
    return np.asarray(x.sum(axis=_over(x, axes), keepdims=bool(node.option("keep_dims", False))))


@real("AVERAGE_POOL_2D", curve=True)
def average_pool_2d(node: Node, x: Array) -> Array:
    """The mean of each window's part inside the image."""
    axes = rows, columns = axes_of(node, x.shape, filter_of(node))
    total = windows(pad_image(x, axes, 0), axes).sum(axis=(3, 4))
    means: Array = total / (inside(rows)[:, None] * inside(columns))[..., None]
    return means


@real("RESIZE_BILINEAR", curve=True)
def resize_bilinear(node: Node, x: Array, size: Array) -> Array:
    """Between the four nearest pixels, at the places that TensorFlow's ``ResizeBilinear`` takes."""
    corners, centres = bool(node.option("align_corners", False)), bool(node.option("half_pixel_centers", False))
    rows, columns = (_places(have, int(want), corners, centres) for have, want in zip(x.shape[1:3], size, strict=True))
    return interpolate(x, rows, columns, 1)


def _places(have: int, want: int, corners: bool, centres: bool) -> Places:
    ends = int(corners and want > 1)
    place = np.arange(want) * ((have - ends) / (want - ends))
    if centres:
        place = np.maximum(place + 0.5 * have / want - 0.5, 0)
    low = np.minimum(np.floor(place), have - 1).astype(np.int64)
    return Places(low, np.minimum(low + 1, have - 1), place - low)


def _over(x: Array, axes: Array) -> tuple[int, ...]:
    return tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))
