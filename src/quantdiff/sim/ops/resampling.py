"""Images made smaller or larger: MAX_POOL_2D, AVERAGE_POOL_2D, RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR.

Pools: ``internal/reference/integer_ops/pooling.h``; all runtimes agree.
RESIZE_BILINEAR: LiteRT ``internal/reference/resize_bilinear.h`` (``ResizeBilinearInteger``), in Q10. xnnpack:
``src/indirection.c`` and ``src/s8-ibilinear/sse.c.in``, in Q11. uint8 in LiteRT is float. Floats: the same,
``internal/optimized/resize_bilinear.h`` on builtin, ``src/f32-ibilinear/sse.c.in``.
RESIZE_NEAREST_NEIGHBOR: ``internal/reference/resize_nearest_neighbor.h``. builtin: the same but for uint8 without
options, ``internal/optimized/optimized_ops.h``, in Q16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array, round_half_away
from quantdiff.sim.accumulate import Axis, axes_of, pad_image, windows
from quantdiff.sim.floats import xnnpack
from quantdiff.sim.floats.elementwise import added_in_order, clamped, flushed, multiply_add
from quantdiff.sim.floats.xnnpack import fma
from quantdiff.sim.node import Node, NoKernel, clamp_of, is_quantized, kernel, sized
from quantdiff.sim.rounding.fixed_point import divide_half_away, rint, rounding_shift_right
from quantdiff.sim.runtime import Runtime


@kernel("MAX_POOL_2D")
def max_pool_2d(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute the largest value of each window, clamped. Shapes: (n, h, w, c) -> (n, out_h, out_w, c)."""
    axes = axes_of(node, x.shape, filter_of(node))
    if node.x.dtype == "float32":
        return largest_float(node, x, axes, runtime)
    check_pool(node)
    low, _ = INTEGER_RANGE[node.x.dtype]
    largest: Array = windows(pad_image(x, axes, low), axes).max(axis=(3, 4))
    clamped: Array = largest.clip(*clamp_of(node, runtime))
    return clamped.astype(x.dtype)


@kernel("AVERAGE_POOL_2D")
def average_pool_2d(node: Node, x: Array, *, runtime: Runtime) -> Array:
    """Compute the mean of the window's part inside the image, half away, clamped.

    Shapes: (n, h, w, c) -> (n, out_h, out_w, c).
    """
    axes = rows, columns = axes_of(node, x.shape, filter_of(node))
    if node.x.dtype == "float32":
        return mean_float(node, x, axes, runtime)
    check_pool(node)
    total = windows(pad_image(x.astype(np.int64), axes, 0), axes).sum(axis=(3, 4))
    count = (inside(rows)[:, None] * inside(columns))[..., None]
    return divide_half_away(total, count).clip(*clamp_of(node, runtime)).astype(x.dtype)


def largest_float(node: Node, x: Array, axes: tuple[Axis, Axis], runtime: Runtime) -> Array:
    """The same of floats; below the smallest normal one there is nothing in XNNPACK."""
    x = flushed(x) if runtime is Runtime.XNNPACK else x
    seen = windows(pad_image(x, axes, -np.inf), axes)
    return clamped(node, seen.max(axis=(3, 4)), runtime)


def mean_float(node: Node, x: Array, axes: tuple[Axis, Axis], runtime: Runtime) -> Array:
    """The same of floats, line by line; XNNPACK in rounds of nine taps."""
    seen = windows(pad_image(x, axes, 0.0), axes)
    count = (inside(axes[0])[:, None] * inside(axes[1]))[..., None].astype(np.float32)
    if runtime is Runtime.XNNPACK and filter_of(node) == (1, 1):  # which it takes for a clamp
        return clamped(node, flushed(seen[:, :, :, 0, 0]), runtime)
    if runtime is Runtime.XNNPACK:
        return clamped(node, xnnpack.average(seen, np.float32(1) / count), runtime)
    total = added_in_order(seen, (3, 4))
    return clamped(node, total / count, runtime)


def check_pool(node: Node) -> None:
    """Refuse what these formulas do not cover."""
    if not is_quantized(node.x, "int8", "uint8", "int16"):
        raise NoKernel(f"type {node.x.dtype}")


def filter_of(node: Node) -> tuple[int, int]:
    """Window height and width."""
    return int(node.option("filter_height", 1)), int(node.option("filter_width", 1))


def inside(axis: Axis) -> Array:
    """How many taps of each window lie inside the image. Shape: (out,)."""
    first = np.arange(axis.out) * axis.stride - axis.before
    return np.minimum(first + axis.taps, axis.size) - np.maximum(first, 0)


BITS, XNNPACK_BITS = 10, 11
EIGHTFOLD, BLOCK = 8, 8
"""How much larger, and in how many channels at once, the kernel makes what it makes eight times as large."""


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
    sized((*size, x.shape[3]), x[0].size)
    narrow = is_quantized(node.x, "int8") or (is_quantized(node.x, "uint8") and runtime.family is Runtime.XNNPACK)
    if node.x.dtype in ("float32", "uint8") and not narrow:
        return by_float(x, size, corners, centres, runtime)
    if not (narrow or is_quantized(node.x, "int16")):
        raise NoKernel(f"type {node.x.dtype}")
    find, bits = (in_q11, XNNPACK_BITS) if runtime.family is Runtime.XNNPACK else (in_q10, BITS)
    rows, columns = (
        find(have, int(want), corners, centres, runtime) for have, want in zip(x.shape[1:3], size, strict=True)
    )
    total = interpolate(x.astype(np.int64), rows, columns, 1 << bits)
    if runtime.family is Runtime.XNNPACK:
        return rounding_shift_right(total, 2 * bits).astype(x.dtype)
    return divide_half_away(total, 1 << (2 * bits)).astype(x.dtype)


