"""RESHAPE, SQUEEZE, EXPAND_DIMS: the same values under another shape (``tflite/kernels/reshape.cc``, …)."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


@kernel("RESHAPE", batched=False)
def reshape(node: Node, x: Array, shape: Array | None = None, *, runtime: Runtime) -> Array:
    """Return ``x`` with the shape of the second input, else of the option. Shape: as asked, -1 inferred."""
    del runtime
    wanted = node.option("new_shape", ()) if shape is None else shape
    return x.reshape(tuple(int(size) for size in np.asarray(wanted).reshape(-1)))


@kernel("SQUEEZE", batched=False)
def squeeze(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` without the axes named, or without any axis of size 1."""
    del runtime
    axes = tuple(int(axis) for axis in np.asarray(node.option("squeeze_dims", ()), int).reshape(-1))
    return np.squeeze(x, axes) if axes else np.squeeze(x)


@kernel("EXPAND_DIMS", batched=False)
def expand_dims(node: Node, x: Array, axis: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` with one more axis of size 1."""
    del node, runtime
    return np.expand_dims(x, int(np.asarray(axis).reshape(-1)[0]))
