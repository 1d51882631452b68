"""Run both models slice by slice and keep the sums of every aligned pair; memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from quantdiff.align.watched import Pairing
from quantdiff.compare.layers.decisions import Decisions
from quantdiff.compare.layers.sums import Sums, measure
from quantdiff.run.watched import Seen, Side, value_at
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
    """The sums of every pair over all samples, in the order of the matches.

    While one slice is counted the models already run the next one.
    """
    totals = tuple(PairSums() for _ in pairing.matching.matches)
    bounds = [*range(0, len(reference), pairing.at_once), len(reference)]
    slices = list(pairwise(bounds))
    with ThreadPoolExecutor(3) as threads:

        def begin(start: int, stop: int) -> list[Future[Seen]]:
            return [threads.submit(side.run, start, stop) for side in (reference, candidate)]

        running = begin(*slices[0])
        for (start, stop), after in zip(slices, [*slices[1:], None], strict=True):
            seen = running[0].result(), running[1].result()
            running = begin(*after) if after else []
            _add_slice(pairing, seen, totals, decisions, (start, threads))
            on_progress(stop)
    return totals


def _add_slice(
    pairing: Pairing,
    seen: tuple[Seen, Seen],
    totals: Sequence[PairSums],
    decisions: Decisions,
    at: tuple[int, ThreadPoolExecutor],
) -> None:
    first, threads = at
    pairs, grids = pairing.places(), pairing.grids()
    theirs = [value_at(seen[1], place) for _, place in pairs]
    again = threads.submit(seen[0].local, {place.key: v for (place, _), v in zip(pairs, theirs, strict=True)})
    for i, (place, _) in enumerate(pairs):
        ours = value_at(seen[0], place)
        totals[i].accumulated += measure(ours, theirs[i], grids[i], first)
        decisions.add(i, ours, theirs[i], first)
    local = again.result()
    for i, (place, _) in enumerate(pairs):
        if place.key in local:
            ours = Value(place.name, local[place.key], place.quant, place.grid)
            totals[i].local += measure(ours, theirs[i], grids[i], first)
