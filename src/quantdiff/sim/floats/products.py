"""Sums of float32 products, each runtime adding in an order of its own.

reference: LiteRT ``internal/reference/fully_connected.h``, ``conv.h``, ``depthwiseconv_float.h``: one after another,
the bias last, fused on ARM64; tflm: the same. builtin: ``sim/floats/eigen.py``, on ARM64 ``neon.py``;
``internal/optimized/depthwiseconv_float.h``: bias first. xnnpack: ``src/f32-gemm``, ``src/f32-igemm``,
``src/f32-dwconv``: bias first, each product added without rounding it, floats below the smallest normal one as zeros;
on a CPU with FMA; in partial sums on ARM64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product, repeat

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import axes_of, pad_image, windows
from quantdiff.sim.floats import neon
from quantdiff.sim.floats.eigen import LANES, in_four_sums, in_one_sum
from quantdiff.sim.floats.eigen import product as eigen_product
from quantdiff.sim.floats.elementwise import clamped, flushed, fused_multiply_add, multiply_add
from quantdiff.sim.node import Node
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.checks import TILES, unused_taps

ACCUMULATORS = 4832
"""Sums that ``builtin`` keeps while it goes through the taps (``kAccBufferMaxSize``)."""
COMPILED = 2 * LANES
"""Products that the reference loops take at once where their compiler sees no way out of the order."""
NARROW, NARROW_LANES = 8, 4
"""Units from which XNNPACK's kernels for ARM64 take eight at a time, and partial sums of those for two."""
CLAMPED_AT_ZERO = ("RELU", "RELU6")


