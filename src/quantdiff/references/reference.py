"""Reference: a trained model, whoever trained it, as all that the rest of the house may ask.

One whose inputs and outputs have another order of axes than the candidate's is turned: channels first or last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.load.data import Batch, Order, Slot, bind, turned
from quantdiff.load.npz import slices
from quantdiff.ops import Layer
from quantdiff.quant import Array, Trace, Value
from quantdiff.recording import Comparand, ErrorStats, Flow, Named, Recorder, Recording, returned, value_turned
from quantdiff.run.runner import Count, unheard


class Reference(Named, Protocol):
    """A model on the engine that runs it. Arrays and frozen values go in and out, so that it may live in a child."""

    def layers(self) -> tuple[Layer, ...]:
        """Its layers in their order, () where the format has none."""

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs for all samples.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: it does not run.
        """

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with its inner values; they are watched while the context is open."""

    def lower(self) -> Model | None:
        """The same as a float graph of TFLite operators, its own grids as QUANTIZE and DEQUANTIZE; None: cannot be had.

        Raises:
            BadModel: it can be had for this format, but not for this model.
        """


@runtime_checkable
class Settles(Protocol):
    """What can be written again with other values in its variables."""

    def settled(self, variables: Mapping[str, Mapping[str, Array]]) -> Array:
        """The bytes of a file with it; ``variables`` by layer and by the last part of their names.

        Raises:
            BadModel: it cannot be written.
        """


def trace_slices(
    reference: Named, batch: Batch, run: Callable[[Sequence[Array]], Sequence[Array]], on_progress: Count = unheard
) -> Trace:
    """What ``run`` gives for the data, slice by slice, for formats whose outputs are plain floats.

    Raises:
        BadData: the data do not fit the inputs; and what ``run`` raises.
    """
    parts: list[Sequence[Array]] = []
    for rows in slices(bind(batch, reference.inputs, reference.name), reference.inputs):
        parts.append(run(rows))
        on_progress(sum(len(part[0]) for part in parts))
    outputs = [np.concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    values = tuple(Value(name, array) for name, array in zip(reference.outputs, outputs, strict=True))
    return Trace(reference.kind, values, reference.notes)


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
