"""Run both models slice by slice and keep the sums of every aligned pair; memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from quantdiff.align.watched import Pairing
from quantdiff.compare.layers.decisions import Decisions
from quantdiff.compare.layers.sums import Sums, sums_of
from quantdiff.run.watched import Against, Apart, Seen, Side, disturbed, value_at
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

    While the reference is held against one slice the candidate already runs the next one.
    """
    totals, changed = tuple(PairSums() for _ in pairing.matching.matches), [0, 0]
    bounds = [*range(0, len(reference), pairing.at_once), len(reference)]
    slices = list(pairwise(bounds))
    ends = pairing.candidate.outputs
    with ThreadPoolExecutor(1) as ahead:
        running = ahead.submit(candidate.run, *slices[0])
        for span, after in zip(slices, [*slices[1:], None], strict=True):
            seen = running.result()
            if after:
                running = ahead.submit(candidate.run, *after)
            apart = _add_slice(pairing, reference, seen, (totals, decisions), span)
            changed[0] += disturbed(reference, pairing.reference, apart.values, *span)
            changed[1] += disturbed(candidate, pairing.candidate, {key: seen.value(key) for key in ends}, *span)
            on_progress(span[1])
    return totals, (changed[0], changed[1])


def _add_slice(
    pairing: Pairing,
    reference: Side,
    seen: Seen,
    into: tuple[Sequence[PairSums], Decisions],
    span: tuple[int, int],
) -> Apart:
    places, (totals, decisions) = pairing.places(), into
    theirs = [value_at(seen, place) for _, place in places]
    pairs = [
        Against(ours.key, value, grid) for (ours, _), value, grid in zip(places, theirs, pairing.grids(), strict=True)
    ]
    looked_at = {places[i][0].key for i in decisions.ends}
    apart = reference.measure(span, pairs, looked_at.union(pairing.reference.outputs))
    for i, ((ours, _), value) in enumerate(zip(places, theirs, strict=True)):
        about = value.array.size, span[0], (ours.name, value.name)
        totals[i].accumulated += sums_of(apart.whole[ours.key], *about)
        if ours.key in apart.local:
            totals[i].local += sums_of(apart.local[ours.key], *about)
        if i in decisions.ends:
            decisions.add(i, Value(ours.name, apart.values[ours.key], ours.quant, ours.grid), value, span[0])
    return apart
