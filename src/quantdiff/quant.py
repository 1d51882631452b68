"""The numbers of tensors: affine quantization ``real = scale * (q - zero_point)``, and what a run gave.

The rules that lead to a scale are in ``nudge``. How a file packs what it stores (several integers in a byte, scales for
blocks, zeros left out), and how many elements of two arrays differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantdiff.errors import NotComparable

Array = NDArray[Any]

INTEGER_RANGE = {
    "int2": (-2, 1),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
STEPS = "int32"
"""The type of numbers of steps."""
EXACT = 2**22  # below it float32 holds halves, so that a tie is seen as one
NEARLY_HALF = np.float32(0.49999997)  # the float below 0.5: adding 0.5 itself would carry 0.49999997 over to 1


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Affine map ``real = scale * (q - zero_point)``: arXiv:1712.05877, equation 1.

    Attributes:
        scale: real units per step; one entry per tensor (``axis is None``) or one per slice along ``axis``.
        zero_point: the integer of 0.0, one entry per scale.
        axis: along which scales differ, or None.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    def along(self, ndim: int) -> tuple[Array, Array]:
        """Scale (float32) and zero point (int64), shaped to broadcast over a tensor of ``ndim`` axes."""
        shape = [1] * ndim
        if self.axis is not None:
            shape[self.axis] = -1
        scale, zero_point = np.asarray(self.scale, np.float32), np.asarray(self.zero_point, np.int64)
        if self.axis is None:
            return scale.reshape(()), zero_point.reshape(())
        return scale.reshape(shape), zero_point.reshape(shape)


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers that a tensor can hold, and the tensor of the file that says so."""

    params: QuantParams
    dtype: str
    tensor: str

    @property
    def lent(self) -> Grid:
        """Its steps without its ends, for floats that are computed from the tensor and lie on no grid."""
        return Grid(QuantParams(self.params.scale, (0,) * len(self.params.scale), self.params.axis), STEPS, self.tensor)

    @property
    def is_lent(self) -> bool:
        """Whether it only says how long a step is."""
        return self.dtype == STEPS


def unpack_integers(packed: Array, dtype: str, shape: tuple[int, ...]) -> Array:
    """``int4``, ``uint4`` or ``int2`` as TFLite packs them, lowest bits first, as int8 of ``shape``."""
    bits = int(dtype[-1])
    codes = packed.reshape(-1, 1) >> np.arange(0, 8, bits, dtype=np.uint8) & (2**bits - 1)
    values: Array = codes.reshape(-1)[: prod(shape)].reshape(shape)
    half = 0 if dtype.startswith("u") else 2 ** (bits - 1)
    signed: Array = (values ^ half).astype(np.int8) - np.int8(half)
    return signed


