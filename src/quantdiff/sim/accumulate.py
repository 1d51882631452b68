"""Exact integer accumulators over the windows of an image, by BLAS or by compiled loops: no runtime changes them.

A float32 product of integers is exact while no partial sum can pass 2**24, a float64 one up to 2**53. Sums over
a whole array stay floats that hold integers, as every runtime's rounding starts from there; ``Sums`` hands them
out in blocks that stay in the cache until every runtime has rounded them. What is made of weights is kept as long as
these: samples come in parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from itertools import pairwise
from typing import Any, TypeVar
from weakref import ref

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.blocks import INT32_END, Channels, Product, Sums
from quantdiff.sim.node import Node, loops, sized, zero_point_of
from quantdiff.sim.rounding.fixed_point import wrap_int32


@dataclass(frozen=True, slots=True)
class Axis:
    """One image axis: ``size`` inputs, ``taps`` taps, and the padding in front."""

    size: int
    taps: int
    stride: int
    dilation: int
    before: int
    out: int

    @property
    def after(self) -> int:
        """Padding needed behind, so that the last window is whole."""
        last = (self.out - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        return max(0, last - self.size - self.before)

    @property
    def used(self) -> int:
        """How many padded inputs the windows reach."""
        return (self.out - 1) * self.stride + (self.taps - 1) * self.dilation + 1


def axis_of(size: int, taps: int, stride: int, dilation: int, padding: str) -> Axis:
    """Output size and padding in front (``tflite/kernels/padding.h``, ``ComputePaddingHeightWidth``)."""
    if min(size, taps, stride, dilation) < 1:
        raise ValueError(f"size {size}, taps {taps}, stride {stride}, dilation {dilation}: each must be 1 or more")
    reach = (taps - 1) * dilation + 1
    out = -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)
    before = max(0, (out - 1) * stride + reach - size) // 2
    return Axis(size, taps, stride, dilation, before, out)


def axes_of(node: Node, shape: tuple[int, ...], taps: tuple[int, int]) -> tuple[Axis, Axis]:
    """Rows and columns of a convolution or a pool over an NHWC input of ``shape``."""
    padding = str(node.option("padding", "SAME"))
    rows, columns = (
        axis_of(
            shape[i + 1],
            taps[i],
            int(node.option(f"stride_{side}", 1)),
            int(node.option(f"dilation_{side}_factor", 1)),
            padding,
        )
        for i, side in enumerate("hw")
    )
    return rows, columns


def pad_image(x: Array, axes: tuple[Axis, Axis], value: float) -> Array:
    """``x`` with ``value`` around its two image axes. Shapes: (n, h, w, c) -> (n, h + …, w + …, c)."""
    rows, columns = axes
    _, height, width, channels = x.shape
    sized(
        (height + rows.before + rows.after, width + columns.before + columns.after, channels), height * width * channels
    )
    widths = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
    return np.pad(x, widths, constant_values=value) if any(map(any, widths)) else x


def centred_image(x: Array, zero_point: int, axes: tuple[Axis, Axis]) -> Array:
    """``x - zero_point`` in float32, with zeros around it. Shapes: (n, h, w, c) -> (n, h + …, w + …, c)."""
    rows, columns = axes
    n, h, w, c = x.shape
    whole = h + rows.before + rows.after, w + columns.before + columns.after, c
    image = np.zeros((n, *sized(whole, h * w * c)), np.float32)
    inside = image[:, rows.before : rows.before + h, columns.before : columns.before + w]
    np.subtract(x, np.float32(zero_point), out=inside, casting="unsafe", dtype=np.float32)
    return image


def windows(x: Array, axes: tuple[Axis, Axis]) -> Array:
    """Every window of a padded image, as a view.

    Shapes: (n, h, w, c) -> (n, out_h, out_w, taps_h, taps_w, c).
    """
    rows, columns = axes
    n, h, w, c = x.strides
    shape = (x.shape[0], rows.out, columns.out, rows.taps, columns.taps, x.shape[3])
    strides = (n, h * rows.stride, w * columns.stride, h * rows.dilation, w * columns.dilation, c)
    return as_strided(x, shape, strides, writeable=False)


Made = TypeVar("Made")
KEPT_AT_MOST = 2**22
"""Bytes of a constant from which on it is made anew rather than kept."""


def kept(make: Callable[..., Made]) -> Callable[..., Made]:
    """The function; its first argument is an array, of which results are kept where nobody may write to it."""
    known: dict[tuple[Any, ...], tuple[ref[Array], Made]] = {}

    @wraps(make)
    def found(array: Array, *arguments: Any) -> Made:
        if array.flags.writeable or array.nbytes > KEPT_AT_MOST:
            return make(array, *arguments)
        key = id(array), *arguments
        if key not in known:  # an id comes again, but not before its array has gone, and its entry with it
            known[key] = ref(array, lambda _: known.pop(key, None)), make(array, *arguments)
        return known[key][1]

    return found


EXACT_FLOAT32, EXACT_FLOAT64 = 2**24, 2**53
"""Bounds of a sum of products."""
BESIDE_BIAS = 2**23
"""The same in float32 where a bias is to be added: one bit is left for it."""


BLOCK = 2**18
"""Floats of one block, operand and product together: a megabyte, as much as stays in the cache."""
SIGN = 0x80
"""That of a byte."""
LARGEST = {"int8": 128, "uint8": 255}
"""Magnitude that a stored activation can have."""


def exact_dtype(reach: int, w: Array) -> type[np.float32] | type[np.float64]:
    """The narrowest float in which every partial sum of ``x @ w`` is exact, where ``|x| <= reach``.

    Shape: w (…, k, n), of integers.
    """
    largest = reach * int(np.abs(w.astype(np.int64)).sum(axis=-2).max(initial=0))
    if largest >= EXACT_FLOAT64:
        raise OverflowError("a sum of products exceeds 2**53: these cannot be 8- or 16-bit operands")
    return np.float32 if largest < BESIDE_BIAS else np.float64


def reach_of(tensor: Tensor) -> int:
    """The largest distance of a value from the tensor's zero point."""
    low, high = INTEGER_RANGE[tensor.dtype]
    return max(high - zero_point_of(tensor), zero_point_of(tensor) - low)


