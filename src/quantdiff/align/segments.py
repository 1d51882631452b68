"""What lies inside a pair: the places on the way from the pairs before, and which of them that explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from quantdiff.align.alignment import Match
from quantdiff.flow import Flow, FlowValue
from quantdiff.ops import BATCH_NORM, CLAMPS, RECODES, TRAITS

VANISHED = ("IDENTITY", *(op for op, known in TRAITS.items() if known.keeps_order))
"""What a converter leaves out: layers without effect at inference, and other shapes of the same values."""
RESCALED = (*RECODES, "input")
QUIET = (BATCH_NORM, *CLAMPS, *VANISHED, *RESCALED, "PAD")


def with_insides(reference: Flow, candidate: Flow, matches: Sequence[Match]) -> list[Match]:
    """The pairs, each with what lies inside on both sides."""
    ours, theirs = reference.by_key(), candidate.by_key()
    ends = {m.reference for m in matches}, {m.candidate for m in matches}
    return [
        replace(
            match,
            reference_inside=_inside(ours, match.reference, ends[0]),
            candidate_inside=_inside(theirs, match.candidate, ends[1]),
        )
        for match in matches
    ]


def _inside(places: Mapping[int, FlowValue], key: int, ends: set[int]) -> tuple[int, ...]:
    """The places that lead to ``key`` and to no pair before it."""
    found: list[int] = []
    waiting = list(places[key].feeds)
    for current in waiting:  # grows while it is walked
        if current not in ends and current not in found and current in places:
            found.append(current)
            waiting.extend(places[current].feeds)
    return tuple(sorted(found))


def segments(
    match: Match, ours: Mapping[int, FlowValue], theirs: Mapping[int, FlowValue]
) -> tuple[list[FlowValue], list[FlowValue]]:
    """The places of both sides that the pair stands for, its own last."""
    return (
        [ours[key] for key in (*match.reference_inside, match.reference)],
        [theirs[key] for key in (*match.candidate_inside, match.candidate)],
    )


def core(segment: Sequence[FlowValue]) -> FlowValue:
    """The place that a segment is about: its last one, or the one before it where that only changes the type."""
    last = segment[-1]
    before = [place for place in segment if place.key in last.feeds and place.op != "input"]
    return core([*segment[:-1], before[0]]) if last.op in RESCALED and len(before) == 1 else last


def explained(mine: Sequence[FlowValue], other: Sequence[FlowValue], *, kernels: bool = False) -> set[int]:
    """Which of ``mine`` the pair accounts for: all that one place of the other side does, else what goes unseen.

    ``kernels``: one place has the kernels of several on the other side, so that these are accounted for, too.
    """
    if all(place.op in QUIET or place is core(other) or (kernels and place.is_weighted) for place in other):
        return {place.key for place in mine}
    return {place.key for place in mine if place.op in QUIET} | {mine[-1].key, core(mine).key}