def real_range(params: QuantParams, dtype: str, *, narrow: bool = False) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Smallest and largest real value of ``dtype``, per scale: ``scale * (low - zero_point)``, … ``high``.

    The scale is the file's float32, the product is a double: exact for all dtypes up to 16 bits, rounded once
    for int32.

    Args:
        params: scales and zero points.
        dtype: the integers' type, as TFLite names it in lower case.
        narrow: leave the lowest code out, as symmetric weights do.

    Returns:
        Lows and highs in real units, one entry per scale.
    """
    low, high = INTEGER_RANGE[dtype]
    pairs = tuple(zip(params.scale, params.zero_point, strict=True))
    lows = tuple(scale * (low + narrow - zero_point) for scale, zero_point in pairs)
    return lows, tuple(scale * (high - zero_point) for scale, zero_point in pairs)


def round_half_away(x: Array) -> Array:
    """Round to the nearest integer, ties away from zero, as C's ``round`` does; exact in x's own dtype.

    Args:
        x: floats of any shape.

    Returns:
        Whole numbers, shape and dtype as ``x``.
    """
    whole: Array = np.trunc(x)
    nearest: Array = whole + np.copysign(np.abs(x - whole) >= 0.5, x)  # noqa: PLR2004 (a half is a half)
    return nearest


@np.errstate(all="ignore")  # a file may hold any scale
def quantize(x: Array, params: QuantParams, dtype: str) -> Array:
    """Integers nearest to ``x``, ties away from zero, clipped to the range of ``dtype``.

    The rule of TFLite's reference kernel (``reference/quantize.h``, ``AffineQuantize``): a float32
    division, C ``round``, then the zero point.

    Args:
        x: real values of any shape.
        params: one scale, or one per slice along its axis.
        dtype: the integers' type, as TFLite names it in lower case.

    Returns:
        Integers of ``dtype``, shape as ``x``.

    Raises:
        NotComparable: ``x`` holds NaN, which has no integer.
    """
    scale, zero_point = params.along(x.ndim)
    steps = np.asarray(x.astype(np.float32, copy=False) / scale)
    if x.size and np.isnan(steps.max()):
        raise NotComparable("NaN cannot be quantized: look for the layer that makes it")
    lowest, highest = INTEGER_RANGE[dtype]
    # Clipping around the zero point first keeps the sum inside int64 whatever the division gave.
    low, high = lowest - zero_point, highest - zero_point
    if max(np.abs(low).max(), np.abs(high).max()) >= EXACT:
        moved = np.clip(round_half_away(steps).astype(np.float64), low, high) + zero_point
        return moved.astype(dtype)
    np.clip(steps, low.astype(np.float32), high.astype(np.float32), out=steps)
    steps += np.copysign(NEARLY_HALF, steps)
    return (steps.astype(np.int32) + zero_point.astype(np.int32)).astype(dtype)  # the first of which truncates


@np.errstate(all="ignore")  # a file may hold any scale
def dequantize(q: Array, params: QuantParams) -> Array:
    """Real values ``scale * (q - zero_point)``: computed in double, rounded once to float32.

    Args:
        q: stored integers of any shape.
        params: one scale, or one per slice along its axis.

    Returns:
        Real units, float32, shape as ``q``.
    """
    scale, zero_point = params.along(q.ndim)
    return ((q.astype(np.int64) - zero_point) * scale.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor as the engine gave it: integers with their map to real values, or floats.

    ``array`` has the samples along axis 0. ``grid`` is the integer grid that the values lie on: the tensor's
    own parameters for integers; for floats those of the last quantized tensor before them, or None.
    """

    name: str
    array: Array = field(compare=False, repr=False)
    quant: QuantParams | None = None
    grid: Grid | None = None

    @property
    def real(self) -> Array:
        """The values in real units, float32 (integers without a scale stay as they are)."""
        return self.array if self.quant is None else dequantize(self.array, self.quant)


@dataclass(frozen=True, slots=True)
class BlockQuant:
    """Quantization per block; ``scales`` and ``zero_points`` are the indices of the tensors that hold them.

    ``kind`` is the schema's name: ``BlockwiseQuantization`` (blocks of ``block_size`` along one axis, or of
    ``block_shape``) or ``MultiAxisQuantization`` (one scale per position of ``axes``).
    """

    kind: str
    scales: int
    zero_points: int
    block_size: int
    block_shape: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SparseDimension:
    """One level of a sparse tensor: all ``size`` positions (``DENSE``) or listed ones (``SPARSE_CSR``)."""

    format: str
    size: int
    segments: Array | None = field(default=None, compare=False, repr=False)
    indices: Array | None = field(default=None, compare=False, repr=False)

    def children(self, node: Array, at_most: int) -> tuple[Array, Array, Array]:
        """Of the nodes of the level above: for each child the parent's place, its own number, its index."""
        if self.segments is None or self.indices is None:
            first, count = node * self.size, np.full(node.size, self.size)
        else:
            first, count = (bound.astype(np.int64) for bound in (self.segments[node], self.segments[node + 1]))
            count -= first
        if count.sum() > at_most:
            raise ValueError("more values than the tensor has places")
        parent = np.repeat(np.arange(node.size), count)
        within = np.arange(parent.size) - np.repeat(np.cumsum(count) - count, count)
        child = first[parent] + within
        return parent, child, within if self.indices is None else self.indices[child]


