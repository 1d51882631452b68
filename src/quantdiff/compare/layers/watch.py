"""Run both models slice by slice and keep the figures of every aligned pair; memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quantdiff.align.agreement import samples
from quantdiff.align.flows import Matching, match_flows
from quantdiff.compare.layers.decisions import Decisions
from quantdiff.compare.layers.sums import Sums, measure
from quantdiff.quant import Array
from quantdiff.run.flow import Flow, Place
from quantdiff.trace import Grid, Value

PROBED, SAMPLES_AT_ONCE = 64, 1000  # that the alignment looks at; that run together
BYTES_AT_ONCE = 2**26  # of inner values of both sides in memory


class Watched(Protocol):
    """A model that can be watched from inside."""

    def run(self, inputs: Sequence[Array]) -> Flow:
        """Run it."""

    def value(self, key: int) -> Array:
        """A value of the last run."""

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """The same values computed anew, each from those before it; real ones are given."""


@dataclass(frozen=True, slots=True)
class Side:
    """A model and the data as its inputs."""

    watched: Watched
    inputs: tuple[Array, ...]

    def slice(self, start: int, stop: int) -> list[Array]:
        """Some samples."""
        return [array[start:stop] for array in self.inputs]


@dataclass(slots=True)
class PairSums:
    """Both accounts of one pair: as it happens, and of this layer alone."""

    accumulated: Sums = field(default_factory=Sums)
    local: Sums = field(default_factory=Sums)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Both models as flows, how they go together, and how many samples fit into memory with all inner values."""

    reference: Flow
    candidate: Flow
    matching: Matching
    at_once: int

    def places(self) -> list[tuple[Place, Place]]:
        """The pairs, in the order of the matches."""
        ours, theirs = self.reference.by_key(), self.candidate.by_key()
        return [(ours[match.reference], theirs[match.candidate]) for match in self.matching.matches]

    def grids(self) -> list[Grid | None]:
        """The integers that each pair is counted on: the candidate's, else the reference's."""
        return [theirs.grid or ours.grid for ours, theirs in self.places()]


def pair_models(reference: Side, candidate: Side) -> Pairing:
    """Align the two models on the first samples.

    Raises:
        RuntimeFailed: a model does not run.
    """
    at_once = _samples_at_once([_run(side, 1) for side in (reference, candidate)])
    (ours, our_values), (theirs, their_values) = (_run(side, min(PROBED, at_once)) for side in (reference, candidate))
    sampled = samples(ours.by_key(), our_values), samples(theirs.by_key(), their_values)
    return Pairing(ours, theirs, match_flows(ours, theirs, *sampled), at_once)


def _run(side: Side, count: int) -> tuple[Flow, dict[int, Array]]:
    flow = side.watched.run(side.slice(0, count))
    return flow, {place.key: side.watched.value(place.key) for place in flow.places}


def _samples_at_once(probes: Sequence[tuple[Flow, Mapping[int, Array]]]) -> int:
    bytes_each = sum(array[:1].nbytes for _, values in probes for array in values.values())
    return max(1, min(SAMPLES_AT_ONCE, BYTES_AT_ONCE // max(1, bytes_each)))


def watch_pairs(
    pairing: Pairing,
    reference: Side,
    candidate: Side,
    decisions: Decisions,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[PairSums, ...]:
    """The sums of every pair over all samples, in the order of the matches."""
    totals, count = tuple(PairSums() for _ in pairing.matching.matches), len(reference.inputs[0])
    for start in range(0, count, pairing.at_once):
        stop = min(start + pairing.at_once, count)
        for side in (reference, candidate):
            side.watched.run(side.slice(start, stop))
        _add_slice(pairing, reference.watched, candidate.watched, totals, decisions, start)
        on_progress(stop)
    return totals


def _add_slice(
    pairing: Pairing,
    reference: Watched,
    candidate: Watched,
    totals: Sequence[PairSums],
    decisions: Decisions,
    first: int,
) -> None:
    pairs = pairing.places()
    theirs = [_value(candidate, place) for _, place in pairs]
    local = reference.local({place.key: v for (place, _), v in zip(pairs, theirs, strict=True)})
    for i, ((place, _), value, grid) in enumerate(zip(pairs, theirs, pairing.grids(), strict=True)):
        ours = _value(reference, place)
        totals[i].accumulated.merge(measure(ours, value, grid, first))
        decisions.add(i, ours, value, first)
        if place.key in local:
            totals[i].local.merge(measure(Value(place.name, local[place.key], place.quant), value, grid, first))


def _value(watched: Watched, place: Place) -> Value:
    return Value(place.name, watched.value(place.key), place.quant, place.grid)
