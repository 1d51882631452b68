"""SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND, SPACE_TO_DEPTH, DEPTH_TO_SPACE: copies in every runtime.

``tflite/kernels/{space_to_batch_nd,batch_to_space_nd,space_to_depth,depth_to_space}.cc``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, sized, zero_point_of
from quantdiff.sim.runtime import Runtime


@kernel("SPACE_TO_BATCH_ND", batched=False)
def space_to_batch_nd(node: Node, x: Array, block: Array, paddings: Array, *, runtime: Runtime) -> Array:
    """Return blocks of the spatial axes as further batches. Shapes: x (n, *space, …), block (m,), paddings (m, 2)."""
    sizes = [int(size) for size in block]
    widths = [(0, 0), *((int(a), int(b)) for a, b in paddings)]
    widths += [(0, 0)] * (x.ndim - len(widths))
    if runtime is Runtime.TFLM and np.any(paddings):
        raise NoKernel("tflm pads with memory that it never sets (space_to_batch_nd.cc, Prepare)")
    zero = zero_point_of(node.y) if is_quantized(node.y, "int8", "uint8", "int16") else 0
    sized((before + size + after for size, (before, after) in zip(x.shape, widths, strict=True)), x.size)
    padded = np.pad(x, widths, constant_values=zero)
    space, rest = padded.shape[1 : 1 + len(sizes)], padded.shape[1 + len(sizes) :]
    split = [n for size, b in zip(space, sizes, strict=True) for n in (size // b, b)]
    blocks = padded.reshape(len(x), *split, *rest)
    outer, inner = range(1, 2 * len(sizes), 2), range(2, 2 * len(sizes) + 1, 2)
    moved = blocks.transpose([*inner, 0, *outer, *range(2 * len(sizes) + 1, blocks.ndim)])
    return moved.reshape(-1, *(size // b for size, b in zip(space, sizes, strict=True)), *rest)


@kernel("BATCH_TO_SPACE_ND", batched=False)
def batch_to_space_nd(node: Node, x: Array, block: Array, crops: Array, *, runtime: Runtime) -> Array:
    """Return batches as blocks of the spatial axes, then cropped. Shapes: block (m,), crops (m, 2)."""
    del node, runtime
    sizes = [int(size) for size in block]
    count, space, rest = len(sizes), x.shape[1 : 1 + len(block)], x.shape[1 + len(block) :]
    blocks = x.reshape(*sizes, -1, *space, *rest)
    order = [count, *(axis for i in range(count) for axis in (count + 1 + i, i)), *range(2 * count + 1, blocks.ndim)]
    whole = blocks.transpose(order).reshape(-1, *(s * b for s, b in zip(space, sizes, strict=True)), *rest)
    cut = [slice(int(a), size - int(b)) for (a, b), size in zip(crops, whole.shape[1 : 1 + count], strict=True)]
    return whole[(slice(None), *cut)].copy()


@kernel("SPACE_TO_DEPTH")
def space_to_depth(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return square blocks as channels. Shapes: (n, h, w, c) -> (n, h / b, w / b, b * b * c)."""
    del runtime
    block, (n, h, w, c) = int(node.option("block_size", 1)), x.shape
    blocks = x.reshape(n, h // block, block, w // block, block, c).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h // block, w // block, block * block * c)


@kernel("DEPTH_TO_SPACE")
def depth_to_space(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Return channels as square blocks. Shapes: (n, h, w, b * b * c) -> (n, h * b, w * b, c)."""
    del runtime
    block, (n, h, w, _) = int(node.option("block_size", 1)), x.shape
    blocks = x.reshape(n, h, w, block, block, -1).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h * block, w * block, -1)
