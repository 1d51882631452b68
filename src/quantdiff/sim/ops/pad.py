"""PAD, PADV2, MIRROR_PAD: LiteRT ``tflite/kernels/{pad,mirror_pad}.cc``; copies in every runtime."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, is_quantized, kernel, sized, zero_point_of
from quantdiff.sim.runtime import Runtime


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
