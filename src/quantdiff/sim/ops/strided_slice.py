"""STRIDED_SLICE and SLICE: ``tflite/kernels/{strided_slice,slice}.cc``; copies in every runtime."""

from __future__ import annotations

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime

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
