"""PACK, UNPACK, SPLIT, SPLIT_V: ``tflite/kernels/{pack,unpack,split,split_v}.cc``; copies in every runtime."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime


@kernel("PACK", batched=False)
def pack(node: Node, *parts: Array, runtime: Runtime) -> Array:
    """Return the inputs stacked along a new axis."""
    del runtime
    return np.stack(parts, axis=int(node.option("axis", 0)))


@kernel("UNPACK", batched=False)
def unpack(node: Node, x: Array, *, runtime: Runtime) -> tuple[Array, ...]:
    """Return the entries along an axis, without that axis."""
    del runtime
    return tuple(np.moveaxis(x, int(node.option("axis", 0)), 0).copy())


@kernel("SPLIT", batched=False)
def split(node: Node, axis: Array, x: Array, *, runtime: Runtime) -> tuple[Array, ...]:
    """Return ``x`` in as many equal parts as there are outputs."""
    del runtime
    return tuple(np.split(x, len(node.outputs), int(np.asarray(axis).reshape(-1)[0])))


@kernel("SPLIT_V", batched=False)
def split_v(node: Node, x: Array, sizes: Array, axis: Array, *, runtime: Runtime) -> tuple[Array, ...]:
    """Return ``x`` in parts of the sizes given; one size may be -1 and takes what is left."""
    del node, runtime
    along = int(np.asarray(axis).reshape(-1)[0])
    known = sizes.astype(np.int64)
    known = np.where(known < 0, x.shape[along] - known[known >= 0].sum(), known)
    return tuple(np.split(x, np.cumsum(known)[:-1], along))
