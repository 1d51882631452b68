"""The upper rungs: the reference in Keras itself, with more and more of it exchanged for what the file has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantdiff.graph import Graph, Model
from quantdiff.ladder.exchange.biases import exchange_biases
from quantdiff.ladder.exchange.changes import Exchange, made
from quantdiff.ladder.exchange.ranges import exchange_ranges, grid_of_pair, put_on
from quantdiff.ladder.exchange.weights import exchange_weights
from quantdiff.ladder.explanation import BIAS, INPUT, RANGES, WEIGHTS
from quantdiff.load.data import Batch
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import INTEGER_RANGE, Array, Grid, quantize
from quantdiff.references.keras.model import KerasModel, named_layers
from quantdiff.references.keras.run import call_keras, intercepted
from quantdiff.run.tflite import bound_inputs

Force = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Run:
    """The model's outputs, float32, and those of the layers asked for as integers of their grids.

    ``shared`` are the layers that were called more than once: they have no one output.
    """

    outputs: Sequence[Array]
    layers: Mapping[str, Array]
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReferenceEnd:
    """A live Keras model, what can be exchanged in it, and the grid in the file of every layer that has one."""

    keras: KerasModel
    model: Model
    exchanges: Mapping[str, Exchange]
    grids: Mapping[str, Grid]
    input_grids: Mapping[str, Grid] = field(default_factory=dict)

    def active(self, mechanisms: Sequence[str]) -> frozenset[str]:
        """Of the mechanisms those that change something in this model."""
        return frozenset(m for m in mechanisms if (self.input_grids if m == INPUT else self.exchanges.get(m)))

    def run(self, rows: Batch, mechanisms: frozenset[str], force: Force | None = None) -> Run:
        """One pass; with ``force`` each layer named gives its own answer, but the next ones are fed with that.

        Raises:
            BadData, RuntimeFailed: as for any run of the model.
        """
        seen: dict[str, Array] = {}
        called, shared = set[str](), set[str]()
        grids = self.exchanges[RANGES].grids if RANGES in mechanisms else {}

        def intercept(name: str, inputs: list[Array], output: Array) -> Array | None:
            del inputs
            if name in called:
                shared.add(name)
            called.add(name)
            grid = self.grids.get(name)
            if grid is not None:
                seen[name] = quantize(output, grid.params, grid.dtype)
            if force is not None and name in force:
                return force[name].reshape(output.shape)
            return put_on(output, grids[name]) if name in grids else None

        chosen = [self.exchanges[m] for m in mechanisms if m in self.exchanges]
        with made(chosen), intercepted(self.keras, intercept):
            outputs = call_keras(self.keras, self._given(rows) if INPUT in mechanisms else rows)
        return Run(outputs, seen, frozenset(shared))

    def without(self, shared: frozenset[str]) -> ReferenceEnd:
        """The same without grids for layers that are called more than once: each call would need its own."""
        ranges = self.exchanges[RANGES]
        kept = replace(ranges, grids={n: g for n, g in ranges.grids.items() if n not in shared})
        grids = {n: g for n, g in self.grids.items() if n not in shared}
        return replace(self, exchanges={**self.exchanges, RANGES: kept}, grids=grids)

    def _given(self, rows: Batch) -> Batch:
        arrays = {n: put_on(a, self.input_grids[n]) if n in self.input_grids else a for n, a in rows.arrays.items()}
        return replace(rows, arrays=arrays)


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes over the same rows; what changes nothing in this model is not run again."""

    end: ReferenceEnd
    rows: Batch
    force: Force | None = None
    done: dict[frozenset[str], Run] = field(default_factory=dict)

    def run(self, mechanisms: Sequence[str]) -> Run:
        """The model with these mechanisms exchanged."""
        active = self.end.active(mechanisms)
        if active not in self.done:
            self.done[active] = self.end.run(self.rows, active, self.force)
        return self.done[active]


def reference_end(keras: KerasModel, model: Model, sides: ModelPair, rows: Batch) -> ReferenceEnd:
    """What differs between the live model and the file; ``rows`` tell which array is which input."""
    live: dict[str, Any] = dict(named_layers(keras.model))
    exchanges = {
        RANGES: exchange_ranges(sides, live, aware=keras.kind == "qat"),
        WEIGHTS: exchange_weights(sides, live),
        BIAS: exchange_biases(sides, live),
    }
    outputs = [pair for pair in sides.alignment.pairs if pair.role == "output"]
    grids = {pair.layer: grid for pair in outputs if (grid := grid_of_pair(sides, pair)) is not None}
    return ReferenceEnd(keras, model, exchanges, grids, _input_grids(model, rows))


def _input_grids(model: Model, rows: Batch) -> dict[str, Grid]:
    """The grid of every input by the name of its array: of the input itself, or of what it is quantized to at once."""
    grids = {}
    for index, array in zip(model.main.inputs, bound_inputs(model, rows), strict=True):
        name = next((n for n, own in rows.arrays.items() if own is array or own.base is array.base is not None), None)
        grid = _quantized_at_once(model.main, index)
        if grid is not None and (name := name or _only(rows)) is not None:
            grids[name] = grid
    return grids


def _only(rows: Batch) -> str | None:
    return next(iter(rows.arrays)) if len(rows.arrays) == 1 else None


def _quantized_at_once(graph: Graph, index: int) -> Grid | None:
    users = [op for op in graph.operators if index in op.inputs]
    tensor = graph.tensors[index]
    if tensor.quant is None and len(users) == 1 and users[0].op == "QUANTIZE":
        tensor = graph.tensors[users[0].outputs[0]]
    fits = tensor.quant is not None and tensor.quant.axis is None and tensor.dtype in INTEGER_RANGE
    return Grid(tensor.quant, tensor.dtype, tensor.name) if fits and tensor.quant is not None else None
