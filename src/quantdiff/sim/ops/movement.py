"""Kernels that put values elsewhere and copy them as they are, in every runtime.

LiteRT ``tflite/kernels/{reshape,squeeze,expand_dims,transpose,gather,broadcast_to,fill,tile,reverse,cast,pack,unpack,
split,split_v,pad,mirror_pad,strided_slice,slice,space_to_batch_nd,batch_to_space_nd,space_to_depth,depth_to_space,
concatenation}.cc``. CONCATENATION rescales uint8 alone, where scales differ: ``internal/optimized/optimized_ops.h``
(``ConcatenationWithScaling``).
"""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, sized, zero_point_of
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


@kernel("CONCATENATION", batched=False)
def concatenation(node: Node, *parts: Array, runtime: Runtime) -> Array:
    """Join the inputs along ``axis``. Shapes agree but for that axis."""
    tensors = [tensor for tensor in node.inputs if tensor is not None]
    sized([sum(part.size for part in parts)])  # a chain that joins each tensor with itself doubles it every time
    aligned = [rescaled(part, tensor, node.y, runtime) for part, tensor in zip(parts, tensors, strict=True)]
    return np.concatenate(aligned, axis=int(node.option("axis", 0)))


def rescaled(part: Array, tensor: Tensor, y: Tensor, runtime: Runtime) -> Array:
    """One input on the output's grid, in float32 with the zero point multiplied out. Shape as ``part``."""
    if (
        tensor.quant is None
        or y.quant is None
        or (tensor.quant.scale, tensor.quant.zero_point)
        == (
            y.quant.scale,
            y.quant.zero_point,
        )
    ):
        return part
    if not is_quantized(y, "uint8"):
        raise NoKernel("inputs whose scales differ from the output's")
    scale = scale_of(tensor) * (np.float32(1) / scale_of(y))
    bias = np.float32(-zero_point_of(tensor)) * scale
    steps = round_half_away(multiply_add(part.astype(np.float32), scale, bias, runtime))
    return (steps.astype(np.int64) + zero_point_of(y)).clip(*INTEGER_RANGE["uint8"]).astype(np.uint8)


@kernel("PAD", batched=False)
def pad(node: Node, x: Array, widths: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` with the output's zero around it, which is 0 to TFLM's int16. Shapes: x (…), widths (rank, 2)."""
    types = ("int8", "uint8") if runtime is Runtime.TFLM else ("int8", "uint8", "int16")
    zero = zero_point_of(node.y) if is_quantized(node.y, *types) else 0
    return np.pad(x, pairs_of(x, widths), constant_values=zero)


@kernel("PADV2", batched=False)
def padv2(node: Node, x: Array, widths: Array, value: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` with ``value`` around it. Shapes: x (…), widths (rank, 2), value of one element."""
    del node, runtime
    return np.pad(x, pairs_of(x, widths), constant_values=value.reshape(-1)[0])


@kernel("MIRROR_PAD", batched=False)
def mirror_pad(node: Node, x: Array, widths: Array, *, runtime: Runtime) -> Array:
    """Return ``x`` mirrored at its edges, the edge itself left out with REFLECT."""
    del runtime
    mode = "reflect" if node.option("mode") == "REFLECT" else "symmetric"
    pairs = pairs_of(x, widths)
    return np.pad(x, pairs, mode="reflect") if mode == "reflect" else np.pad(x, pairs, mode="symmetric")


def pairs_of(x: Array, widths: Array) -> list[tuple[int, int]]:
    """How much comes before and after each axis of ``x``. Shape: widths (rank, 2)."""
    pairs = [(int(a), int(b)) for a, b in widths]
    sized((before + size + after for size, (before, after) in zip(x.shape, pairs, strict=True)), x.size)
    return pairs


Index = int | slice | None


@kernel("STRIDED_SLICE", batched=False)
def strided_slice(node: Node, x: Array, begin: Array, end: Array, strides: Array, *, runtime: Runtime) -> Array:
    """Return ``x[begin:end:stride]`` axis by axis, the masks as in TensorFlow. Shapes: begin, end, strides (n,)."""
    del runtime
    masks = {name: int(node.option(f"{name}_mask", 0)) for name in MASKS}
    starts, stops = begin.tolist(), end.tolist()
    if node.option("offset", False):
        stops = [a + b for a, b in zip(starts, stops, strict=True)]
    ellipsis = next((i for i in range(len(starts)) if masks["ellipsis"] >> i & 1), len(starts))
    explicit = sum(1 for i in range(len(starts)) if not masks["new_axis"] >> i & 1 and i != ellipsis)
    index: list[Index] = []
    for i, (start, stop, step) in enumerate(zip(starts, stops, strides.tolist(), strict=True)):
        set_ = {name: bool(mask >> i & 1) for name, mask in masks.items()}
        if i == ellipsis:
            index += [slice(None)] * (x.ndim - explicit)
        else:
            index.append(_one(start, stop, step, set_))
    return x[tuple(index)].copy()


MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")


def _one(start: int, stop: int, step: int, masks: dict[str, bool]) -> Index:
    """The index of one axis."""
    if masks["new_axis"]:
        return None
    if masks["shrink_axis"]:
        return 0 if masks["begin"] else start
    return slice(None if masks["begin"] else start, None if masks["end"] else stop, step)


@kernel("SLICE", batched=False)
def slice_(node: Node, x: Array, begin: Array, size: Array, *, runtime: Runtime) -> Array:
    """Return ``size`` entries from ``begin`` on, all the rest where the size is -1. Shapes: begin, size (rank,)."""
    del node, runtime
    pairs = zip(begin.tolist(), size.tolist(), strict=True)
    return x[tuple(slice(b, None if n == -1 else b + n) for b, n in pairs)].copy()


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
