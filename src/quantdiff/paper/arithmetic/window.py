"""Which inputs an output pixel of a convolution or a pool sees."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from quantdiff.paper.arithmetic.registry import Case
from quantdiff.sim.window import Axis, axes_of

Place = tuple[int, int]
"""A tap and the input position that it falls on, along one axis."""


def window(case: Case, taps: tuple[int, int], pixel: tuple[int, int]) -> Iterator[tuple[Place, ...]]:
    """Rows and columns of every tap inside the image, row by row."""
    axes = axes_of(case.node, case.array(0).shape, taps)
    return product(*(inside(axis, position) for axis, position in zip(axes, pixel, strict=True)))


def inside(axis: Axis, position: int) -> list[Place]:
    """The taps of the window at ``position`` that fall on inputs, not on padding."""
    places = [(tap, position * axis.stride + tap * axis.dilation - axis.before) for tap in range(axis.taps)]
    return [(tap, place) for tap, place in places if 0 <= place < axis.size]
