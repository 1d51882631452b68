"""RESIZE_BILINEAR: LiteRT ``internal/reference/resize_bilinear.h`` (``ResizeBilinearInteger``), in Q10.

xnnpack: ``src/indirection.c`` and ``src/s8-ibilinear/sse.c.in``, in Q11. uint8 in LiteRT is float.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, is_quantized
from quantdiff.sim.registry import kernel
from quantdiff.sim.rounding.fixed_point import divide_half_away, rint, rounding_shift_right
from quantdiff.sim.runtime import Runtime

BITS, XNNPACK_BITS = 10, 11


@dataclass(frozen=True, slots=True)
class Places:
    """For each output position along one axis: the input indices below and above, and the weight of the latter."""

    low: Array
    high: Array
    weight: Array


@kernel("RESIZE_BILINEAR")
def resize_bilinear(node: Node, x: Array, size: Array, *, runtime: Runtime) -> Array:
    """Interpolate between the four nearest pixels. Shapes: (n, h, w, c), size (2,) -> (n, *size, c)."""
    corners, centres = bool(node.option("align_corners", False)), bool(node.option("half_pixel_centers", False))
    narrow = is_quantized(node.x, "int8") or (is_quantized(node.x, "uint8") and runtime is Runtime.XNNPACK)
    if node.x.dtype in ("float32", "uint8") and not narrow:
        return by_float(x, size, corners, centres, runtime)
    if not (narrow or is_quantized(node.x, "int16")):
        raise NoKernel(f"type {node.x.dtype}")
    find, bits = (in_q11, XNNPACK_BITS) if runtime is Runtime.XNNPACK else (in_q10, BITS)
    rows, columns = (find(have, int(want), corners, centres) for have, want in zip(x.shape[1:3], size, strict=True))
    total = interpolate(x.astype(np.int64), rows, columns, 1 << bits)
    if runtime is Runtime.XNNPACK:
        return rounding_shift_right(total, 2 * bits).astype(x.dtype)
    return divide_half_away(total, 1 << (2 * bits)).astype(x.dtype)


def by_float(x: Array, size: Array, corners: bool, centres: bool, runtime: Runtime) -> Array:
    """Floats, and uint8 of LiteRT, in float32 (``ResizeBilinear``). Shapes: (n, h, w, c), size (2,)."""
    if runtime not in (Runtime.REFERENCE, Runtime.TFLM):
        raise NoKernel("floats, which the fast kernels interpolate in an order of their own")
    rows, columns = (in_float(have, int(want), corners, centres) for have, want in zip(x.shape[1:3], size, strict=True))
    down, right, one = rows.weight[:, None, None], columns.weight[:, None], np.float32(1)
    real = x.astype(np.float32)
    total = np.zeros((), np.float32)
    for row, fall, column, go in (
        (rows.low, one - down, columns.low, one - right),
        (rows.high, down, columns.low, one - right),
        (rows.low, one - down, columns.high, right),
        (rows.high, down, columns.high, right),
    ):
        total = total + real[:, row][:, :, column] * fall * go
    return total if x.dtype == np.float32 else (total + np.float32(0.5)).astype(x.dtype)


def in_float(have: int, want: int, corners: bool, centres: bool) -> Places:
    """Places in float32 (``ComputeInterpolationValues``)."""
    ends = int(corners and want > 1)
    scale = np.float32(have - ends) / np.float32(want - ends)
    at = np.arange(want).astype(np.float32)
    place = (at + np.float32(0.5)) * scale - np.float32(0.5) if centres else at * scale
    low = np.maximum(np.floor(place), 0).astype(np.int64)
    high = np.minimum(np.ceil(place), have - 1).astype(np.int64)
    return Places(low, high, place - low.astype(np.float32))


def interpolate(x: Array, rows: Places, columns: Places, one: int) -> Array:
    """The four weighted pixels, not yet divided by ``one`` squared."""
    down, right = rows.weight[:, None, None], columns.weight[:, None]
    top, bottom = x[:, rows.low], x[:, rows.high]
    upper = top[:, :, columns.low] * (one - right) + top[:, :, columns.high] * right
    lower = bottom[:, :, columns.low] * (one - right) + bottom[:, :, columns.high] * right
    total: Array = upper * (one - down) + lower * down
    return total


def in_q10(have: int, want: int, corners: bool, centres: bool) -> Places:
    """LiteRT's places (``ComputeInterpolationValuesInteger``): division truncates."""
    ends = int(corners and want > 1)
    scale = (((have - ends) << BITS) + (want - ends) // 2) // (want - ends)
    place = np.arange(want) * scale + ((scale // 2 - (1 << (BITS - 1))) if centres else 0)
    low = np.maximum(truncated(place), 0)
    high = np.minimum(truncated(place + (1 << BITS) - 1), have - 1)
    return Places(low, high, place - (low << BITS))


def truncated(place: Array) -> Array:
    """The whole part of a Q10 number, towards zero."""
    return np.where(place < 0, -(-place >> BITS), place >> BITS)


def in_q11(have: int, want: int, corners: bool, centres: bool) -> Places:
    """XNNPACK's places (``xnn_indirection_init_resize_bilinear2d_hwc_q11``), in float32."""
    ends = int(corners and want != 1)
    scale = np.float32(have - ends) / np.float32(want - ends)
    place = np.arange(want, dtype=np.float32) * scale
    if centres and not corners:
        place = np.maximum(place + (np.float32(0.5) * scale - np.float32(0.5)), 0)
    place = np.minimum(place, np.float32(have - 1))
    low = place.astype(np.int64)
    weight = rint((place - low.astype(np.float32)) * np.float32(1 << XNNPACK_BITS))
    return Places(low, np.minimum(low + 1, have - 1), weight)
