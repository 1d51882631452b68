"""Run both models slice by slice and keep the sums of every aligned pair; memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from quantdiff.align.watched import Pairing
from quantdiff.compare.layers.decisions import Decisions
from quantdiff.compare.layers.sums import Sums, measure
from quantdiff.run.watched import Seen, Side, disturbed, value_at
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
) -> tuple[tuple[PairSums, ...], tuple[int, int]]:
    """The sums of every pair over all samples, in the order of the matches, and how many outputs watching changed.

    While one slice is counted the models already run the next one.
    """
    totals, changed = tuple(PairSums() for _ in pairing.matching.matches), [0, 0]
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
            for i, side in enumerate((reference, candidate)):
                changed[i] += disturbed(side, seen[i], start, stop)
            on_progress(stop)
    return totals, (changed[0], changed[1])


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
