"""What can be watched from inside, whatever engine runs it; and the data bound to its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quantdiff.load.mapped import release
from quantdiff.quant import Array
from quantdiff.run.flow import Flow, Place
from quantdiff.trace import Value


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
    """A watched model and the data as its inputs."""

    watched: Watched
    inputs: tuple[Array, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def run(self, start: int, stop: int) -> Seen:
        """Run the samples from ``start`` to ``stop``."""
        seen = self.watched.run([array[start:stop] for array in self.inputs])
        release(self.inputs)
        return seen


def value_at(seen: Seen, place: Place) -> Value:
    """What a run gave there."""
    return Value(place.name, seen.value(place.key), place.quant, place.grid)
