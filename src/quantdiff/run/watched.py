"""What can be watched from inside, whatever engine runs it; and the data bound to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quantdiff.quant import Array
from quantdiff.run.flow import Flow, Place
from quantdiff.trace import Value


class Watched(Protocol):
    """A model that shows its inner values; it keeps those of the last run."""

    def run(self, inputs: Sequence[Array]) -> Flow:
        """Run it on real inputs, samples along axis 0."""

    def value(self, key: int) -> Array:
        """A value of the last run."""

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """The values of ``given`` computed anew, each from the given ones before it."""


@dataclass(frozen=True, slots=True)
class Side:
    """A watched model and the data as its inputs."""

    watched: Watched
    inputs: tuple[Array, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def run(self, start: int, stop: int) -> Flow:
        """Run the samples from ``start`` to ``stop``."""
        return self.watched.run([array[start:stop] for array in self.inputs])

    def value(self, place: Place) -> Value:
        """What the last run gave there."""
        return Value(place.name, self.watched.value(place.key), place.quant, place.grid)
