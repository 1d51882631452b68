"""What can be watched from inside, whatever engine runs it; and the data bound to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from quantdiff.load.mapped import release
from quantdiff.quant import Array
from quantdiff.run.flow import Flow, Place
from quantdiff.trace import Value

ROUNDING = 1e-4  # of the largest output


class Seen(Protocol):
    """What one run of a model showed; it holds until the run after the next one."""

    @property
    def flow(self) -> Flow:
        """Which values there are."""

    def value(self, key: int) -> Array:
        """A value, samples along axis 0."""

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """The values of ``given`` computed anew, each from the given ones before it."""


class Watched(Protocol):
    """A model that shows its inner values."""

    def run(self, inputs: Sequence[Array]) -> Seen:
        """Run it on real inputs, samples along axis 0."""


@dataclass(frozen=True, slots=True)
class Side:
    """A watched model and the data as its inputs; ``expected`` are its outputs when nobody watches, where known."""

    watched: Watched
    inputs: tuple[Array, ...] = field(repr=False)
    expected: tuple[Array, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def run(self, start: int, stop: int) -> Seen:
        """Run the samples from ``start`` to ``stop``."""
        seen = self.watched.run([array[start:stop] for array in self.inputs])
        release(self.inputs)
        return seen


def disturbed(side: Side, seen: Seen, start: int, stop: int) -> int:
    """How many outputs the watching changed: integers at all, floats by more than another order of sums does."""
    ends = seen.flow.outputs
    if len(ends) != len(side.expected):
        return 0
    return sum(_changed(seen.value(key), plain[start:stop]) for key, plain in zip(ends, side.expected, strict=True))


def _changed(watched: Array, plain: Array) -> int:
    if watched.size != plain.size:
        return max(watched.size, plain.size)
    error = np.abs(watched.reshape(plain.shape).astype(np.float64) - plain)
    allowed = 0.0 if plain.dtype.kind != "f" else ROUNDING * float(np.abs(plain).max())
    return int(np.count_nonzero(~(error <= allowed)))


def value_at(seen: Seen, place: Place) -> Value:
    """What a run gave there."""
    return Value(place.name, seen.value(place.key), place.quant, place.grid)
