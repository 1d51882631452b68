"""Count, slice by slice, what differs at each rung and at which rung each output comes right.

What is asked of a pair, and what a ladder is held against: the runtime's outputs, on the grid of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.graph import Graph, Model
from quantdiff.ladder.explanation import LISTED, Difference, LayerLadder, Rung
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, Trace, Value, quantize
from quantdiff.run.inner_tensors import Reading


@dataclass(frozen=True, slots=True)
class Target:
    """What the runtime gave for one output or one tensor: integers of its grid, or floats where there is none.

    Floats count as equal within ``tolerance``, in real units; any NaN equals any other.
    """

    values: Array
    tolerance: float | None = None

    def wrong(self, values: Array) -> Array:
        """Which elements are not the runtime's. Shape (samples, elements)."""
        mine = values.reshape(self.values.shape)
        if self.tolerance is None:
            return np.asarray(mine != self.values)
        with np.errstate(invalid="ignore", over="ignore"):  # a file may give infinities
            close = np.abs(mine.astype(np.float64) - self.values) <= self.tolerance
        wrong: Array = ~(close | (mine == self.values) | (np.isnan(mine) & np.isnan(self.values)))
        return wrong

    def distance(self, values: Array) -> int | None:
        """The largest difference in steps; None where there is no grid."""
        if self.tolerance is not None:
            return None
        wide = np.int16 if values.dtype.itemsize == self.values.dtype.itemsize == 1 else np.int64
        apart = np.subtract(values.reshape(self.values.shape), self.values, dtype=wide)
        return max(int(apart.max(initial=0)), -int(apart.min(initial=0)))


@dataclass(slots=True)
class Account:
    """Running sums over the data; nothing grows with it."""

    mechanisms: tuple[str, ...]
    count: int = 0
    differing: int = 0
    after: list[int] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    listed: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.mechanisms)
        self.after, self.resolved, self.changed, self.steps = [0] * size, [0] * size, [0] * size, [0] * size

    def add(
        self, targets: Sequence[Target], rungs: Sequence[Sequence[Array]], start: int = 0, samples: int = 1
    ) -> None:
        """Outputs at every rung, each a sequence in the order of ``targets``, of ``samples`` beginning with ``start``.

        An output comes right at the first rung from which on it is the runtime's at every rung.
        """
        for k, target in enumerate(targets):
            wrong = np.stack([target.wrong(outputs[k]).ravel() for outputs in rungs])
            self.count += wrong.shape[1]
            self.differing += int(np.count_nonzero(wrong[0]))
            last_wrong = len(rungs) - 1 - np.argmax(wrong[::-1], axis=0)
            came_right = np.bincount(last_wrong[wrong[0]] + 1, minlength=len(rungs) + 1)
            self._list(k, target, rungs[0][k], last_wrong + 1, (start, samples))
            for r, outputs in enumerate(rungs):
                self.after[r] += int(np.count_nonzero(wrong[r]))
                self.resolved[r] += int(came_right[r])
                self.steps[r] = _larger(self.steps[r], target.distance(outputs[k]))
                if r > 0:
                    self.changed[r] += int(
                        np.count_nonzero(Target(rungs[r - 1][k], target.tolerance).wrong(outputs[k]))
                    )

    def _list(self, output: int, target: Target, first: Array, right: Array, samples: tuple[int, int]) -> None:
        """Where the first differing outputs are, and the rung from which on each is right."""
        start, count = samples
        size = right.size // count
        flat, truth = first.ravel(), target.values.ravel()
        for i in np.flatnonzero(target.wrong(first).ravel())[: LISTED - len(self.listed)].tolist():
            steps = None if target.tolerance is not None else int(flat[i]) - int(truth[i])
            mechanism = self.mechanisms[right[i]]
            self.listed.append(Difference(start + i // size, output, i % size, steps, mechanism))

    def __add__(self, other: Account) -> Account:
        """With the samples behind; what the first of them lack is not known of the others."""
        both = Account(self.mechanisms, self.count + other.count, self.differing + other.differing)
        both.after, both.resolved, both.changed = (
            [a + b for a, b in zip(*each, strict=True)]
            for each in ((self.after, other.after), (self.resolved, other.resolved), (self.changed, other.changed))
        )
        both.steps = [_larger(a, b) for a, b in zip(self.steps, other.steps, strict=True)]
        both.listed = [*self.listed, *other.listed][:LISTED]
        return both

    def rungs(self) -> tuple[Rung, ...]:
        """The ladder as values."""
        rows = zip(self.mechanisms, self.after, self.resolved, self.steps, self.changed, strict=True)
        return tuple(Rung(*row) for row in rows)


@dataclass(slots=True)
class LayerAccount:
    """The same for one layer: accumulated and local."""

    layer: str
    tensor: str
    op: str
    rungs: int
    count: int = 0
    after: list[int] = field(default_factory=list)
    local: list[int] = field(default_factory=list)
    local_steps: int = 0

    def __post_init__(self) -> None:
        self.after, self.local = [0] * self.rungs, [0] * self.rungs

    def add(self, target: Target, whole: Mapping[int, Array], local: Mapping[int, Array]) -> None:
        """The layer's output by rung; a rung that is left out differs nowhere."""
        self.count += target.values.size
        arrays = {id(values): values for values in (*whole.values(), *local.values())}  # many rungs change nothing
        wrong = {key: int(np.count_nonzero(target.wrong(values))) for key, values in arrays.items()}
        for r, values in whole.items():
            self.after[r] += wrong[id(values)]
        for r, values in local.items():
            self.local[r] += wrong[id(values)]
        if 0 in local:
            self.local_steps = max(self.local_steps, target.distance(local[0]) or 0)

    def __add__(self, other: LayerAccount) -> LayerAccount:
        """With the samples behind."""
        both = LayerAccount(self.layer, self.tensor, self.op, self.rungs, self.count + other.count)
        both.after = [a + b for a, b in zip(self.after, other.after, strict=True)]
        both.local = [a + b for a, b in zip(self.local, other.local, strict=True)]
        both.local_steps = max(self.local_steps, other.local_steps)
        return both

    def value(self) -> LayerLadder:
        """The layer's ladder as a value."""
        return LayerLadder(
            self.layer,
            self.tensor,
            self.op,
            self.count,
            tuple(self.after),
            tuple(self.local),
            self.local_steps,
        )


def _larger(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)


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
