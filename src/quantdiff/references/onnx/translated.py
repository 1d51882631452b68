"""What a reference whose program is translated has in common, whatever framework runs it, and how it is watched.

Watched, it shows every value as the translated graph has it, and each again from others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from quantdiff.errors import BadModel, QuantdiffError
from quantdiff.graph import Model
from quantdiff.load.data import Slot
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS, Layer, TrainedRange
from quantdiff.quant import Array, Grid, QuantParams, Value, real_range, same_bits
from quantdiff.recording import Comparand, ErrorStats, Flow, FlowValue, Recorder, measured, tflite_flow
from quantdiff.references.onnx.builder import Order, plain
from quantdiff.references.onnx.lower import Translated, translated
from quantdiff.references.onnx.program import Node, Program
from quantdiff.references.tflite.reference import layer_of

SAMPLES = 2
"""Of the run that shows shapes: with two of them it can be told which axis is theirs."""
K = TypeVar("K")


def rows_of(inputs: Sequence[Slot]) -> int | None:
    """How many samples the model takes at once; None for any number."""
    return next((slot.shape[0] for slot in inputs if slot.shape), 1)


def in_runs(
    run: Callable[[Sequence[Array], Mapping[str, Array]], Mapping[K, Array]],
    inputs: Sequence[Array],
    given: Mapping[str, Array],
    rows: int | None,
) -> dict[K, Array]:
    """What ``run`` gives; a model of a fixed number of samples runs as often as it must, samples along axis 0."""
    count = len(inputs[0])
    if rows is None or (count == rows and count > 1):
        return dict(run(inputs, given))
    parts = []
    for start in range(0, count, rows):
        cut = {name: _filled(array, start, count, rows) for name, array in given.items()}
        parts.append(run([_filled(array, start, count, rows) for array in inputs], cut))
    return {name: _joined([part[name] for part in parts], count, rows) for name in parts[0]}


def _filled(array: Array, start: int, count: int, rows: int) -> Array:
    """As many samples as the model takes, the last one again where there are too few; several rows may be a sample."""
    each = len(array) // count
    part = array[start * each : (start + rows) * each]
    missing = rows * each - len(part)
    return np.concatenate([part, np.concatenate([part[-each:]] * (missing // each))]) if missing else part


def _joined(parts: Sequence[Array], count: int, rows: int) -> Array:
    if not parts[0].ndim and rows == 1:
        return np.stack(parts)
    if not parts[0].ndim or len(parts[0]) % rows:
        return parts[0]
    return np.concatenate(parts)[: count * (len(parts[0]) // rows)]


def outputs_by_sample(
    run: Callable[[Sequence[Array], int | None], Sequence[Array]], inputs: Sequence[Array], rows: int | None
) -> list[Array]:
    """The outputs with samples along axis 0, where several rows are a sample with an axis of their own behind it.

    A model that has its samples elsewhere gets them one by one.
    """
    count, found = len(inputs[0]), run(inputs, rows)
    if rows is None and any(y.ndim and len(y) != count for y in found):
        found = run(inputs, 1)
    each = (len(y) // count if y.ndim and len(y) % count == 0 else 1 for y in found)
    return [y if n == 1 else y.reshape(count, n, *y.shape[1:]) for y, n in zip(found, each, strict=True)]


class TranslatedReference(ABC):
    """A model that can be said as a program of ONNX's words: layers, inner values and graph follow from that."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The file's name."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes."""

    @abstractmethod
    def example(self, samples: int) -> Program:
        """Its nodes, with what a run on so many samples of zeros shows."""

    @cached_property
    def rows(self) -> int | None:
        """How many samples run at once where inner values are read; None for any number.

        One by one where not all values have the samples along their first axis: recurrent layers turn them.
        """
        fixed = rows_of(self.inputs)
        if fixed is not None:
            return fixed
        return None if _separable(self.example(SAMPLES), self.example(SAMPLES + 1)) else 1

    @cached_property
    def program(self) -> Program:
        """Its nodes, with what a run on zeros shows."""
        return self.example(self.rows or SAMPLES)

    @abstractmethod
    def plain_outputs(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The outputs, when nobody watches."""

    @abstractmethod
    def values(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value by name."""

    @abstractmethod
    def again(self, inputs: Sequence[Array], given: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        """The ``wanted`` values, each computed from the ``given`` ones before it."""

    @property
    def kind(self) -> str:
        """``qat`` where it rounds its activations itself."""
        return "qat" if self.rounds else "float"

    @property
    @abstractmethod
    def rounds(self) -> bool:
        """Whether activations are quantized in it."""

    def layers(self) -> tuple[Layer, ...]:
        """Its operators by the names of the nodes, kernels in TFLite's axes; batch norm in them, as it is folded."""
        return layers_of(self._flow)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with the values of all nodes."""
        return ProgramRecorder(self, self._translation, self._flow)

    def lower(self) -> Model:
        """Its graph in TFLite's operators.

        Raises:
            BadModel: an operator that has no words there, or sizes that the file leaves open.
        """
        sizes = [slot.name for slot in self.inputs if None in slot.shape[1:]]
        if sizes:
            raise BadModel(f"{self.name}: input {sizes[0]!r} leaves sizes open beside that of the batch; fix them")
        return self._translation.whole(self.name)

    @cached_property
    def _translation(self) -> Translated:
        return translated(self.program)

    @cached_property
    def _flow(self) -> Flow:
        return flow_of(self._translation, {**self.program.trained, **kernel_ranges(self.program)}, self.kind)


def _separable(few: Program, more: Program) -> bool:
    """Whether every value that depends on the data has the samples along its first axis, and others know of none."""
    fed = few.varying - few.by_shape

    def apart(name: str) -> bool:
        a, b = few.examples[name], more.examples[name]
        if name not in fed:
            return a.dtype.kind != "f" or a.shape == b.shape
        return bool(a.ndim) and len(a) * more.samples == len(b) * few.samples and a.shape[1:] == b.shape[1:]

    return all(apart(name) for name in few.examples)


def kernel_ranges(program: Program) -> dict[str, TrainedRange]:
    """By the name of a dequantized constant what its quantizer learned, or the range of its integers, by channel."""
    found = {}
    for node in program.nodes:
        if node.op == "DequantizeLinear" and all(name in program.constants for name in node.inputs if name):
            learned = program.trained.get(node.inputs[0])
            found[node.outputs[0]] = _range(node, program.constants) if learned is None else learned
    return {name: replace(each, name="kernel") for name, each in found.items()}


def _range(node: Node, constants: Mapping[str, Array]) -> TrainedRange:
    """That of the integers; without the lowest one where they are symmetric and it is not used."""
    stored, scale = constants[node.inputs[0]], constants[node.inputs[1]].reshape(-1)
    zero = constants[node.at(2)].reshape(-1) if node.at(2) else np.zeros(scale.size, np.int64)
    quant = QuantParams(tuple(map(float, scale)), tuple(map(int, zero)), 0 if scale.size > 1 else None)
    dtype, lowest = stored.dtype.name, np.iinfo(stored.dtype).min if stored.dtype.kind in "iu" else 0
    narrow = bool(lowest < 0 and not zero.any() and stored.size and stored.min() > lowest)
    ends = real_range(quant, dtype, narrow=narrow)
    return TrainedRange("kernel", *ends, node.op, stored.dtype.itemsize * 8, narrow, Grid(quant, dtype, node.inputs[0]))


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
