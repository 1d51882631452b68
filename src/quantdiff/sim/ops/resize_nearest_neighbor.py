"""RESIZE_NEAREST_NEIGHBOR: ``internal/reference/resize_nearest_neighbor.h``.

builtin: the same but for uint8 without options, ``internal/optimized/optimized_ops.h``, in Q16.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array, round_half_away
from quantdiff.sim.node import Node, kernel, sized
from quantdiff.sim.runtime import Runtime


@kernel("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest_neighbor(node: Node, x: Array, size: Array, *, runtime: Runtime) -> Array:
    """Return the nearest input value for each output position. Shapes: (n, h, w, c), size (2,) -> (n, *size, c)."""
    corners, centres = bool(node.option("align_corners", False)), bool(node.option("half_pixel_centers", False))
    fast = x.dtype == np.uint8 and runtime is Runtime.BUILTIN and not (corners or centres)
    sized((*size, x.shape[3]), x[0].size)
    rows, columns = (
        in_q16(have, int(want)) if fast else nearest(have, int(want), corners, centres)
        for have, want in zip(x.shape[1:3], size, strict=True)
    )
    return x[:, rows][:, :, columns]


def nearest(have: int, want: int, corners: bool, centres: bool) -> Array:
    """Input index of each output index (``GetNearestNeighbor``), in float32. Shape: (want,)."""
    ends = corners and want > 1
    scale = np.float32(have - 1) / np.float32(want - 1) if ends else np.float32(have) / np.float32(want)
    place = (np.arange(want, dtype=np.float32) + np.float32(0.5 if centres else 0)) * scale
    whole = round_half_away(place) if corners else np.floor(place)
    return np.clip(whole, 0, have - 1).astype(np.int64)


def in_q16(have: int, want: int) -> Array:
    """The same in 16 fractional bits. Shape: (want,)."""
    index: Array = np.minimum((np.arange(want) * ((have << 16) // want + 1)) >> 16, have - 1)
    return index
