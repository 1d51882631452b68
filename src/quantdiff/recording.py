"""The values that a model computes on its way: ``Flow``, who feeds whom, and ``Recording``, what a run showed of them.

Both are the same for a trained model and a ``.tflite``, whatever engine runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.load.data import Batch, Order, Slot, bind, turned
from quantdiff.load.npz import release
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS, Layer, traits
from quantdiff.quant import Array, Grid, QuantParams, Trace, Value, changed_elements, is_float, same_bits
from quantdiff.tally.rows import row_sums
from quantdiff.tally.stats import RowSums

UNSIGNED = 128  # between the integers of int8 and uint8


@dataclass(frozen=True, slots=True)
class FlowValue:
    """One value: what one call of a Keras layer gives, or an operator of the file; ``Flow.inputs`` have no maker.

    ``key`` is the number of the value in a Keras model, the tensor's index in a ``.tflite``. ``op`` is the layer's
    class or the operator, whose number is ``operator``. ``feeds`` are the places that it is computed from. ``grid``
    are the integers that it lies on. ``layers`` (one for
    each operator that a converter makes of it), ``kernel`` and ``bias`` are where the weights are;
    ``inner`` those of an operator with several kernels. ``kind`` is the op
    in the model's own words. ``in_float`` says that a float operator with float32 constants made it: nothing is
    rounded. ``called`` are the names that a converter says it has in the other model, joined by ``;``. ``order`` says
    how the model's own axes, samples aside, were turned to show it; () where they were not.
    """

    key: int
    name: str
    op: str
    feeds: tuple[int, ...] = ()
    quant: QuantParams | None = None
    grid: Grid | None = None
    operator: int | None = None
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    kernel: Tensor | None = field(default=None, repr=False)
    bias: Tensor | None = field(default=None, repr=False)
    inner: tuple[tuple[Tensor, Tensor | None], ...] = field(default=(), repr=False)
    kind: str = ""
    layer: str = ""
    in_float: bool = False
    called: str = ""
    order: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        """The layer's name: without the number of a repeated call or of an output, and what else stands behind it."""
        return self.layer or self.name

    @property
    def is_weighted(self) -> bool:
        """Whether it is a sum of products with a kernel."""
        return self.kernel is not None or any(layer.kernel is not None for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Flow:
    """The places of a model in the order of computation. ``inputs`` and ``outputs`` are keys, in the model's order."""

    engine: str
    places: tuple[FlowValue, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def by_key(self) -> dict[int, FlowValue]:
        """Key → place."""
        return {place.key: place for place in self.places}

    def only(self, keys: AbstractSet[int]) -> Flow:
        """The places of ``keys`` and the inputs; a place that is left out hands on what feeds it."""
        behind, kept = dict[int, tuple[int, ...]](), list[FlowValue]()
        for place in self.places:
            feeds = tuple(dict.fromkeys(each for key in place.feeds for each in behind.get(key, ())))
            stays = place.key in keys or place.key in self.inputs
            behind[place.key] = (place.key,) if stays else feeds
            if stays:
                kept.append(replace(place, feeds=feeds))
        return replace(self, places=tuple(kept), outputs=tuple(key for key in self.outputs if key in keys))

    def ancestors(self) -> dict[int, frozenset[int]]:
        """Key → all places that the place is computed from."""
        known: dict[int, frozenset[int]] = {}
        for place in self.places:
            known[place.key] = frozenset(place.feeds).union(*(known.get(key, frozenset()) for key in place.feeds))
        return known

    def restating(self) -> frozenset[int]:
        """Places that only say again what others say.

        Float inputs of which nothing but the integers is used, DEQUANTIZE, and the change from int8 to uint8 or back.
        """
        ops: dict[int, set[str]] = {key: set() for key in self.inputs}
        for place in self.places:
            for key in place.feeds:
                ops.get(key, set()).add(place.op)
        into = {key for key, used in ops.items() if used == {INTO_INTEGERS}}
        places = self.by_key()

        def restates(place: FlowValue) -> bool:
            if place.key in self.inputs:
                return place.grid is None and place.key in into
            if place.op == INTO_FLOAT:
                return place.grid is not None
            return place.op == INTO_INTEGERS and _shifted(place, places[place.feeds[0]])

        return frozenset(place.key for place in self.places if restates(place))

    def ends(self) -> frozenset[int]:
        """The outputs; of one that restates integers, those integers."""
        aside, places = self.restating(), self.by_key()
        return frozenset(feed for key in self.outputs for feed in (places[key].feeds if key in aside else (key,)))


def _shifted(place: FlowValue, source: FlowValue) -> bool:
    """The same real values with another zero point."""
    if place.grid is None or source.grid is None:
        return False
    return {place.grid.dtype, source.grid.dtype} == {"int8", "uint8"} and (
        abs(place.grid.params.zero_point[0] - source.grid.params.zero_point[0]) == UNSIGNED
        and place.grid.params.scale == source.grid.params.scale
    )


def tflite_flow(model: Model, engine: str) -> Flow:
    """The floating-point and quantized values of the main subgraph that depend on its inputs."""
    graph = model.main
    places = {i: _place(graph, i, None, ()) for i in graph.inputs}
    behind: dict[int, tuple[int, ...]] = {i: (i,) if i in places else () for i in graph.inputs}
    for operator in graph.operators:
        fed = [i for i in operator.inputs if i in behind]
        feeds = tuple(dict.fromkeys(key for i in fed for key in behind[i]))
        for index in operator.outputs if fed else ():
            counts = _counts(graph.tensors[index])
            behind[index] = (index,) if counts else feeds
            if counts:
                places[index] = _place(graph, index, operator, feeds)
    ends = (tuple(i for i in side if i in places) for side in (graph.inputs, graph.outputs))
    told = (
        (replace(p, called=model.called.get(p.name, "")) for p in places.values()) if model.called else places.values()
    )
    return Flow(engine, tuple(told), *ends)


def _place(graph: Graph, index: int, operator: Operator | None, feeds: tuple[int, ...]) -> FlowValue:
    """A float that restates integers lies on their grid; an output counts on that of the nearest integers before it."""
    tensor = graph.tensors[index]
    grid = graph.grid_before(index) if graph.is_output(index) else graph.grid(index)
    quant = tensor.quant if tensor.grid else None
    if operator is None:
        return FlowValue(index, tensor.label, "input", feeds, quant, grid)
    known = traits(operator.op)
    (kernel, bias), *_ = _held(graph, operator, [(known.weights, known.bias)])
    inner = tuple((k, b) for k, b in _held(graph, operator, known.gates) if k is not None)
    in_float = tensor.dtype == "float32" and operator.op != INTO_FLOAT and _constants_in_float(graph, operator)
    return FlowValue(
        index,
        tensor.label,
        operator.op,
        feeds,
        quant,
        grid,
        operator.index,
        kernel=kernel,
        bias=bias,
        inner=inner,
        kind=operator.op,
        in_float=in_float,
    )


def _constants_in_float(graph: Graph, operator: Operator) -> bool:
    stored = (graph.stored(index) for index in operator.inputs if index >= 0)
    return all(t is None or (t.dtype in ("float32", "int32", "int64", "bool") and t.quant is None) for t in stored)


def _held(
    graph: Graph, operator: Operator, places: Iterable[tuple[int | None, int | None]]
) -> list[tuple[Tensor | None, Tensor | None]]:
    """Kernels and biases at these inputs, where the file holds them: as they are, or behind DEQUANTIZE."""
    known = dict(enumerate(operator.inputs))
    held = [tuple(known.get(-1 if at is None else at, -1) for at in pair) for pair in places]
    stored = [[graph.stored(index) if index >= 0 else None for index in pair] for pair in held]
    return [(kernel, bias) for kernel, bias in stored]


def _counts(tensor: Tensor) -> bool:
    return not tensor.is_constant and (is_float(tensor.dtype) or tensor.grid is not None)


class Recording(Protocol):
    """What one run of a model showed; it holds until the run after the next one."""

    @property
    def flow(self) -> Flow:
        """Which values there are."""

    def value(self, key: int) -> Array:
        """A value, samples along axis 0."""

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """The values of ``given`` computed anew, each from the given ones before it."""


@dataclass(frozen=True, slots=True)
class Comparand:
    """A value of this model by key, what another model has there, and the integers that both are counted on.

    ``compiled``: whether there is enough to count for compiled loops to pay.
    """

    key: int
    theirs: Value
    grid: Grid | None
    compiled: bool = True


@dataclass(frozen=True, slots=True)
class ErrorStats:
    """How far values of one run are from others, by key: as they are, and each ``local``, computed anew from others.

    ``values`` are those that were asked for themselves.
    """

    values: Mapping[int, Array]
    whole: Mapping[int, RowSums]
    local: Mapping[int, RowSums]


class Recorder(Protocol):
    """A model that shows its inner values.

    ``in_flight``: how many slices it is worth measuring at once; one that runs in this process has one. ``notes``:
    what a reader should know of what was recorded.
    """

    in_flight: int

    @property
    def notes(self) -> tuple[str, ...]:
        """See above."""

    def run(self, inputs: Sequence[Array]) -> Recording:
        """Run it on real inputs, samples along axis 0."""

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run it, and count where the values are; ``wanted`` are keys of values to see besides.

        It must have been ``run`` before.
        """


@dataclass(frozen=True, slots=True)
class BoundModel:
    """A watched model and the data as its inputs; ``expected`` are its outputs when nobody watches, where known."""

    watched: Recorder
    inputs: tuple[Array, ...] = field(repr=False)
    expected: tuple[Array, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def run(self, start: int, stop: int) -> Recording:
        """Run the samples from ``start`` to ``stop``."""
        seen = self.watched.run([array[start:stop] for array in self.inputs])
        release(self.inputs)
        return seen

    def measure(self, span: tuple[int, int], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run the same and count where the values are."""
        apart = self.watched.measure([array[slice(*span)] for array in self.inputs], pairs, wanted)
        release(self.inputs)
        return apart


def measured(seen: Recording, pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
    """The same of a run whose values are in this process."""
    places = seen.flow.by_key()

    def beside(pair: Comparand, array: Array) -> RowSums:
        place = places[pair.key]
        return row_sums(
            Value(place.name, array, place.quant, place.grid), pair.theirs, pair.grid, compiled=pair.compiled
        )

    whole = {pair.key: beside(pair, seen.value(pair.key)) for pair in pairs}
    again = seen.local({pair.key: pair.theirs for pair in pairs})
    # Inputs, and what these alone feed, stay as they were.
    alike = {key for key, array in again.items() if same_bits(array, seen.value(key))}
    local = {
        pair.key: whole[pair.key] if pair.key in alike else beside(pair, again[pair.key])
        for pair in pairs
        if pair.key in again
    }
    return ErrorStats({key: seen.value(key) for key in wanted}, whole, local)


def changed_outputs(model: BoundModel, flow: Flow, values: Mapping[int, Array], span: tuple[int, int]) -> int:
    """How many outputs the watching changed, of the samples of ``span``; 0 where it is not known what they were."""
    if len(flow.outputs) != len(model.expected):
        return 0
    pairs = zip(flow.outputs, model.expected, strict=True)
    return sum(changed_elements(values[key], plain[slice(*span)]) for key, plain in pairs)


def value_at(seen: Recording, place: FlowValue) -> Value:
    """What a run gave there."""
    return Value(place.name, seen.value(place.key), place.quant, place.grid)


class Named(Protocol):
    """What a trace needs to know of a model."""

    @property
    def name(self) -> str:
        """The file's name, for messages."""

    @property
    def kind(self) -> str:
        """The engine as results name it: ``float``, ``qat``, ``tflite:xnnpack``."""

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes, in its own order."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs, in its own order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of it."""


def bound(reference: Named, recorder: Recorder, batch: Batch, plain: Trace | None = None) -> BoundModel:
    """A model that is watched with the data bound to its inputs, and its outputs when nobody watches, where known.

    Raises:
        BadData: the data do not fit its inputs.
    """
    expected = tuple(value.array for value in plain.outputs) if plain is not None else ()
    return BoundModel(recorder, bind(batch, reference.inputs, reference.name), expected)


def value_turned(value: Value, order: Order) -> Value:
    """Its axes, samples aside, in another order, as a view."""
    return replace(value, array=turned(value.array, order)) if order else value


def returned(value: Value, order: Order) -> Value:
    """The way back, also a view."""
    return value_turned(value, tuple(int(axis) for axis in np.argsort(order)))
