"""A reference whose inputs and outputs have another order of axes than the candidate's: channels first or last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.flow import Flow
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.layer import Layer
from quantdiff.load.data import Batch, Order, Slot, turned
from quantdiff.progress import Count, unheard
from quantdiff.quant import Array, Value
from quantdiff.recording import Comparand, ErrorStats, Recorder, Recording, returned, value_turned
from quantdiff.references.reference import Reference
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class TurnedReference:
    """A reference, seen in the candidate's order of axes.

    ``at_inputs`` and ``at_outputs``: by place how the reference's own axes, samples aside, are turned.
    """

    inner: Reference
    at_inputs: Mapping[int, Order]
    at_outputs: Mapping[int, Order]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.inner.name

    @property
    def kind(self) -> str:
        """The engine as results name it."""
        return self.inner.kind

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes, in its own order of axes."""
        return self.inner.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return self.inner.outputs

    def layers(self) -> tuple[Layer, ...]:
        """Its layers."""
        return self.inner.layers()

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs in the candidate's order of axes."""
        found = self.inner.trace(batch, on_progress)
        values = tuple(value_turned(value, self.at_outputs.get(k, ())) for k, value in enumerate(found.outputs))
        return Trace(found.engine, values, tuple(dict.fromkeys((*found.notes, *self.notes))))

    @contextmanager
    def _watched(self) -> Iterator[Recorder]:
        with self.inner.recorder() as inner:
            yield TurnedRecorder(inner, self.at_inputs, self.at_outputs, in_flight=inner.in_flight)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with its inner values, inputs and outputs turned."""
        return self._watched()

    def lower(self) -> Model | None:
        """The same with its outputs turned by TRANSPOSE."""
        found = self.inner.lower()
        return found if found is None or not self.at_outputs else with_turned_outputs(found, self.at_outputs)


@dataclass(slots=True)
class TurnedRecorder:
    """A recorder whose inputs and outputs are shown in another order of axes."""

    inner: Recorder
    at_inputs: Mapping[int, Order]
    at_outputs: Mapping[int, Order]
    orders: Mapping[int, Order] = field(default_factory=dict)
    in_flight: int = 1
    notes: tuple[str, ...] = ()

    def run(self, inputs: Sequence[Array]) -> Recording:
        """Run it on inputs in its own order of axes."""
        found = self.inner.run(inputs)
        sides = (self.at_inputs, found.flow.inputs), (self.at_outputs, found.flow.outputs)
        self.notes = self.inner.notes
        self.orders = {keys[k]: order for at, keys in sides for k, order in at.items() if k < len(keys)}
        return TurnedRecording(found, self.orders)

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run it, and count; the others' values are turned back, since sums do not hang on the order."""
        own = [replace(pair, theirs=returned(pair.theirs, self.orders.get(pair.key, ()))) for pair in pairs]
        found = self.inner.measure(inputs, own, wanted)
        values = {key: turned(array, self.orders.get(key, ())) for key, array in found.values.items()}
        self.notes = self.inner.notes
        return replace(found, values=values)


@dataclass(frozen=True, slots=True)
class TurnedRecording:
    """A recording with some of its values turned."""

    inner: Recording
    orders: Mapping[int, Order]

    @property
    def flow(self) -> Flow:
        """Which values there are."""
        return self.inner.flow

    def value(self, key: int) -> Array:
        """A value, samples along axis 0."""
        return turned(self.inner.value(key), self.orders.get(key, ()))

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """The values of ``given`` computed anew, each from the given ones before it."""
        own = {key: returned(value, self.orders.get(key, ())) for key, value in given.items()}
        return {key: turned(array, self.orders.get(key, ())) for key, array in self.inner.local(own).items()}


def with_turned_outputs(model: Model, orders: Mapping[int, Order]) -> Model:
    """The graph with a TRANSPOSE behind some of its outputs."""
    graph, outputs = model.main, list(model.main.outputs)
    tensors, operators = list(graph.tensors), list(graph.operators)
    for place, order in orders.items():
        before, axes = tensors[outputs[place]], (0, *(axis + 1 for axis in order))
        constant = Tensor(len(tensors), "", (len(axes),), "int32", data=np.array(axes, np.int32))
        shape = tuple(before.shape[axis] for axis in axes)
        after = Tensor(len(tensors) + 1, before.name, shape, before.dtype, before.quant)
        tensors += [constant, after]
        operators.append(Operator(len(operators), "TRANSPOSE", (before.index, constant.index), (after.index,)))
        outputs[place] = after.index
    whole = Graph(graph.name, tuple(tensors), tuple(operators), graph.inputs, tuple(outputs))
    renamed = dict(zip(graph.outputs, outputs, strict=True))
    signatures = tuple(
        replace(s, outputs=tuple((name, renamed.get(i, i)) for name, i in s.outputs)) if s.subgraph == 0 else s
        for s in model.signatures
    )
    return replace(model, subgraphs=(whole, *model.subgraphs[1:]), signatures=signatures)
