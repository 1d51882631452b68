"""Exact integer accumulators by BLAS: no runtime changes them, so every runtime shares them.

A float32 product of integers is exact while no partial sum can reach 2**24, a float64 one up to 2**53.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.fixed_point import wrap_int32

EXACT_FLOAT32, EXACT_FLOAT64 = 2**24, 2**53


def exact_dtype(x: Array, w: Array) -> type[np.float32] | type[np.float64]:
    """The narrowest float in which every partial sum of ``x @ w`` is an exact integer.

    Shapes: x (…, k), w (k, n); both hold integers.
    """
    largest = int(np.abs(x).max(initial=0)) * int(np.abs(w.astype(np.int64)).sum(axis=0).max(initial=0))
    if largest >= EXACT_FLOAT64:
        raise OverflowError("a sum of products exceeds 2**53: these cannot be 8- or 16-bit operands")
    return np.float32 if largest < EXACT_FLOAT32 else np.float64


def centred(q: Array, zero_point: int | Array) -> Array:
    """``q - zero_point`` as int32. Shape as ``q``."""
    return q.astype(np.int32) - np.asarray(zero_point, np.int32)


def matmul(x: Array, w: Array) -> Array:
    """Exact ``x @ w`` for integers, as int64. Shapes: x (…, k), w (…, k, n) -> (…, n)."""
    dtype = exact_dtype(x, w) if w.ndim == 2 else np.float64  # noqa: PLR2004 (a stack of matrices)
    product: Array = x.astype(dtype) @ w.astype(dtype)
    return product.astype(np.int64)


def add_bias(acc: Array, bias: Array | None) -> Array:
    """``acc + bias`` with the wrap of an int32 accumulator. Shapes: acc (…, n), bias (n,)."""
    return wrap_int32(acc if bias is None else acc + bias.reshape(-1))
