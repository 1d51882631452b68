"""Two operands of 8 bits, element by element: blocks whose sums the compiled loops compute while they round them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from quantdiff.quant import Array

ROW, WHOLE = 64, 960
"""Elements of a row at most, and of what is one row whatever their number."""


class LookedUp(NamedTuple):
    """Sums of what tables of 256 have for the bytes of both operands. All flat."""

    a: Array
    b: Array
    left: Array
    right: Array


class Multiplied(NamedTuple):
    """Products of both operands, flat, without their zero points."""

    a: Array
    b: Array
    points: tuple[int, int]


Pairs = LookedUp | Multiplied


def width_of(size: int) -> int:
    """Elements of a row, where one scale holds for all ``size``."""
    return math.gcd(size, ROW) if size % 16 == 0 or size > WHOLE else max(1, size)


def flattened(x: Array, shape: tuple[int, ...]) -> Array:
    """An operand broadcast to ``shape``, one element after another, as the compiled loops take it."""
    whole = x if x.shape == shape else np.broadcast_to(x, shape)
    return np.require(whole, requirements=["C", "W"]).reshape(-1)


def blocks_of(
    pairs: Pairs, width: int, compiled: object, of: Callable[[Array, Array], Array]
) -> Iterable[Pairs | Array]:
    """One block for the compiled loops, or blocks of rows that NumPy computes by ``of``."""
    return [pairs] if compiled else in_numpy(pairs, width, of)


def in_numpy(pairs: Pairs, width: int, of: Callable[[Array, Array], Array], at_once: int = 2**18) -> Iterator[Array]:
    """The sums in blocks of rows, (rows, width) each."""
    step = max(1, at_once // width) * width
    for start in range(0, pairs.a.size, step):
        yield of(pairs.a[start : start + step], pairs.b[start : start + step]).reshape(-1, width)
