"""Which place of one model is which place of another: by names and structure, and always confirmed by values.

A wrong pair is worse than none. A pair is made where the values agree within what quantization can explain, and where
no other place agrees clearly better. Among those that agree alike (a reshape repeats its input) names decide, then the
order of computation; pairs never cross each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantdiff.align.agreement import Agreement, Sample, agreement
from quantdiff.align.labels import label_score
from quantdiff.run.flow import Flow, Place

AGREES = 0.5  # largest distance of a pair
CLEARLY = 2.0  # a place this many times nearer is the better partner
AS_NEAR = 0.02  # distances below this are all the same: rounding


@dataclass(frozen=True, slots=True)
class Match:
    """A pair of keys, how it was found (``name``, ``structure``, ``values``), and the distance of the values.

    ``reference_inside`` and ``candidate_inside`` are the places between this pair and the pairs before it.
    """

    reference: int
    candidate: int
    found_by: str
    distance: float
    flat: bool = False
    reference_inside: tuple[int, ...] = ()
    candidate_inside: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A place without a partner, and why."""

    key: int
    name: str
    op: str
    why: str


@dataclass(frozen=True, slots=True)
class Matching:
    """All pairs in the reference's order, and what is left on both sides."""

    matches: tuple[Match, ...]
    only_reference: tuple[Leftover, ...]
    only_candidate: tuple[Leftover, ...]


Distances = dict[tuple[int, int], Agreement]


def match_flows(
    reference: Flow, candidate: Flow, reference_samples: Mapping[int, Sample], candidate_samples: Mapping[int, Sample]
) -> Matching:
    """Align two models by what they computed for the same data."""
    distances = _distances(reference_samples, candidate_samples)
    pairs = _choose(reference, candidate, _eligible(distances))
    matches = tuple(_with_insides(reference, candidate, pairs))
    return Matching(
        matches,
        tuple(_leftovers(reference, {m.reference for m in matches} | {k for m in matches for k in m.reference_inside})),
        tuple(_leftovers(candidate, {m.candidate for m in matches} | {k for m in matches for k in m.candidate_inside})),
    )


def _distances(ours: Mapping[int, Sample], theirs: Mapping[int, Sample]) -> Distances:
    found = ((a, b, agreement(ours[a], theirs[b])) for a in ours for b in theirs if ours[a].size == theirs[b].size)
    return {(a, b): each for a, b, each in found if each is not None}


def _eligible(distances: Distances) -> Distances:
    """Pairs that agree, and of which neither side agrees clearly better with another place."""
    nearest: dict[tuple[str, int], float] = {}
    for (a, b), each in distances.items():
        for side in (("reference", a), ("candidate", b)):
            nearest[side] = min(nearest.get(side, each.distance), each.distance)

    def best(side: str, key: int, distance: float) -> bool:
        return distance <= max(AS_NEAR, CLEARLY * nearest[side, key])

    return {
        (a, b): each
        for (a, b), each in distances.items()
        if each.distance <= AGREES and best("reference", a, each.distance) and best("candidate", b, each.distance)
    }


def _choose(reference: Flow, candidate: Flow, eligible: Distances) -> list[Match]:
    """One partner each, the best evidence first; a pair that crosses one already made is refused."""
    ours, theirs = reference.by_key(), candidate.by_key()
    scores = {pair: label_score(ours[pair[0]], theirs[pair[1]], reference, candidate) for pair in eligible}
    above, below = reference.ancestors(), candidate.ancestors()

    def rank(pair: tuple[int, int]) -> tuple[float, float, int, int]:
        return -scores[pair], round(eligible[pair].distance / AS_NEAR), *pair

    chosen: dict[int, int] = {}
    taken: set[int] = set()
    matches = []
    for a, b in sorted(eligible, key=rank):
        each, score = eligible[a, b], scores[a, b]
        if a in chosen or b in taken or (each.flat and not score):
            continue
        if any(_crosses(a, x, above, b, y, below) for x, y in chosen.items()):
            continue
        chosen[a] = b
        taken.add(b)
        matches.append(
            Match(a, b, "name" if score >= 1 else "structure" if score else "values", each.distance, each.flat)
        )
    order = {place.key: i for i, place in enumerate(reference.places)}
    return sorted(matches, key=lambda match: order[match.reference])


def _crosses(
    a: int, x: int, above: Mapping[int, frozenset[int]], b: int, y: int, below: Mapping[int, frozenset[int]]
) -> bool:
    """Whether a comes before x on one side and b after y on the other."""
    return (a in above[x] and y in below[b]) or (x in above[a] and b in below[y])


def _with_insides(reference: Flow, candidate: Flow, matches: list[Match]) -> list[Match]:
    ours, theirs = reference.by_key(), candidate.by_key()
    ends = {m.reference for m in matches}, {m.candidate for m in matches}
    return [
        Match(
            m.reference,
            m.candidate,
            m.found_by,
            m.distance,
            m.flat,
            _inside(ours, m.reference, ends[0]),
            _inside(theirs, m.candidate, ends[1]),
        )
        for m in matches
    ]


def _inside(places: Mapping[int, Place], key: int, ends: set[int]) -> tuple[int, ...]:
    """The places that lead to ``key`` and to no pair before it."""
    found: list[int] = []
    waiting = list(places[key].feeds)
    for current in waiting:
        if current in ends or current in found or current not in places:
            continue
        found.append(current)
        waiting.extend(places[current].feeds)
    return tuple(sorted(found))


def _leftovers(flow: Flow, used: set[int]) -> list[Leftover]:
    return [Leftover(p.key, p.name, p.op, "no values that agree") for p in flow.places if p.key not in used]