def centred(q: Array, zero_point: int | Array) -> Array:
    """``q - zero_point`` as int32. Shape as ``q``."""
    return q.astype(np.int32) - np.asarray(zero_point, np.int32)


def matmul(x: Array, w: Array, reach: int | None = None) -> Array:
    """Exact ``x @ w`` for integers, where ``|x| <= reach``. Shapes: x (…, k), w (…, k, n) -> (…, n)."""
    dtype = exact_dtype(int(np.abs(x).max(initial=0)) if reach is None else reach, w)
    product: Array = x.astype(dtype, copy=False) @ w.astype(dtype)
    return product


def add_bias(acc: Array, bias: Array | None) -> Array:
    """``acc + bias`` with the wrap of an int32 accumulator. Shapes: acc (…, n), bias (n,)."""
    if bias is not None:
        narrow = acc.dtype == np.float32 and int(np.abs(bias.astype(np.int64)).max(initial=0)) < BESIDE_BIAS
        acc = acc if narrow else acc.astype(np.float64, copy=False)
        acc += bias.reshape(-1)  # in place: the sum belongs to this operator alone
    if acc.dtype == np.float32 or max(float(acc.max(initial=0)), -float(acc.min(initial=0))) < INT32_END:
        return acc
    return wrap_int32(acc)


