"""A SavedModel without Keras inside: the graph of its signature, watched value by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantdiff.flow import Flow, FlowValue
from quantdiff.quant import Array, Value
from quantdiff.recording import Comparand, ErrorStats, measured
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.frozen_graph import FrozenGraph, layers_by_operation
from quantdiff.references.keras.model import KerasModel
from quantdiff.references.keras.run import failing


class GraphRecorder:
    """The graph of a signature, whose values are watched; a context manager."""

    in_flight = 1
    notes: tuple[str, ...] = ()

    def __init__(self, model: KerasModel) -> None:
        self.model, self.graph = model, FrozenGraph(model)
        self.flow = flow_of(self.graph)
        self.names = [t.name for t in self.graph.tensors]
        self._all: Any = None
        self._exchanged: tuple[tuple[int, ...], Any] | None = None

    def __enter__(self) -> GraphRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._all = self._exchanged = None

    def run(self, inputs: Sequence[Array]) -> GraphRecording:
        """Run it on its inputs, samples along axis 0.

        Raises:
            RuntimeFailed: TensorFlow raised an error.
        """
        if self._all is None:
            self._all = self.graph.callable((), self.names)
        given = [a.astype(slot.dtype, copy=False) for a, slot in zip(inputs, self.model.inputs, strict=True)]
        return GraphRecording(self.flow, self, given, self.call(self._all, given))

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run it and count.

        Raises:
            RuntimeFailed: as ``run``.
        """
        return measured(self.run(inputs), pairs, wanted)

    def exchanged(self, keys: tuple[int, ...]) -> Any:
        """The function that takes the values of ``keys`` after the inputs and computes each of them again."""
        if self._exchanged is None or self._exchanged[0] != keys:
            names = [self.names[key] for key in keys]
            self._exchanged = keys, self.graph.callable(names, names)
        return self._exchanged[1]

    def call(self, function: Any, arrays: Sequence[Array]) -> list[Array]:
        """What a function of the graph gives."""
        with failing(self.model.name), quiet():
            return [np.asarray(each) for each in function(*map(frameworks().tf.convert_to_tensor, arrays))]


@dataclass(frozen=True, slots=True)
class GraphRecording:
    """What one run of a graph showed."""

    flow: Flow
    owner: GraphRecorder
    inputs: Sequence[Array]
    values: Sequence[Array]

    def value(self, key: int) -> Array:
        """A value of this run. Shape: (samples, …)."""
        return self.values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each value of ``given`` computed again from the given ones before it; inputs stay as they are."""
        count = len(self.inputs)
        keys = tuple(key for key in given if key >= count)
        arrays = [given[key].real.reshape(self.values[key].shape).astype(self.values[key].dtype) for key in keys]
        own = [
            np.asarray(given[i].real, x.dtype).reshape(x.shape) if i in given else x for i, x in enumerate(self.inputs)
        ]
        found = self.owner.call(self.owner.exchanged(keys), [*own, *arrays]) if keys else []
        return {key: self.inputs[key] for key in given if key < count} | dict(zip(keys, found, strict=True))


def flow_of(graph: FrozenGraph) -> Flow:
    """The values of the graph, numbered as in ``tensors``."""
    numbers = {t.name: number for number, t in enumerate(graph.tensors)}
    behind: dict[str, tuple[int, ...]] = {}
    places = [FlowValue(n, slot.name, "input") for n, slot in enumerate(graph.model.inputs)]
    behind |= {t.op.name: (n,) for n, t in enumerate(graph.inputs)}
    layers = layers_by_operation(graph)
    for op in graph.computed:
        feeds = tuple(dict.fromkeys(key for t in op.inputs for key in behind.get(t.op.name, ())))
        number = numbers.get(op.outputs[0].name) if op.outputs else None
        behind[op.name] = feeds if number is None else (number,)
        if number is not None and op.name in layers:
            layer = layers[op.name]
            own = (layer,) if any(each is not None for each in (layer.kernel, layer.norm)) else ()
            places.append(FlowValue(number, layer.name, layer.op, feeds, layers=own, kind=layer.kind))
    ends = tuple(_end(graph, t, numbers) for t in graph.outputs)
    kept = {place.key for place in places}
    return Flow(graph.model.kind, tuple(places), tuple(range(len(graph.inputs))), tuple(e for e in ends if e in kept))


def _end(graph: FrozenGraph, tensor: Any, numbers: Mapping[str, int]) -> int:
    source = graph.source(tensor)
    return numbers[source.name if source.name in numbers else tensor.name]
