"""What is asked of a pair, and what a ladder is held against: the runtime's outputs, on the grid of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.graph import Graph, Model
from quantdiff.ladder.account import Target
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, Value, quantize
from quantdiff.run.inner_tensors import Reading
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class Question:
    """The reference as its engine runs it and as a float graph, the file, and the data.

    ``trace`` gives the reference's own outputs for samples; ``kind`` is its engine: ``float``, ``qat``,
    ``tflite:xnnpack``. ``lowering`` is the reference as TFLite operators, None where that cannot be had:
    ``why`` says so. Outputs
    without a grid count as equal within ``tolerance``, in real units. ``single``: a sample and an element of the
    outputs, all counted through, whose difference is listed. ``names``: by tensor of the file the reference's layer.
    """

    kind: str
    trace: Callable[[Batch], Trace]
    lowering: Model | None
    model: Model
    batch: Batch
    tolerance: float
    notes: tuple[str, ...] = ()
    single: tuple[int, int] | None = None
    why: str = ""
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputGrids:
    """The outputs of the file: their grids, how close floats without a grid must be, and whose places they take.

    ``order[k]`` is the place among the reference's outputs of the one that belongs to output ``k`` of the file.
    """

    grids: tuple[Grid | None, ...]
    order: tuple[int, ...]
    tolerance: float

    @property
    def units(self) -> tuple[float, ...]:
        """Real units of a step, by output; 1 where there is no grid."""
        return tuple(float(np.float32(grid.params.scale[0])) if grid else 1.0 for grid in self.grids)

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
    """Integers of the grid; floats as they are where there is none, and whole numbers that are on none."""
    if grid is None or values.dtype.kind in "iub":
        return values
    return quantize(values, grid.params, grid.dtype)


def order_of_outputs(reference: Trace, model: Model, outputs: Sequence[Array], name: str) -> tuple[int, ...]:
    """For each output of a file the place of the reference's output that belongs to it.

    Shapes: ``outputs`` (samples, *shape of the tensor), in the file's order.

    Raises:
        NotComparable: the outputs do not fit each other.
    """
    theirs = trace_of_file(model, outputs, reference, name)
    found, _ = pair_outputs(reference, theirs)
    places = {id(b): next(k for k, a in enumerate(reference.outputs) if a is own) for own, b in found}
    return tuple(places[id(value)] for value in theirs.outputs)


def trace_of_file(model: Model, outputs: Sequence[Array], reference: Trace, name: str) -> Trace:
    """A file's outputs as a trace, as many samples in a run as the reference shows."""
    names = {i: key for s in model.signatures if s.subgraph == 0 for key, i in s.outputs}
    tensors = [model.main.tensors[i] for i in model.main.outputs]
    values = tuple(
        Value(
            names.get(t.index, t.name),
            _joined(y, reference),
            t.quant if y.dtype.kind in "iu" else None,
            model.main.grid_before(t.index),
        )
        for t, y in zip(tensors, outputs, strict=True)
    )
    return Trace(name, values)


def _joined(array: Array, reference: Trace) -> Array:
    """Runs of several samples as samples; an output without an axis of samples as it is."""
    samples = len(reference.outputs[0].array)
    return array.reshape(-1, *array.shape[2:]) if array.ndim > 1 and len(array) * array.shape[1] == samples else array


def order_from_reading(reference: Trace, model: Model, reading: Reading) -> tuple[int, ...]:
    """The same for the file on a runtime."""
    return order_of_outputs(reference, model, reading.outputs, "the .tflite")
