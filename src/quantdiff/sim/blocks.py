"""Sums in blocks: arrays that NumPy has made, or what compiled loops compute while they round it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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


INT32_END = 2**31


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of products, (rows, channels), in blocks of rows: int32, or floats that are integers.

    ``offset`` is to be added per channel, with the wrap of an int32: bias and zero-point terms. With it no sum is
    further than ``reach`` from 0. A block is valid until the next one is asked for.
    """

    rows: int
    offset: Array
    blocks: Iterable[Block]
    reach: int = INT32_END


class Product(NamedTuple):
    """A block of sums for ``loops.round_block``, which rounds each part of them before it computes the next.

    Attributes:
        image: the stored activations as bytes, (n, h, w * c).
        lines: output rows and columns of an image.
        steps: how many input lines, and elements of one, output rows and columns are apart.
        border: input lines above the first, elements before and in a padded line, and how many lines a window spans.
        bytes_: what turns stored bytes into unsigned ones, and what padding is before.
        places: where in the padded lines the words of a window begin.
        packed: the weights (``loops.pack``).
    """

    image: Array
    lines: tuple[int, int]
    steps: tuple[int, int]
    border: tuple[int, int, int, int]
    bytes_: tuple[np.uint8, np.uint8]
    places: Array
    packed: Array


class Channels(NamedTuple):
    """The same of a depthwise convolution.

    Attributes:
        taps: how many words are above each other, and how far apart, in lines, the bytes of one are.
        places: where words of a window begin, in lines of as many words a pixel as a tile has columns.
        packed: the weights once for each output line that the words serve (``loops.pack_channels``).
    """

    image: Array
    lines: tuple[int, int]
    steps: tuple[int, int]
    border: tuple[int, int, int, int]
    bytes_: tuple[np.uint8, np.uint8]
    taps: tuple[int, int]
    places: Array
    packed: Array


Block = Array | Product | Channels | LookedUp | Multiplied
