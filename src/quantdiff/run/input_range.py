"""Whether data and file agree about the input: what the file's grid holds there, and what the data reach."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.graph import Graph, Model
from quantdiff.load.data import Batch
from quantdiff.load.mapped import blocks
from quantdiff.ops import INTO_INTEGERS
from quantdiff.quant import INTEGER_RANGE, Array, Grid
from quantdiff.run.random_input import MADE_UP
from quantdiff.run.tflite import bound_inputs

CLIPPED, COARSE = 0.01, 8
"""The share of values beyond the ends, and the number of steps between the least and the most of the data, from which
a word is due."""


def data_warnings(model: Model, batch: Batch) -> tuple[str, ...]:
    """What a reader must know of the data before any figure."""
    made = (
        (f"on {batch.source.replace(' ', ' data ', 1)}, which no application sees",)
        if batch.source.startswith(MADE_UP)
        else ()
    )
    return (*made, *(() if made else _ranges(model, batch)))


def _ranges(model: Model, batch: Batch) -> Iterator[str]:
    graph = model.main
    for tensor, array in zip(graph.inputs, bound_inputs(model, batch), strict=True):
        grid, name = grid_at(graph, tensor), graph.tensors[tensor].label
        if grid is not None and array.dtype.kind in "fiu":
            yield from _range(name, grid, array)


def grid_at(graph: Graph, tensor: int) -> Grid | None:
    """The grid that an input lies on, or is quantized to."""
    readers = graph.readers(tensor)
    alone = readers[0] if len(readers) == 1 and readers[0].op == INTO_INTEGERS else None
    return graph.tensors[tensor].grid or (None if alone is None else graph.tensors[alone.outputs[0]].grid)


def _range(name: str, grid: Grid, array: Array) -> Iterator[str]:
    scale, zero_point = float(grid.params.scale[0]), int(grid.params.zero_point[0])
    low, high = ((q - zero_point) * scale for q in INTEGER_RANGE[grid.dtype])
    beyond, least, most = 0, np.inf, -np.inf
    for _, part in blocks(array):
        beyond += int(np.count_nonzero((part < low - scale) | (part > high + scale)))
        least, most = min(least, float(part.min())), max(most, float(part.max()))
    reach = f"the file's input {name!r} holds {low:.4g} … {high:.4g}, the data reach {least:.4g} … {most:.4g}"
    if beyond > CLIPPED * array.size:
        yield f"{reach}: {beyond / array.size:.0%} of the values are clipped; are the data prepared as in training?"
    elif least < most < least + COARSE * scale:
        steps = (most - least) / scale
        yield f"{reach}: {steps:.1f} steps for all of it; are the data prepared as in training?"