def by_float(x: Array, size: Array, corners: bool, centres: bool, runtime: Runtime) -> Array:
    """Floats, and uint8 of LiteRT, in float32 (``ResizeBilinear``). Shapes: (n, h, w, c), size (2,)."""
    if runtime.family is Runtime.XNNPACK:
        return by_differences(x, size, corners, centres, runtime)
    fast, sizes = runtime.family is Runtime.BUILTIN, tuple(map(int, size))
    if fast and x.dtype != np.float32 and centres and x.shape[3] % BLOCK == 0 and is_eightfold(x, sizes):
        raise NoKernel("uint8 made eight times as large, for which the fast kernels have one of its own")
    if fast and x.dtype == np.float32 and not (corners or centres) and sizes == (2 * x.shape[1], 2 * x.shape[2]):
        return doubled(x)
    rows, columns = (
        in_float(have, want, corners, centres, runtime) for have, want in zip(x.shape[1:3], sizes, strict=True)
    )
    down, right, one = rows.weight[:, None, None], columns.weight[:, None], np.float32(1)
    real = x.astype(np.float32)
    corners_of_all = [
        (rows.low, one - down, columns.low, one - right),
        (rows.high, down, columns.low, one - right),
        (rows.low, one - down, columns.high, right),
        (rows.high, down, columns.high, right),
    ]
    if fast:  # row by row
        corners_of_all[1:3] = corners_of_all[2:0:-1]
    seen = [real[:, row][:, :, column] for row, _, column, _ in corners_of_all]
    parts = [(s, f * g) if fast else (s * f, g) for s, (_, f, _, g) in zip(seen, corners_of_all, strict=True)]
    if fast and x.dtype == np.float32:  # onto zeros
        parts = [(np.zeros_like(real[:1, :1, :1]), one), *parts]
    total: Array = parts[1][0] * parts[1][1]
    for pixels, share in (parts[0], *parts[2:]):
        total = multiply_add(pixels, share, total, runtime)
    return total if x.dtype == np.float32 else (total + np.float32(0.5)).astype(x.dtype)


def is_eightfold(x: Array, size: tuple[int, ...]) -> bool:
    """As ``ResizeBilinear888Uint8`` asks for. Shape: (n, h, w, c)."""
    return min(size) >= EIGHTFOLD and size == (EIGHTFOLD * x.shape[1], EIGHTFOLD * x.shape[2])


def doubled(x: Array) -> Array:
    """Twice as many rows and columns (``ResizeBilinear2x2``): means of two. Shape: (n, h, w, c) -> (n, 2h, 2w, c)."""
    right = np.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2)
    down, across = (np.concatenate([each[:, 1:], each[:, -1:]], axis=1) for each in (x, right))
    y = np.empty((len(x), 2 * x.shape[1], 2 * x.shape[2], x.shape[3]), np.float32)
    half = np.float32(0.5)
    y[:, ::2, ::2], y[:, ::2, 1::2], y[:, 1::2, ::2] = x, (x + right) * half, (x + down) * half
    y[:, 1::2, 1::2] = (y[:, 1::2, ::2] + (right + across) * half) * half
    return y


def by_differences(x: Array, size: Array, corners: bool, centres: bool, runtime: Runtime) -> Array:
    """XNNPACK's: a share of the difference to the right, then of that downwards. Shapes: as ``by_float``."""
    x = flushed(x)
    rows, columns = (
        in_shares(have, int(want), corners, centres, runtime) for have, want in zip(x.shape[1:3], size, strict=True)
    )
    right, down = columns.weight[:, None], rows.weight[:, None, None]

    def between(a: Array, b: Array, share: Array) -> Array:
        steps = flushed(b - a)
        return fma(steps, share, a) if runtime.on_arm64 else flushed(a + flushed(steps * share))

    lines = [
        between(line[:, :, columns.low], line[:, :, columns.high], right) for line in (x[:, rows.low], x[:, rows.high])
    ]
    return between(lines[0], lines[1], down)


def in_float(have: int, want: int, corners: bool, centres: bool, runtime: Runtime) -> Places:
    """Places in float32 (``ComputeInterpolationValues``)."""
    ends = int(corners and want > 1)
    scale = np.float32(have - ends) / np.float32(want - ends)
    at = np.arange(want).astype(np.float32)
    place = multiply_add(at + np.float32(0.5), scale, -0.5, runtime) if centres else at * scale
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


def in_q10(have: int, want: int, corners: bool, centres: bool, _: Runtime) -> Places:
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


def in_q11(have: int, want: int, corners: bool, centres: bool, runtime: Runtime) -> Places:
    """XNNPACK's places for 8 bits (``xnn_indirection_init_resize_bilinear2d_hwc_q11``)."""
    places = in_shares(have, want, corners, centres, runtime)
    return Places(places.low, places.high, rint(places.weight * np.float32(1 << XNNPACK_BITS)))


def in_shares(have: int, want: int, corners: bool, centres: bool, runtime: Runtime) -> Places:
    """XNNPACK's places for floats (``xnn_indirection_init_resize_bilinear2d_hwc_f32``), in float32."""
    ends = int(corners and want != 1)
    scale = np.float32(have - ends) / np.float32(want - ends)
    at = np.arange(want, dtype=np.float32)
    shift = (
        multiply_add(np.asarray(0.5, np.float32), scale, -0.5, runtime) if centres and not corners else np.float32(0)
    )
    place = np.maximum(multiply_add(at, scale, shift, runtime), 0)
    place = np.minimum(place, np.float32(have - 1))
    low = place.astype(np.int64)
    return Places(low, np.minimum(low + 1, have - 1), place - low.astype(np.float32))


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
