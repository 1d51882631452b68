"""What a ladder is held against: the runtime's outputs, on the grid of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantdiff.align.outputs import pair_outputs
from quantdiff.graph import Graph, Model
from quantdiff.ladder.account import Target
from quantdiff.quant import Array, Grid, quantize
from quantdiff.references.keras.model import KerasModel
from quantdiff.run.inner_tensors import Reading
from quantdiff.trace import Trace, Value


@dataclass(frozen=True, slots=True)
class OutputGrids:
    """The outputs of the file: their grids, how close floats without a grid must be, and whose places they take.

    ``order[k]`` is the place among the reference's outputs of the one that belongs to output ``k`` of the file.
    """

    grids: tuple[Grid | None, ...]
    order: tuple[int, ...]
    tolerance: float

    def targets(self, outputs: Sequence[Array]) -> list[Target]:
        """What the runtime gave, flat."""
        return [
            Target(on_grid(y, grid).reshape(-1), None if grid else self.tolerance)
            for y, grid in zip(outputs, self.grids, strict=True)
        ]

    def of_reference(self, outputs: Sequence[Array]) -> list[Array]:
        """The reference's outputs in the file's order, as integers of its grids."""
        return [on_grid(outputs[k], grid) for k, grid in zip(self.order, self.grids, strict=True)]

    def of_file(self, graph: Graph, values: Mapping[int, Array]) -> list[Array]:
        """The file's own outputs, out of all its tensors."""
        return [on_grid(values[i], grid) for i, grid in zip(graph.outputs, self.grids, strict=True)]


def ends_of_file(graph: Graph, order: Sequence[int], tolerance: float) -> OutputGrids:
    """Grids of the graph's outputs."""
    return OutputGrids(tuple(graph.grid_before(i) for i in graph.outputs), tuple(order), tolerance)


def on_grid(values: Array, grid: Grid | None) -> Array:
    """Integers of the grid; floats as they are where there is none."""
    if grid is None or values.dtype.name == grid.dtype:
        return values
    return quantize(values, grid.params, grid.dtype)


def order_of_outputs(keras: KerasModel, model: Model, ours: Sequence[Array], reading: Reading) -> tuple[int, ...]:
    """For each output of the file the place of the reference's output that belongs to it.

    Raises:
        NotComparable: the outputs do not fit each other.
    """
    names = {i: name for s in model.signatures if s.subgraph == 0 for name, i in s.outputs}
    tensors = [model.main.tensors[i] for i in model.main.outputs]
    theirs = tuple(
        Value(names.get(t.index, t.name), y.reshape(-1, *y.shape[2:]), t.quant if y.dtype.kind in "iu" else None)
        for t, y in zip(tensors, reading.outputs, strict=True)
    )
    references = tuple(Value(name, array) for name, array in zip(keras.outputs, ours, strict=True))
    found, _ = pair_outputs(Trace(keras.kind, references), Trace("the .tflite", theirs))
    places = {id(b): next(k for k, a in enumerate(references) if a is own) for own, b in found}
    return tuple(places[id(value)] for value in theirs)