def gemm(x: Array, w: Array, axes: tuple[Axis, Axis], zero_points: tuple[int, int], bias: Array | None) -> Sums:
    """Sums over raw activations; their zero point is settled once per channel instead of once per element.

    Shapes: x (n, h, w, groups * c), w (groups * out, kh, kw, c) as stored, or (out, depth). ``zero_points`` are those
    of both; padding counts as that of x.
    """
    x_point, w_point = zero_points
    rows, groups = len(x) * axes[0].out * axes[1].out, axes[0].taps * axes[1].taps * x.shape[3] // w[0].size
    compiled = loops(rows * len(w))
    kind = compiled.packed_type(w.dtype, w_point) if compiled is not None and groups == 1 else None
    first = 0 if bias is None else bias.reshape(-1).astype(np.int64)
    if compiled is not None and kind is not None:
        run = axes[1].taps * x.shape[3] if axes[1].dilation == 1 else x.shape[3]
        packed, sums = packed_weights(w, kind, w_point, run)
        offset = first - seen_zero(x_point, x.dtype) * sums
        return in_one(rows, offset, product(x, packed, run, axes, x_point), w[0].size)
    columns, grouped = windows(pad_image(x, axes, x_point), axes), w.reshape(groups, -1, w[0].size)
    matrix = np.empty(grouped.shape, product_dtype())
    np.copyto(matrix, grouped, casting="unsafe")
    if w_point:
        matrix -= w_point
    offset = first - x_point * sums_of_rows(matrix).reshape(-1)
    largest, ends = LARGEST[columns.dtype.name], np.iinfo(w.dtype)
    bound = largest * max(ends.max - w_point, w_point - ends.min) * grouped.shape[2]
    parts = [slice(0, grouped.shape[2])] if bound <= EXACT_FLOAT32 else exact_parts(matrix, largest)
    return Sums(rows, offset.astype(np.int32), _products(columns, matrix, parts))


def in_one(rows: int, offset: Array, block: Product | Channels, depth: int) -> Sums:
    """The sums of a block of so many products each. Shape: offset (channels,), int64."""
    reach = depth * LARGEST["uint8"] ** 2 + int(np.abs(offset).max(initial=0))
    return Sums(rows, offset.astype(np.int32), [block], min(reach, INT32_END))


@kept
def packed_weights(w: Array, kind: type[np.int8] | type[np.int16], zero_point: int, run: int) -> tuple[Array, Array]:
    """Weights as the compiled loops take them, and the sum of each column. Shape: w (columns, …)."""
    compiled = loops(math.inf)
    assert compiled is not None  # who else asks
    weights = w if kind is np.int8 else np.subtract(w, zero_point, dtype=np.int16, casting="unsafe")
    weights = weights.reshape(len(w), -1, run)
    return compiled.pack(weights, kind), weights.sum(axis=(1, 2), dtype=np.int64)


def product(x: Array, packed: Array, run: int, axes: tuple[Axis, Axis], zero_point: int) -> Product:
    """The same as one block. Shapes: x (n, h, w, c), packed as ``loops.pack`` gives it for runs of ``run``."""
    (rows, columns), c = axes, x.shape[3]
    if (rows.taps, rows.stride, columns.taps, columns.stride) == (1, 1, 1, 1) and x.shape[1:3] == (
        rows.out,
        columns.out,
    ):
        x = x.reshape(1, -1, 1, c)  # every pixel is a line
        rows, columns = Axis(x.shape[1], 1, 1, 1, 0, x.shape[1]), Axis(1, 1, 1, 1, 0, 1)
    line = (columns.before + columns.size + columns.after) * c
    sized((rows.before + rows.size + rows.after, line), x[0].size)
    starts = np.arange(1 if columns.dilation == 1 else columns.taps) * (columns.dilation * c)
    down = np.arange(rows.taps) * (rows.dilation * line)
    places = down[:, None, None] + starts[:, None] + np.arange(0, run, packed.shape[3])
    image, bytes_ = as_bytes(x, zero_point)
    border = rows.before, columns.before * c, line, (rows.taps - 1) * rows.dilation + 1
    steps = rows.stride, columns.stride * c
    return Product(image, (rows.out, columns.out), steps, border, bytes_, places.reshape(-1), packed)


def seen_zero(zero_point: int, dtype: DTypeLike) -> int:
    """The zero point of an operand of the compiled loops: a byte of int8 is 128 more as uint8."""
    return zero_point + 128 if dtype == np.int8 else zero_point


