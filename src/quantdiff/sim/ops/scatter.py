"""Values written into others by index: GATHER_ND, SCATTER_ND, DYNAMIC_UPDATE_SLICE, REVERSE_SEQUENCE, segments.

Sources: LiteRT ``tflite/kernels/{gather_nd,scatter_nd,dynamic_update_slice,reverse_sequence,unsorted_segment}.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, kernel, sized
from quantdiff.sim.runtime import Runtime


@kernel("GATHER_ND", batched=False)
def gather_nd(node: Node, x: Array, indices: Array, *, runtime: Runtime) -> Array:
    """Return the slices of ``x`` that the last axis of ``indices`` names."""
    del node, runtime
    return np.asarray(x[tuple(np.moveaxis(indices.astype(np.int64), -1, 0))])


@kernel("SCATTER_ND", batched=False)
def scatter_nd(node: Node, indices: Array, updates: Array, shape: Array, *, runtime: Runtime) -> Array:
    """Return zeros of ``shape`` with the updates added where the last axis of ``indices`` says."""
    del node, runtime
    y = np.zeros(sized(shape), updates.dtype)
    np.add.at(y, tuple(np.moveaxis(indices.astype(np.int64), -1, 0)), updates)
    return y


@kernel("DYNAMIC_UPDATE_SLICE", batched=False)
def dynamic_update_slice(node: Node, x: Array, update: Array, start: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` with ``update`` written at ``start``, moved inside where it would stick out. Shape as ``x``."""
    del node, runtime
    y = x.copy()
    first = [int(np.clip(s, 0, whole - size)) for s, whole, size in zip(start, x.shape, update.shape, strict=True)]
    y[tuple(slice(s, s + size) for s, size in zip(first, update.shape, strict=True))] = update
    return y


@kernel("REVERSE_SEQUENCE", batched=False)
def reverse_sequence(node: Node, x: Array, lengths: Array, *, runtime: Runtime) -> Array:
    """Return each sequence along ``batch_dim`` with its first values along ``seq_dim`` turned round."""
    del runtime
    y, along, batch = x.copy(), int(node.option("seq_dim", 0)), int(node.option("batch_dim", 0))
    source, target = (np.moveaxis(array, (batch, along), (0, 1)) for array in (x, y))
    for row, length in enumerate(lengths):
        target[row, : int(length)] = source[row, : int(length)][::-1]
    return y


@kernel("UNSORTED_SEGMENT_PROD", batched=False)
def unsorted_segment_prod(node: Node, x: Array, segments: Array, count: Array, *, runtime: Runtime) -> Array:
    """Return the product of what ``segments`` puts together, 1 where it is nothing; values of none are left out."""
    del node
    if runtime is Runtime.TFLM or x.dtype.kind == "f":
        raise NoKernel("this runtime has no such op" if runtime is Runtime.TFLM else "a float product has an order")
    y = np.ones((*sized(count.reshape(-1)), *x.shape[segments.ndim :]), x.dtype)
    told = segments >= 0
    np.multiply.at(y, segments[told], x[told])
    return y
