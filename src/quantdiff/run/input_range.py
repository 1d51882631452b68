"""Whether data and file agree about the input: what the file's grid holds there, and what the data reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from quantdiff.graph import Graph, Model
from quantdiff.load.data import Batch
from quantdiff.load.npz import blocks
from quantdiff.ops import INTO_INTEGERS
from quantdiff.quant import INTEGER_RANGE, Array, Grid
from quantdiff.run.random_input import CALLED
from quantdiff.run.tflite import bound_inputs

CLIPPED, COARSE = 0.01, 8
"""The share of values beyond the ends, and the number of steps between the least and the most of the data, from which
a word is due."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the data reach at one input, ``count`` values so far, and how many are ``beyond`` what its grid holds.

    ``shape`` is that of a sample.
    """

    name: str
    shape: tuple[int, ...]
    grid: Grid
    count: int
    beyond: int
    least: float
    most: float

    def __add__(self, other: Reach) -> Reach:
        counts = self.count + other.count, self.beyond + other.beyond
        return Reach(
            self.name, self.shape, self.grid, *counts, min(self.least, other.least), max(self.most, other.most)
        )

    @property
    def ends(self) -> tuple[float, float]:
        """What the grid holds, in real units."""
        return _ends(self.grid)

    def fits(self, other: Reach) -> bool:
        """Whether another input could hold these data, where no word would be due."""
        scale = float(other.grid.params.scale[0])
        low, high = other.ends
        inside = low - scale <= self.least and self.most <= high + scale
        return self.shape == other.shape and inside and self.most - self.least >= COARSE * scale

    def warnings(self) -> Iterator[str]:
        """A word, where one is due."""
        low, high = self.ends
        reach = (
            f"the file's input {self.name!r} holds {low:.4g} … {high:.4g}, "
            f"the data reach {self.least:.4g} … {self.most:.4g}"
        )
        scale = float(self.grid.params.scale[0])
        if self.beyond > CLIPPED * self.count:
            share = self.beyond / self.count
            yield f"{reach}: {share:.0%} of the values are clipped; are the data prepared as in training?"
        elif self.least < self.most < self.least + COARSE * scale:
            steps = (self.most - self.least) / scale
            yield f"{reach}: {steps:.1f} steps for all of it; are the data prepared as in training?"


def data_warnings(model: Model, batch: Batch) -> tuple[str, ...]:
    """What a reader must know of the data before any figure."""
    return warnings_of(reaches(model, batch), batch.source)


def warnings_of(found: Sequence[Reach], source: str) -> tuple[str, ...]:
    """The same from what was counted of the data of that name."""
    if made := CALLED.fullmatch(source):
        return (f"on {made[1]} data {made[2]}, which no application sees",)
    return (*_swapped(found), *(line for each in found for line in each.warnings()))


def _swapped(found: Sequence[Reach]) -> Iterator[str]:
    """A word for two inputs that do not hold their data, and would hold each other's."""
    wrong = [each for each in found if any(each.warnings())]
    for one, other in combinations(wrong, 2):
        if one.fits(other) and other.fits(one):
            yield f"the data of {one.name!r} and {other.name!r} may be swapped: each input would hold the other's"


def reaches(model: Model, batch: Batch) -> tuple[Reach, ...]:
    """What is counted of the data at each input that lies on a grid; () for data that are made up."""
    if CALLED.fullmatch(batch.source):
        return ()
    graph, found = model.main, list[Reach]()
    for tensor, array in zip(graph.inputs, bound_inputs(model, batch), strict=True):
        grid = grid_at(graph, tensor)
        if grid is not None and array.dtype.kind in "fiu":
            found.append(_reach(graph.tensors[tensor].label, grid, array))
    return tuple(found)


def grid_at(graph: Graph, tensor: int) -> Grid | None:
    """The grid that an input lies on, or is quantized to."""
    readers = graph.readers(tensor)
    alone = readers[0] if len(readers) == 1 and readers[0].op == INTO_INTEGERS else None
    return graph.tensors[tensor].grid or (None if alone is None else graph.tensors[alone.outputs[0]].grid)


def _ends(grid: Grid) -> tuple[float, float]:
    scale, zero_point = float(grid.params.scale[0]), int(grid.params.zero_point[0])
    low, high = ((q - zero_point) * scale for q in INTEGER_RANGE[grid.dtype])
    return low, high


def _reach(name: str, grid: Grid, array: Array) -> Reach:
    (low, high), scale = _ends(grid), float(grid.params.scale[0])
    beyond, least, most = 0, np.inf, -np.inf
    for _, part in blocks(array):
        beyond += int(np.count_nonzero((part < low - scale) | (part > high + scale)))
        least, most = min(least, float(part.min())), max(most, float(part.max()))
    return Reach(name, array.shape[1:], grid, array.size, beyond, least, most)
