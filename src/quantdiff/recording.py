"""What can be watched from inside, whatever engine runs it; and the data bound to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from quantdiff.flow import Flow, FlowValue
from quantdiff.load.data import Batch, Order, Slot, bind, turned
from quantdiff.load.npz import release
from quantdiff.quant import Array, Grid, Value
from quantdiff.tally.rows import RowSums, row_sums
from quantdiff.trace import Trace, changed_elements, same_bits


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
