"""What can be watched from inside, whatever engine runs it; and the data bound to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from quantdiff.flow import Flow, FlowValue
from quantdiff.load.mapped import release
from quantdiff.quant import Array, Grid
from quantdiff.tally.rows import RowSums, row_sums
from quantdiff.trace import Value

ROUNDING = 1e-4  # of the largest output


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

    ``in_flight``: how many slices it is worth measuring at once; one that runs in this process has one.
    """

    in_flight: int

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
    local = {pair.key: beside(pair, again[pair.key]) for pair in pairs if pair.key in again}
    return ErrorStats({key: seen.value(key) for key in wanted}, whole, local)


def disturbed(side: BoundModel, flow: Flow, values: Mapping[int, Array], start: int, stop: int) -> int:
    """How many outputs the watching changed: integers at all, floats by more than another order of sums does."""
    if len(flow.outputs) != len(side.expected):
        return 0
    pairs = zip(flow.outputs, side.expected, strict=True)
    return sum(_changed(values[key], plain[start:stop]) for key, plain in pairs)


def _changed(watched: Array, plain: Array) -> int:
    if watched.size != plain.size:
        return max(watched.size, plain.size)
    error = np.abs(watched.reshape(plain.shape).astype(np.float64) - plain)
    allowed = 0.0 if plain.dtype.kind != "f" else ROUNDING * float(np.abs(plain).max())
    return int(np.count_nonzero(~(error <= allowed)))


def value_at(seen: Recording, place: FlowValue) -> Value:
    """What a run gave there."""
    return Value(place.name, seen.value(place.key), place.quant, place.grid)
