"""Doubtful pairs: far apart, but perhaps because the layers before them are.

The reference is fed with the candidate's own values, and what comes out decides. What is left without a
partner: why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.align.alignment import Leftover, Match, Sample, agreement, sample
from quantdiff.align.choice import (
    AGREES,
    AS_NEAR,
    END,
    MENTIONED,
    Distances,
    explained,
    labels_of,
    segments,
    with_insides,
)
from quantdiff.load.data import turned
from quantdiff.ops import RECODES
from quantdiff.recording import Flow, FlowValue, Recording, returned, value_at

IN_FLOAT = 1e-5  # of the size of a value: sums of float32 in another order differ by less, another formula by more
BETTER = 2.0  # times nearer does a value bring what is computed from it, where it does the work of the reference's


@dataclass(frozen=True, slots=True)
class Local:
    """A run of both sides, and samples of the candidate's values; ``placed`` are pairs that belong by their place."""

    seen: tuple[Recording, Recording]
    candidate: Mapping[int, Sample]
    placed: Mapping[tuple[int, int], str] = field(default_factory=dict)

    @property
    def flows(self) -> tuple[Flow, Flow]:
        """Reference and candidate."""
        return self.seen[0].flow, self.seen[1].flow

    def values(self, matches: Iterable[Match]) -> dict[int, tuple[Sample, Sample]]:
        """Reference key → its local value and the candidate's, for the matches that can be told."""
        matches = tuple(matches)
        ours, theirs = (flow.by_key() for flow in self.flows)
        given = {m.reference: returned(value_at(self.seen[1], theirs[m.candidate]), m.order) for m in matches}
        found = self.seen[0].local(given)
        return {
            m.reference: (sample(ours[m.reference], turned(found[m.reference], m.order)), self.candidate[m.candidate])
            for m in matches
            if m.reference in found
        }

    def distances(self, matches: Iterable[Match]) -> dict[int, float]:
        """Reference key → distance of its local value from the candidate's; values that hardly vary say nothing."""
        found = {key: agreement(*pair) for key, pair in self.values(matches).items()}
        return {key: each.distance for key, each in found.items() if each is not None and not each.flat}


def contradicted(matches: Sequence[Match], local: Local) -> list[Match]:
    """Matches that are none: the reference, fed with the candidate's own input, gives something else.

    A float operator with float32 constants rounds nothing, so what it gives has to be the same. An output that is far
    from the other's is no match by its place where the layers before it do not explain that.
    """
    inside = with_insides(*local.flows, matches)
    asked = {m.reference for m in inside if _in_float(m, local.flows) or (_is_placed(m, local) and _far(m))}
    if not asked:
        return []
    values = local.values(inside)
    wrong = []
    for match in inside:
        pair = values.get(match.reference) if match.reference in asked else None
        if pair is None:
            continue
        found = agreement(*pair)
        if _in_float(match, local.flows):
            apart = _apart(*pair) > IN_FLOAT
        else:
            apart = found is not None and not found.flat and found.distance > AGREES
        wrong += [match] * apart
    return wrong


def _is_placed(match: Match, local: Local) -> bool:
    return local.placed.get(match.keys) == "output"


def _far(match: Match) -> bool:
    return match.confirmed == "doubtful"


def _in_float(match: Match, flows: tuple[Flow, Flow]) -> bool:
    """Whether all that leads from the matches before to this value is float with float32 constants, on both sides."""
    mine, segment = segments(match, *(flow.by_key() for flow in flows))
    if any(place.quant is not None for place in mine):  # what rounds gives something else than a float operator
        return False
    return all(place.in_float or place.op in RECODES for place in segment) and segment[-1].in_float


def _apart(ours: Sample, theirs: Sample) -> float:
    """The difference of two values over their size, Euclidean."""
    a, b = (each.elements.astype(np.float64) for each in (ours, theirs))
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size else float(a.any())


def confirmed(matches: Sequence[Match], local: Local, refusals: Refusals) -> list[Match]:
    """The pairs without the doubtful ones that nothing bears out, or that something speaks against.

    What bears a pair out is either its own local value, or that of a pair computed from it, if that is nearer with
    the candidate's value than without: then it does the work of the reference's, however much it differs. What speaks
    against it is a later pair that agrees as it is, but not when it is computed from this one: channels in another
    order pass through all that works channel by channel, and not through the next sum of products.
    """
    kept = list(matches)
    while any(match.confirmed == "doubtful" for match in kept):
        found = local.distances(kept)
        wrong = _spoken_against(kept, found, local.flows)
        settled = [_settled(match, kept, found, local) for match in kept]
        gone = {m.keys for m in settled if m.confirmed == "doubtful" or m.reference in wrong}
        for match in kept:
            if match.keys in gone:
                refusals.add(match, "values do not agree")
        if not gone:
            return settled
        kept = [match for match in kept if match.keys not in gone]  # judged anew: they may have leaned on each other
    return kept


def _spoken_against(matches: Sequence[Match], found: Mapping[int, float], flows: tuple[Flow, Flow]) -> set[int]:
    """Doubtful pairs that lead, through nothing but doubtful ones, to one that agrees only without them."""
    doubtful = {match.reference for match in matches if match.confirmed == "doubtful"}
    feeding = _feeding(matches, flows)
    agree = (match.reference for match in matches if match.reference not in doubtful)
    waiting, wrong = [key for key in agree if found.get(key, 0.0) > AGREES], set[int]()
    for key in waiting:  # grows while it is walked
        new = feeding[key] & doubtful - wrong
        wrong |= new
        waiting.extend(new)
    return wrong


def _settled(match: Match, matches: Sequence[Match], found: Mapping[int, float], local: Local) -> Match:
    if match.confirmed != "doubtful":
        return match
    if found.get(match.reference, AGREES + 1) <= AGREES:
        return replace(match, confirmed="local")
    if _is_placed(match, local) and match.reference not in found:
        return replace(match, confirmed="place")  # hardly varies, so nothing speaks against it
    feeding = _feeding(matches, local.flows)
    users = [key for key, fed in feeding.items() if match.reference in fed and found.get(key, AGREES + 1) <= AGREES]
    if users:
        without = local.distances(other for other in matches if other is not match)
        if any(without.get(key, 0.0) > BETTER * found[key] for key in users):
            return replace(match, confirmed="next")
    return match


def _feeding(matches: Sequence[Match], flows: tuple[Flow, Flow]) -> dict[int, set[int]]:
    """Reference key → the pairs that it is computed from directly."""
    places, paired = flows[0].by_key(), {match.reference for match in matches}
    return {
        match.reference: {feed for key in (match.reference, *match.reference_inside) for feed in places[key].feeds}
        & paired
        for match in with_insides(*flows, matches)
    }


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