@dataclass(frozen=True, slots=True)
class Sparsity:
    """How the stored values of a sparse constant are spread: see ``SparsityParameters`` in the schema."""

    traversal_order: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[SparseDimension, ...]

    def coordinates(self, shape: tuple[int, ...]) -> tuple[tuple[Array, ...], Array]:
        """Where each stored value belongs, and its place among the stored ones.

        The levels are walked outside in, as ``FormatConverter::SparseToDense`` does
        (tensorflow/lite/kernels/internal/utils/sparsity_format_converter.cc).
        """
        node, found = np.zeros(1, np.int64), dict[int, Array]()
        for axis, level in zip(self.traversal_order, self.dimensions, strict=True):
            parent, node, index = level.children(node, at_most=prod(shape))
            found = {known: values[parent] for known, values in found.items()} | {axis: index}
        sizes = dict(zip(self.traversal_order, self.dimensions, strict=True))
        for block, axis in enumerate(self.block_map, start=len(shape)):
            found[axis] = found[axis] * sizes[block].size + found[block]
        return tuple(found[axis] for axis in range(len(shape))), node


def is_float(dtype: str) -> bool:
    """True for the floating-point dtypes."""
    return dtype.startswith(("float", "bfloat"))  # NumPy does not know them all


@dataclass(frozen=True, slots=True)
class Trace:
    """Outputs of one run on one batch, in the model's own order; ``engine`` names who ran it.

    ``engine`` is ``float``, ``qat``, ``tflite:<runtime>`` or ``simulator:<runtime>``; ``notes`` say what a
    reader should know about the run, such as samples that were run one by one.
    """

    engine: str
    outputs: tuple[Value, ...]
    notes: tuple[str, ...] = ()


def same_bits(a: Array, b: Array) -> bool:
    """True when nothing can tell the two apart."""
    if a is b:
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    left, right = (np.ascontiguousarray(x).view(np.uint8) for x in (a, b))
    return np.array_equal(left, right)


def shared(arrays: Iterable[Array]) -> list[Array]:
    """The same arrays, with one object for all that hold the same bits."""
    result: list[Array] = []
    for array in arrays:
        result.append(next((earlier for earlier in result if same_bits(earlier, array)), array))
    return result


def differing(mine: Array, theirs: Array) -> int:
    """How many elements are not the same bits; any NaN equals any other. All of them when shapes differ."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return max(mine.size, theirs.size, 1)
    if mine.dtype.kind == "c":
        mine, theirs = (np.ascontiguousarray(x).view(x.real.dtype) for x in (mine, theirs))
    if mine.dtype.kind != "f":
        return int(np.count_nonzero(mine != theirs))
    same = (mine == theirs) & (np.signbit(mine) == np.signbit(theirs))
    return int(np.count_nonzero(~(same | (np.isnan(mine) & np.isnan(theirs)))))


ROUNDING = 1e-4  # of the largest output: what another order of sums may change


def changed_elements(watched: Array, plain: Array) -> int:
    """How many elements of an output changed when its model's inner values were read.

    Integers by any bit, floats by more than another order of sums does. All of them when the sizes differ; the axes of
    size 1 may.
    """
    if watched.size != plain.size:
        return max(watched.size, plain.size)
    watched = watched.reshape(plain.shape)
    if plain.dtype.kind != "f":
        return int(np.count_nonzero(watched != plain))
    finite = np.isfinite(plain)
    allowed = ROUNDING * float(np.abs(plain, dtype=np.float64).max(where=finite, initial=0.0))
    near = np.abs(np.where(finite, watched, 0).astype(np.float64) - np.where(finite, plain, 0)) <= allowed
    same = np.where(finite, near, (watched == plain) | (np.isnan(watched) & np.isnan(plain)))
    return int(np.count_nonzero(~same))


def is_tolerance(value: float) -> bool:
    """Whether an error can be held against it: a distance in real units; nothing is beyond NaN or infinity."""
    return 0 <= value <= sys.float_info.max
