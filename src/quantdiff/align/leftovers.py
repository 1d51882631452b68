"""What lies inside a match, and values without a partner: why they have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from quantdiff.align.alignment import Leftover, Match
from quantdiff.align.choice import AGREES, AS_NEAR, END, MENTIONED, Distances, labels_of
from quantdiff.flow import Flow, FlowValue
from quantdiff.ops import BATCH_NORM, CLAMPS, RECODES, TRAITS

VANISHED = ("IDENTITY", *(op for op, known in TRAITS.items() if known.keeps_order))
"""What a converter leaves out: layers without effect at inference, and other shapes of the same values."""
RESCALED = (*RECODES, "input")
QUIET = (BATCH_NORM, *CLAMPS, *VANISHED, *RESCALED, "PAD", "TRANSPOSE")
PADS = ("CONCATENATION", "SLICE", "PAD", "ADD")


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
    pads = _padding(other)
    quiet = (place.op in QUIET or place.key in pads for place in other)
    if all(q or place is core(other) or (kernels and place.is_weighted) for q, place in zip(quiet, other, strict=True)):
        return {place.key for place in mine}
    return {place.key for place in mine if place.op in QUIET} | {mine[-1].key, core(mine).key}


def _padding(segment: Sequence[FlowValue]) -> set[int]:
    """Zeros that are made of a number, put beside a value and added to it: how onnx2tf pads."""
    found = {place.key for place in segment if place.op == "FILL"}
    waiting = [*found]
    for key in waiting:  # grows while it is walked
        new = {place.key for place in segment if place.op in PADS and key in place.feeds} - found
        found |= new
        waiting.extend(new)
    return found


class Refusals:
    """Pairs that were thought of and given up, and the distances of all."""

    def __init__(self, distances: Distances) -> None:
        self.distances, self._why = distances, dict[tuple[int, int], str]()

    def add(self, match: Match, why: str) -> None:
        """Say why a pair was given up."""
        self._why[match.keys] = why

    def left(self) -> Distances:
        """The distances of the pairs that were not given up."""
        return {pair: each for pair, each in self.distances.items() if pair not in self._why}

    def of(self, side: int, key: int) -> tuple[int, str] | None:
        """The partner that was given up, and why."""
        found = ((pair[1 - side], why) for pair, why in self._why.items() if pair[side] == key)
        return next(found, None)


def leftovers(
    reference: Flow, candidate: Flow, matches: Sequence[Match], refusals: Refusals
) -> tuple[tuple[Leftover, ...], tuple[Leftover, ...]]:
    """What no pair stands for, on both sides."""
    ours, theirs = reference.by_key(), candidate.by_key()
    accounted: tuple[set[int], set[int]] = ({*reference.restating()}, {*candidate.restating()})
    for match in matches:
        mine, other = segments(match, ours, theirs)
        same = match.kernel is True and 1 in (sum(place.is_weighted for place in side) for side in (mine, other))
        accounted[0].update(explained(mine, other, kernels=same))
        accounted[1].update(explained(other, mine, kernels=same))
    return tuple(
        tuple(
            Leftover(place.key, place.name, place.op, _why(side, place, (reference, candidate), matches, refusals))
            for place in flow.places
            if place.key not in accounted[side]
        )
        for side, flow in enumerate((reference, candidate))
    )  # type: ignore[return-value]


def _why(side: int, place: FlowValue, flows: tuple[Flow, Flow], matches: Sequence[Match], refusals: Refusals) -> str:
    others = flows[1 - side].by_key()
    taken = {match.keys[1 - side] for match in matches}
    if place.key in flows[side].ends() and flows[1 - side].ends() <= taken:
        return "the other side ends before it"
    if (refused := refusals.of(side, place.key)) is not None:
        partner, why = refused
        return f"{why}: {others[partner].name} (distance {_distance(refusals, side, place.key, partner):.2f})"
    near = _by_distance(refusals.distances, side, place.key)
    for key, distance in near.items():
        if distance <= max(AS_NEAR, AGREES) and key in taken:
            return f"has the values of {others[key].name}, which has a nearer partner"
    labels = labels_of(*flows)
    for key, distance in near.items():
        pair = (place, others[key]) if side == 0 else (others[key], place)
        if (score := labels.score(*pair)) >= END:
            how = "named like" if score >= MENTIONED else "stands where it stands:"
            return f"{how} {others[key].name}, but their values do not agree (distance {distance:.2f})"
    if not near:
        return "the other side has no value of this size"
    key, distance = next(iter(near.items()))
    return f"no values that agree; the nearest are those of {others[key].name} (distance {distance:.2f})"


def _by_distance(distances: Distances, side: int, key: int) -> Mapping[int, float]:
    found = {pair[1 - side]: each.distance for pair, each in distances.items() if pair[side] == key}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _distance(refusals: Refusals, side: int, key: int, partner: int) -> float:
    pair = (key, partner) if side == 0 else (partner, key)
    return refusals.distances[pair].distance