def dense(node: Node, x: Array, w: Array, bias: Array | None, runtime: Runtime) -> Array:
    """Compute ``clamp(x @ w.T + bias)`` in float32.

    Shapes: x (rows, depth), w (units, depth), bias (units,) -> (rows, units).
    """
    return clamped(node, row_products(x, w, bias, runtime, math.prod(node.x.shape) // x.shape[1]), runtime)


def row_products(x: Array, w: Array, bias: Array | None, runtime: Runtime, at_once: int, units: int = 0) -> Array:
    """The same without a clamp; a call of the kernel, which is that for so many ``units``, sees ``at_once`` rows."""
    offset = np.zeros(len(w), np.float32) if bias is None else bias
    if runtime is Runtime.XNNPACK_ARM64:
        pairs = ((x[:, k, None], w[:, k]) for k in range(x.shape[1]))
        whole = np.broadcast_to(offset, (len(x), len(w)))
        return in_lanes(pairs, whole, x.shape[1], lanes_of(units or len(w), at_once, one_tap=True))
    if runtime.family is not Runtime.BUILTIN:
        pairs = ((x[:, k, None], w[:, k]) for k in range(x.shape[1]))
        return in_order(pairs, np.broadcast_to(offset, (len(x), len(w))), runtime, x.shape[1])
    return by_call(x, w, bias, at_once, runtime)


def by_call(x: Array, w: Array, bias: Array | None, at_once: int, runtime: Runtime) -> Array:
    """``builtin``'s ``x @ w.T + bias``, a call for each ``at_once`` rows. Shapes: x (rows, depth), w (units, depth)."""
    if runtime.on_arm64:
        parts = [neon.product(x[start : start + at_once], w, bias) for start in range(0, len(x), at_once)]
        return np.concatenate(parts)
    sums = _by_eigen(x, w, at_once)
    return sums if bias is None else sums + bias


def _by_eigen(x: Array, w: Array, at_once: int) -> Array:
    if at_once == 1:  # all in one go, since each row is a call of its own
        zero = np.float32(0)  # which a single sum is added to, so that it is never -0
        return zero + in_one_sum(x, w) if len(w) == 1 else in_four_sums(x, w)
    return np.concatenate([eigen_product(x[start : start + at_once], w) for start in range(0, len(x), at_once)])


def convolution(node: Node, x: Array, w: Array, bias: Array | None, runtime: Runtime) -> Array:
    """A float convolution, group by group. Shapes: see ``ops/conv_2d.py``."""
    depth, offset = w.shape[3], np.zeros(len(w), np.float32) if bias is None else bias
    groups = x.shape[3] // depth
    if runtime.family is Runtime.BUILTIN and groups == 1:  # with groups it takes the reference kernel
        seen = _windows(node, x, w.shape[1:3])
        pixels = seen.reshape(-1, w[0].size)
        at_once = len(pixels) // (len(x) // node.x.shape[0])
        y = by_call(pixels, w.reshape(len(w), -1), offset, at_once, runtime)
        return clamped(node, y.reshape(*seen.shape[:3], -1), runtime)
    seen, out = _windows(node, x, w.shape[1:3]), len(w) // groups
    one_tap = groups == 1 and seen.shape[1:] == (*x.shape[1:3], 1, 1, x.shape[3])
    at_once = math.prod(seen.shape[1:3]) * (node.x.shape[0] if one_tap else 1)
    if runtime.family is Runtime.XNNPACK and depth == out == 1 and w[0].size <= TILES[-1]:
        return clamped(node, in_columns(node, x, np.moveaxis(w[..., 0], 0, -1), offset, runtime), runtime)
    image, parts = inside_of(node, x, w), []
    for g in range(groups):
        mine = w[g * out : (g + 1) * out]
        taps = taps_of(w, depth)
        pairs = ((seen[:, :, :, i, j, g * depth + k, None], mine[:, i, j, k]) for i, j, k in taps)
        whole = np.broadcast_to(offset[g * out : (g + 1) * out], (*seen.shape[:3], out))
        if runtime is Runtime.XNNPACK_ARM64:
            parts.append(in_lanes(pairs, whole, depth, lanes_of(out, at_once, one_tap=one_tap)))
        else:
            here = (image[:, :, :, i, j] for i, j, _ in taps_of(w, depth))
            parts.append(in_order(pairs, whole, runtime, depth, here))
    return clamped(node, np.concatenate(parts, axis=-1), runtime)


def depthwise(node: Node, x: Array, w: Array, bias: Array | None, runtime: Runtime) -> Array:
    """A float depthwise convolution. Shapes: see ``ops/depthwise_conv_2d.py``."""
    channels, offset = w.shape[3], np.zeros(w.shape[3], np.float32) if bias is None else bias
    if runtime.family is Runtime.XNNPACK and channels == x.shape[3] and w[0, :, :, 0].size <= TILES[-1]:
        return clamped(node, in_columns(node, x, w[0], offset, runtime), runtime)
    seen = _windows(node, np.repeat(x, channels // x.shape[3], axis=3), w.shape[1:3])
    taps = [*product(range(w.shape[1]), range(w.shape[2]))]
    pairs = ((seen[:, :, :, i, j], w[0, i, j]) for i, j in taps)
    whole, image = np.broadcast_to(offset, (*seen.shape[:3], channels)), inside_of(node, x, w)
    if runtime.family is Runtime.BUILTIN:
        y = clamped(node, where_inside(pairs, (image[:, :, :, i, j] for i, j in taps), whole, runtime), runtime)
        return _without_minus_behind_vectors(node, y)
    if runtime is Runtime.XNNPACK_ARM64:
        lanes = lanes_of(channels // x.shape[3], math.prod(seen.shape[1:3]), one_tap=False)
        return clamped(node, in_lanes(pairs, whole, 1, lanes), runtime)
    return clamped(node, in_order(pairs, whole, runtime, 1, (image[:, :, :, i, j] for i, j in taps)), runtime)


def taps_of(w: Array, depth: int) -> list[tuple[int, int, int]]:
    """Places in a window, and in its depth, in the order of memory. Shape of w: (out, kh, kw, depth)."""
    return [*product(range(w.shape[1]), range(w.shape[2]), range(depth))]


def inside_of(node: Node, x: Array, w: Array) -> Array:
    """Which taps lie in the image. Shapes: x (n, h, w, c), w (…, kh, kw, …) -> (1, out_h, out_w, kh, kw, 1)."""
    return _windows(node, np.ones((1, *x.shape[1:3], 1), np.float32), w.shape[1:3]) > 0


def in_columns(node: Node, x: Array, w: Array, offset: Array, runtime: Runtime) -> Array:
    """XNNPACK's kernel for one product a tap: down the columns of a window, then the taps that it has too many.

    For windows of up to 25 taps; larger ones go to the kernel that all other convolutions have. The largest has two
    partial sums on ARM64 (``src/f32-dwconv/gen/f32-dwconv-25p8c-minmax-neonfma-acc2.c``).

    Shapes: x (n, h, w, c), w (kh, kw, c), offset (c,) -> (n, out_h, out_w, c).
    """
    axes = axes_of(node, x.shape, (w.shape[0], w.shape[1]))
    image = pad_image(x, axes, 0.0)
    seen, none = windows(image, axes), np.zeros_like(offset)
    pairs = [(seen[:, :, :, i, j], w[i, j]) for j, i in product(range(w.shape[1]), range(w.shape[0]))]
    pairs += [(read, none) for read in unused_taps(image, axes)]
    whole = np.broadcast_to(offset, (*seen.shape[:3], len(offset)))
    if runtime.on_arm64 and len(pairs) == TILES[-1]:
        return in_lanes(pairs, whole, len(pairs), 2)
    return in_order(pairs, whole, Runtime.XNNPACK)


def _without_minus_behind_vectors(node: Node, y: Array) -> Array:
    """``builtin`` clamps a part of a row by vectors, which keep -0, and what is left over one by one, to 0.

    ``internal/optimized/depthwiseconv_float.h``: ``max(0, acc)`` of two zeros is the first. Shape: (n, h, w, c).
    """
    if node.activation not in CLAMPED_AT_ZERO:
        return y
    _, _, width, channels = y.shape
    part = max(1, ACCUMULATORS // channels)
    for start in range(0, width, part):
        values = y[:, :, start : start + part].reshape(*y.shape[:2], -1)
        body = values.shape[2] // LANES * LANES
        left = values[..., body:]
        values[..., body:] = np.where(left == 0, np.float32(0), left)
        y[:, :, start : start + part] = values.reshape(*y.shape[:2], -1, channels)
    return y


def where_inside(
    pairs: Iterable[tuple[Array, Array]], inside: Iterable[Array], total: Array, runtime: Runtime
) -> Array:
    """The products of the pairs onto ``total``; a tap beyond the image adds nothing, where 0 would turn -0 into 0."""
    for (a, b), here in zip(pairs, inside, strict=True):
        total = np.where(here, multiply_add(a, b, total, runtime), total)
    return total


def _windows(node: Node, x: Array, taps: tuple[int, ...]) -> Array:
    axes = axes_of(node, x.shape, (taps[0], taps[1]))
    return windows(pad_image(x, axes, 0.0), axes)


def lanes_of(units: int, rows: int, *, one_tap: bool) -> int:
    """Partial sums of XNNPACK's kernels for ARM64 (``src/configs/gemm-config.c``, ``src/f32-gemm/*-aarch64-*``).

    With few units, or with fewer of them beyond a multiple of eight than eight would waste, it takes two at a time.
    """
    wide = units >= NARROW and (not one_tap or -units % NARROW <= units % 2)
    if not wide:
        return NARROW_LANES if one_tap else 2
    return 2 if rows == 1 else 1


def in_lanes(pairs: Iterable[tuple[Array, Array]], offset: Array, depth: int, lanes: int) -> Array:
    """The products of the pairs fused onto partial sums in turn, the first of which begins with ``offset``.

    What is left of a depth in fours comes behind the sum of the four.
    """
    sums = [flushed(offset), *(np.zeros(offset.shape, np.float32) for _ in range(lanes - 1))]
    left, whole = list[tuple[Array, Array]](), depth // lanes * lanes if lanes == NARROW_LANES else depth
    for k, (a, b) in enumerate(pairs):
        place = k % depth
        if place >= whole:
            left.append((a, b))
        else:
            sums[place % lanes] = flushed(fused_multiply_add(flushed(a), flushed(b), sums[place % lanes]))
    while len(sums) > 1:
        sums = [flushed(a + b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
    (total,) = sums
    for a, b in left:
        total = flushed(fused_multiply_add(flushed(a), flushed(b), total))
    return total


def in_order(
    pairs: Iterable[tuple[Array, Array]],
    offset: Array,
    runtime: Runtime,
    depth: int = 1,
    inside: Iterable[Array | bool] = repeat(True),
) -> Array:
    """The products of the pairs one after another, onto ``offset`` (XNNPACK) or before it.

    The compiled loop over ``depth`` takes eight products at once, which it rounds; on ARM64 those left over are fused,
    so that a sum can be a zero below 0, to which a tap that is not ``inside`` the image adds nothing.
    """
    if runtime is Runtime.XNNPACK:
        total = flushed(offset)
        for a, b in pairs:
            total = flushed(fused_multiply_add(flushed(a), flushed(b), total))
        return total
    total = np.zeros(offset.shape, np.float32)
    rounded = depth // COMPILED * COMPILED
    for k, ((a, b), here) in enumerate(zip(pairs, inside, strict=False)):
        onto = total + a * b if k % depth < rounded else multiply_add(a, b, total, runtime)
        total = np.where(here, onto, total) if runtime.on_arm64 else onto
    return total + offset
