"""Run both models slice by slice and keep the sums of every aligned pair; memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from quantdiff.align.watched import Pairing
from quantdiff.compare.layers.decisions import Decisions
from quantdiff.compare.layers.sums import Sums, measure
from quantdiff.run.watched import Side
from quantdiff.trace import Value


@dataclass(slots=True)
class PairSums:
    """Both accounts of one pair: as it happens, and of this layer alone."""

    accumulated: Sums = field(default_factory=Sums)
    local: Sums = field(default_factory=Sums)


def watch_pairs(
    pairing: Pairing,
    reference: Side,
    candidate: Side,
    decisions: Decisions,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[PairSums, ...]:
    """The sums of every pair over all samples, in the order of the matches."""
    totals = tuple(PairSums() for _ in pairing.matching.matches)
    for start in range(0, len(reference), pairing.at_once):
        stop = min(start + pairing.at_once, len(reference))
        for side in (reference, candidate):
            side.run(start, stop)
        _add_slice(pairing, (reference, candidate), totals, decisions, start)
        on_progress(stop)
    return totals


def _add_slice(
    pairing: Pairing, sides: tuple[Side, Side], totals: Sequence[PairSums], decisions: Decisions, first: int
) -> None:
    pairs = pairing.places()
    theirs = [sides[1].value(place) for _, place in pairs]
    local = sides[0].watched.local({place.key: value for (place, _), value in zip(pairs, theirs, strict=True)})
    for i, ((place, _), value, grid) in enumerate(zip(pairs, theirs, pairing.grids(), strict=True)):
        ours = sides[0].value(place)
        totals[i].accumulated.merge(measure(ours, value, grid, first))
        decisions.add(i, ours, value, first)
        if place.key in local:
            totals[i].local.merge(measure(Value(place.name, local[place.key], place.quant), value, grid, first))
