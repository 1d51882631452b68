"""Kernels that find values by index, and that count: shapes, ranges and places, which a graph makes for itself.

LiteRT ``tflite/kernels/{gather_nd,scatter_nd,dynamic_update_slice,reverse_sequence,unsorted_segment,embedding_lookup,
one_hot,where,sparse_to_dense,densify,shape,rank,range,zeros_like,broadcast_args}.cc``,
``internal/reference/densify.h``, ``internal/reference/reference_ops.h`` (``SelectTrueCoords``, ``SparseToDense``).
tflm: ``tensorflow/lite/micro/kernels/embedding_lookup.cc`` takes the first row's scale for every row; it has neither
DENSIFY, SPARSE_TO_DENSE nor WHERE of one input.
"""

from __future__ import annotations

import math

import numpy as np

from quantdiff.graph import dense_values
from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, kernel, scale_of, sized
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


@kernel("EMBEDDING_LOOKUP", batched=False)
def embedding_lookup(node: Node, rows: Array, table: Array, *, runtime: Runtime) -> Array:
    """Return rows of the table, integers times their scale where the output is float (``EvalHybrid``).

    Shapes: rows (n,), table (vocabulary, …) -> (n, …).
    """
    if rows.size and (rows.min() < 0 or rows.max() >= len(table)):
        raise IndexError("a row that the table does not have")
    found: Array = table[rows.astype(np.int64)]
    if node.y.dtype != "float32" or node.at(1).dtype == "float32":
        return found
    scales = np.broadcast_to(scale_of(node.at(1)), len(table))
    scale = scales[np.zeros_like(rows) if runtime is Runtime.TFLM else rows.astype(np.int64)]
    real: Array = found.astype(np.float32) * scale.reshape(-1, *[1] * (table.ndim - 1))
    return real


@kernel("ONE_HOT", batched=False)
def one_hot(node: Node, indices: Array, depth: Array, on: Array, off: Array, *, runtime: Runtime) -> Array:
    """Return ``on`` at each index of a new axis, ``off`` elsewhere. Shape: as ``indices``, ``depth`` at ``axis``."""
    del runtime
    axis = int(node.option("axis", -1))
    (count,) = sized(depth.reshape(-1)[:1])
    sized((count, *indices.shape))
    places = np.arange(count)
    at = indices.ndim if axis == -1 else axis
    hit = np.expand_dims(indices, at) == places.reshape(-1, *[1] * (indices.ndim - at))
    return np.where(hit, on.reshape(()), off.reshape(())).astype(node.y.dtype)


@kernel("WHERE", batched=False)
def where(node: Node, condition: Array, *, runtime: Runtime) -> Array:
    """Return the places that are not 0, in their order. Shape: (how many, axes of the input)."""
    del node, runtime
    return np.argwhere(condition).astype(np.int64)


@kernel("SPARSE_TO_DENSE", batched=False)
def sparse_to_dense(
    node: Node, places: Array, shape: Array, values: Array, default: Array, *, runtime: Runtime
) -> Array:
    """Return ``default`` with ``values`` at ``places``. Shapes: places (n, axes) or (n,) or (), values (n,) or ()."""
    del node, runtime
    y = np.full(sized(shape), np.asarray(default).reshape(-1)[0], values.dtype)
    rows = np.asarray(places, np.int64).reshape(-1, y.ndim)
    y[tuple(rows.T)] = values
    return y


@kernel("DENSIFY", batched=False)
def densify(node: Node, stored: Array, *, runtime: Runtime) -> Array:
    """Return the sparse constant with zeros between the values that are stored."""
    del stored
    if runtime is Runtime.TFLM or node.x.dtype not in ("int8", "float16", "float32"):
        raise NoKernel(f"type {node.x.dtype}: this runtime has no such kernel")
    return dense_values(node.x).copy()


@kernel("SHAPE", batched=False)
def shape(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return the sizes of ``x``. Shape: (rank,)."""
    del runtime
    return np.asarray(x.shape, node.y.dtype)


@kernel("RANK", batched=False)
def rank(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return the number of axes of ``x``. Shape: ()."""
    del runtime
    return np.asarray(x.ndim, node.y.dtype)


@kernel("RANGE", batched=False)
def count_up(node: Node, start: Array, limit: Array, delta: Array, *, runtime: Runtime) -> Array:
    """Return values from ``start`` to before ``limit``, each the one before plus ``delta``."""
    del node, runtime
    first, last, step = (np.asarray(value).reshape(-1)[0] for value in (start, limit, delta))
    size = math.ceil(abs((last - first) / step))
    return np.add.accumulate(np.asarray([first, *[step] * (size - 1)], start.dtype)[:size], dtype=start.dtype)


@kernel("ZEROS_LIKE", batched=False)
def zeros_like(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return zeros. Shape as ``x``."""
    del node, runtime
    return np.zeros_like(x)


@kernel("BROADCAST_ARGS", batched=False)
def broadcast_args(node: Node, a: Array, b: Array, *, runtime: Runtime) -> Array:
    """Return the shape that two shapes broadcast to."""
    del runtime
    shape = np.broadcast_shapes(tuple(int(size) for size in a), tuple(int(size) for size in b))
    return np.asarray(shape, node.y.dtype)
