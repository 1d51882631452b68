"""Watch a program from inside: every value as the translated graph has it, and each again from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.flow import Flow, FlowValue, tflite_flow
from quantdiff.layer import Layer, TrainedRange
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS
from quantdiff.quant import Array, Value, real_range
from quantdiff.recording import Comparand, ErrorStats, measured
from quantdiff.references.onnx.builder import Order, plain
from quantdiff.references.onnx.lower import Translated
from quantdiff.references.tflite.reference import layer_of
from quantdiff.trace import same_bits


class Engine(Protocol):
    """What runs a program; arrays are in the program's own order of axes."""

    def plain_outputs(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The outputs, when nobody watches."""

    def values(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value by name."""

    def again(self, inputs: Sequence[Array], given: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        """The ``wanted`` values, each computed from the ``given`` ones before it."""


def flow_of(found: Translated, ranges: Mapping[str, TrainedRange], kind: str) -> Flow:
    """The values of the program in the order of axes in which the graph has them; what only moves them is left out.

    ``ranges`` are those of quantizers: by the name of a dequantized kernel, or of the integers that one gives.
    """
    model = found.model
    whole, graph = tflite_flow(model, kind), model.main
    kept = {place.key for place in whole.places if place.key in found.values}
    behind: dict[int, tuple[int, ...]] = {}
    for place in whole.places:
        through = tuple(dict.fromkeys(key for feed in place.feeds for key in behind[feed]))
        behind[place.key] = (place.key,) if place.key in kept else through
    names = {place.key: place.name for place in whole.places}
    places = []
    for place in whole.places:
        if place.key in kept:
            feeds = tuple(dict.fromkeys(key for feed in place.feeds for key in behind[feed]))
            operator = None if place.operator is None else graph.operators[place.operator]
            layer = layer_of(place, operator, tuple(names[key] for key in feeds))
            value = found.values[place.key][0]
            own, inner = _ranges(place, value, ranges), tuple(found.inner.get(value, ()))
            layer = replace(layer, ranges=own, options={}, inner=inner)  # what feeds it has other axes, or no padding
            order = found.values[place.key][1]
            turn = () if order == plain(len(order)) else tuple(axis - 1 for axis in order[1:] if order[0] == 0)
            places.append(replace(place, feeds=feeds, layers=(layer,), order=turn))
    ends = (tuple(key for i in side for key in behind.get(i, ())) for side in (graph.inputs, graph.outputs))
    return Flow(kind, tuple(places), *ends)


def _ranges(place: FlowValue, name: str, ranges: Mapping[str, TrainedRange]) -> tuple[TrainedRange, ...]:
    """What the program's own quantizers say: of an activation what was learned, or its grid alone; of a kernel."""
    found = []
    if name in ranges:
        found.append(ranges[name])
    elif place.op == INTO_INTEGERS and place.grid is not None:
        bits = 16 if place.grid.dtype.endswith("16") else 8
        ends = real_range(place.grid.params, place.grid.dtype)
        found.append(TrainedRange("output", *ends, "QuantizeLinear", bits, grid=place.grid))
    own = ranges.get(place.kernel.name.rstrip("'")) if place.kernel is not None else None
    return (*found, *([own] if own is not None else []))


def layers_of(flow: Flow) -> tuple[Layer, ...]:
    """One for each value."""
    return tuple(layer for place in flow.places for layer in place.layers)


class ProgramRecorder:
    """A program with its inner values; a context manager that has nothing to close."""

    in_flight = 1

    def __init__(self, engine: Engine, found: Translated, flow: Flow) -> None:
        self.engine, self.found, self.flow = engine, found, flow
        self.notes: tuple[str, ...] = ()
        self._checked = False
        graph = found.model.main
        self.cuts = {key: self._cut(key) for key in flow.by_key()}
        self.inputs = {found.values[i][0]: k for k, i in enumerate(graph.inputs)}

    def _cut(self, key: int) -> tuple[str, ...]:
        """The program's values that another one takes the place of: of integers the floats that restate them."""
        readers = self.found.model.main.readers(key)
        floats = [op.outputs[0] for op in readers if op.op == INTO_FLOAT]
        return tuple(self.found.values[i][0] for i in (floats or [key]) if i in self.found.values)

    def __enter__(self) -> ProgramRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, inputs: Sequence[Array]) -> ProgramRecording:
        """Run it on real inputs, samples along axis 0."""
        values = self.engine.values(inputs)
        if not self._checked:
            self._check(inputs, values)
        return ProgramRecording(self.flow, self, tuple(inputs), values)

    def _check(self, inputs: Sequence[Array], values: Mapping[str, Array]) -> None:
        """Reading the inner values must not change the outputs by a bit."""
        self._checked = True
        plain, names = self.engine.plain_outputs(inputs), [name for name, _ in self.found.model.signatures[0].outputs]
        changed = [n for n, y in zip(names, plain, strict=True) if n in values and not same_bits(y, values[n])]
        if changed:
            self.notes = (*self.notes, f"reading its inner values changed the outputs {', '.join(changed)}")

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run it, and count where the values are."""
        return measured(self.run(inputs), pairs, wanted)

    def refuse(self, error: QuantdiffError) -> None:
        """Go on without local values."""
        self.notes = (f"no layer by itself: {error}",)


@dataclass(frozen=True, slots=True)
class ProgramRecording:
    """What one run showed; values by the program's names."""

    flow: Flow
    owner: ProgramRecorder
    inputs: tuple[Array, ...]
    values: Mapping[str, Array]

    def value(self, key: int) -> Array:
        """A value in the order of axes in which the translated graph has it."""
        name, order = self.owner.found.values[key]
        return turned(self._own(name), order, len(self.inputs[0]))

    def _own(self, name: str) -> Array:
        at = self.owner.inputs.get(name)
        return self.values[name] if at is None else self.inputs[at]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each value of ``given`` computed anew from the given ones before it."""
        found = {key: self.value(key) for key in given if key in self.flow.inputs}
        inner = [key for key in given if key not in found]
        inputs, cut = list(self.inputs), dict[str, Array]()
        for key, value in given.items():
            for name in self.owner.cuts[key]:
                own = self._own(name)
                array = returned(value.real, self.owner.found.values[key][1], own).astype(own.dtype)
                if name in self.owner.inputs:
                    inputs[self.owner.inputs[name]] = array
                else:
                    cut[name] = array
        names = {key: self.owner.found.values[key] for key in inner}
        try:
            again = self.owner.engine.again(inputs, cut, [name for name, _ in names.values()]) if inner else {}
        except QuantdiffError as error:
            self.owner.refuse(error)
            return found
        count = len(self.inputs[0])
        return found | {key: turned(again[name], order, count) for key, (name, order) in names.items()}


def turned(value: Array, order: Order, count: int) -> Array:
    """A value in another order of axes, as a view; every sample has its own rows, and gets an axis of its own."""
    if not order:
        return value
    moved = value.reshape(count, -1, *value.shape[1:]).transpose(0, *(axis + 1 for axis in order))
    return moved[:, 0] if moved.shape[1] == 1 else moved


def returned(value: Array, order: Order, own: Array) -> Array:
    """The way back: a value as the program has it, of the shape of its own."""
    one = (len(own) // len(value), *own.shape[1:]) if order else ()
    wide = value.reshape(len(value), *(one[axis] for axis in order))
    return np.ascontiguousarray(wide.transpose(0, *(axis + 1 for axis in np.argsort(order))).reshape(own.shape))
