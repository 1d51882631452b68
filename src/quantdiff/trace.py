"""Trace: what a model gave for one batch, tensor by tensor, and who computed it; two arrays bit by bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array, Value


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
