"""Exact integer accumulators by BLAS: no runtime changes them, so every runtime shares them.

A float32 product of integers is exact while no partial sum can reach 2**24, a float64 one up to 2**53. Sums
stay floats that hold integers, as every runtime's rounding starts from there.
"""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.fixed_point import wrap_int32
from quantdiff.sim.node import zero_point_of

EXACT_FLOAT32, EXACT_FLOAT64 = 2**23, 2**53
"""Bounds of a sum of products; in float32 one bit is left for the bias."""
INT32_END = 2**31


def exact_dtype(reach: int, w: Array) -> type[np.float32] | type[np.float64]:
    """The narrowest float in which every partial sum of ``x @ w`` is exact, where ``|x| <= reach``.

    Shape: w (…, k, n), of integers.
    """
    largest = reach * int(np.abs(w.astype(np.int64)).sum(axis=-2).max(initial=0))
    if largest >= EXACT_FLOAT64:
        raise OverflowError("a sum of products exceeds 2**53: these cannot be 8- or 16-bit operands")
    return np.float32 if largest < EXACT_FLOAT32 else np.float64


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
        narrow = acc.dtype == np.float32 and int(np.abs(bias.astype(np.int64)).max(initial=0)) < EXACT_FLOAT32
        acc = acc if narrow else acc.astype(np.float64, copy=False)
        acc += bias.reshape(-1)  # in place: the sum belongs to this operator alone
    if acc.dtype == np.float32 or max(float(acc.max(initial=0)), -float(acc.min(initial=0))) < INT32_END:
        return acc
    return wrap_int32(acc)
