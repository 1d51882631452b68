"""Places without a partner, and why they have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantdiff.align.alignment import Leftover, Match
from quantdiff.align.choice import AGREES, AS_NEAR, Distances
from quantdiff.align.labels import END, MENTIONED, labels_of
from quantdiff.align.segments import explained, segments
from quantdiff.flow import Flow, FlowValue


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