def as_bytes(x: Array, zero_point: int) -> tuple[Array, tuple[np.uint8, np.uint8]]:
    """Stored activations (n, h, w * c) as the compiled loops take them, what makes them unsigned, and a stored zero."""
    image = np.require(x, requirements=["C", "W"]).view(np.uint8).reshape(*x.shape[:2], x.shape[2] * x.shape[3])
    return image, (np.uint8(SIGN if x.dtype == np.int8 else 0), np.uint8(zero_point & 0xFF))


def sums_of_rows(matrix: Array) -> Array:
    """Exact sums along the last axis, as int64, of numbers that 8-bit weights can be."""
    if matrix.shape[-1] * LARGEST["uint8"] <= EXACT_FLOAT32:
        return np.asarray(matrix @ np.ones(matrix.shape[-1], matrix.dtype)).astype(np.int64)
    return np.asarray(matrix.sum(axis=-1, dtype=np.float64)).astype(np.int64)


def exact_parts(matrix: Array, largest: int) -> list[slice]:
    """Slices of the last axis, few, in which no sum of products with ``±largest`` passes 2**24."""
    depth, magnitude = matrix.shape[-1], np.abs(matrix)
    if largest * int(sums_of_rows(magnitude).max()) <= EXACT_FLOAT32:
        return [slice(0, depth)]
    for count in range(2, depth + 1):
        edges = np.arange(count + 1) * depth // count
        sums = np.add.reduceat(magnitude, edges[:-1], axis=-1, dtype=np.float64)
        if largest * int(sums.max()) <= EXACT_FLOAT32:
            return [slice(a, b) for a, b in pairwise(edges.tolist())]
    raise OverflowError("one product passes 2**24: these cannot be 8-bit operands")


def _products(columns: Array, matrix: Array, parts: list[slice]) -> Iterator[Array]:
    """Blocks of the products; one group in one part stays float32, else the parts add up in int32."""
    groups, out, depth = matrix.shape
    c, dtype, whole = columns.shape[5] // groups, matrix.dtype, len(parts) == groups == 1
    blocks = list(tiles(columns.shape, depth + groups * out))
    most = max((math.prod(columns[tile].shape[:3]) for tile in blocks), default=0)
    operands, sums = np.empty((most, depth), dtype), np.empty((most, groups * out), dtype if whole else np.int32)
    for tile in blocks:
        view = columns[tile]
        rows = math.prod(view.shape[:3])
        operand, acc = operands[:rows], sums[:rows]
        if not whole:
            acc[:] = 0
        for g in range(groups):
            np.copyto(operand.reshape(*view.shape[:5], c), view[..., g * c : (g + 1) * c], casting="unsafe")
            for part in parts:
                if whole:
                    np.matmul(operand, matrix[g].T, out=acc)
                else:
                    product = operand[:, part] @ matrix[g, :, part].T
                    acc[:, g * out : (g + 1) * out] += product.astype(np.int32)
        yield acc


def tiles(shape: tuple[int, ...], width: int) -> Iterator[tuple[slice, slice]]:
    """Images and output lines of one block each: whole images, or some lines of one.

    Shapes: shape (n, out_h, out_w, …), ``width`` floats per position.
    """
    images, lines = shape[:2]
    at_once = max(1, BLOCK // max(1, shape[2] * width))
    step = max(1, at_once // max(1, lines))
    for image in range(0, images, step):
        for line in range(0, lines, min(at_once, lines)):
            yield slice(image, image + step), slice(line, line + at_once)


@cache
def product_dtype() -> DTypeLike:
    """float32 where this machine multiplies matrices as exactly as IEEE promises, else the next that does.

    A BLAS that works in half precision or reorders by Strassen's method fails these sums near 2**24.
    """
    rng = np.random.default_rng(0)
    x = rng.choice(np.asarray([-128, 127]), (67, 1031)).astype(np.int64)
    w = rng.choice(np.asarray([-127, -126, 126, 127]), (1031, 65)).astype(np.int64)
    x[0], w[:, 0], w[0, 0] = -128, -127, -126
    truth = x @ w
    exact = (t for t in (np.float32, np.float64) if np.array_equal(x.astype(t) @ w.astype(t), truth))
    return next(exact, np.int64)
