"""Ops that put values elsewhere and copy them as they are, in every runtime.

``tflite/kernels/{transpose,gather,broadcast_to,fill,tile,reverse,cast}.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, kernel, sized
from quantdiff.sim.runtime import Runtime


@kernel("TRANSPOSE", batched=False)
def transpose(node: Node, x: Array, order: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` with its axes in another order. Shape: order (rank,)."""
    del node, runtime
    return np.transpose(x, [int(axis) for axis in order]).copy()


@kernel("GATHER", batched=False)
def gather(node: Node, x: Array, indices: Array, *, runtime: Runtime) -> Array:
    """Return the entries of ``x`` at ``indices`` along an axis, batch by batch with batch_dims."""
    del runtime
    axis, batch = int(node.option("axis", 0)), int(node.option("batch_dims", 0))
    if batch == 0:
        return np.take(x, indices.astype(np.int64), axis=axis)
    lead = x.shape[:batch]
    flat_x, flat_i = x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:])
    along = (axis if axis >= 0 else axis + x.ndim) - batch
    parts = [np.take(row, i.astype(np.int64), axis=along) for row, i in zip(flat_x, flat_i, strict=True)]
    return np.stack(parts).reshape(*lead, *parts[0].shape)


@kernel("BROADCAST_TO", batched=False)
def broadcast_to(node: Node, x: Array, shape: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` repeated to ``shape``."""
    del node, runtime
    return np.broadcast_to(x, sized(shape)).copy()


@kernel("TILE", batched=False)
def tile(node: Node, x: Array, multiples: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` repeated along each axis."""
    del node, runtime
    sized(times * size for times, size in zip(multiples.tolist(), x.shape, strict=True))
    return np.tile(x, multiples.tolist())


@kernel("FILL", batched=False)
def fill(node: Node, shape: Array, value: Array, *, runtime: Runtime) -> Array:
    """Return one value everywhere."""
    del runtime
    return np.full(sized(shape.reshape(-1)), value.reshape(-1)[0], node.y.dtype)


@kernel("REVERSE_V2", batched=False)
def reverse(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` back to front along ``axes``."""
    del node, runtime
    return np.flip(x, tuple(int(axis) for axis in np.asarray(axes).reshape(-1))).copy()


@kernel("CAST", batched=False)
def cast(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return the values in another type, fractions cut off. Shape as ``x``."""
    del runtime
    if node.x.quant is not None and node.x.quant.scale and node.x.dtype != node.y.dtype and x.dtype.kind != "f":
        raise NoKernel("a quantized input")
    return x.astype(node.y.dtype)
