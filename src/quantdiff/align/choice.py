"""Choose matches: by names and structure, and always by values.

A wrong pair is worse than none. Two places may be a pair where their values agree within what quantization can
explain, and where no other place agrees clearly better. Among those that agree alike (a reshape repeats its input)
names decide, then the order of computation; pairs never cross each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from quantdiff.align.agreement import Agreement, Sample, agreement
from quantdiff.align.alignment import Match
from quantdiff.align.labels import END, MENTIONED, SAME, labels_of
from quantdiff.flow import Flow

AGREES = 0.2  # largest distance of a pair by itself: an SQNR of 14 dB
DOUBTFUL = 1.0  # largest distance of a pair that has a sign in common, but no name, if something else confirms it
CLEARLY = 2.0  # a place this many times nearer is the better partner
AS_NEAR = 0.02  # distances below this are all the same: rounding

Distances = dict[tuple[int, int], Agreement]


def choose_matches(
    reference: Flow, candidate: Flow, distances: Distances, placed: Mapping[tuple[int, int], str]
) -> list[Match]:
    """One partner each, the best evidence first; in the reference's order.

    ``placed`` belong together by their place: inputs always, outputs where their values come near. A match farther
    apart than ``AGREES`` is ``doubtful``: nothing has confirmed it yet.
    """
    ours, theirs, labels = reference.by_key(), candidate.by_key(), labels_of(reference, candidate)
    eligible = _eligible(distances, placed)
    scores = {pair: labels.score(ours[pair[0]], theirs[pair[1]]) for pair in eligible}
    above, below = reference.ancestors(), candidate.ancestors()

    def rank(pair: tuple[int, int]) -> tuple[bool, bool, float, float, float, int, int]:
        each = eligible[pair]
        return pair not in placed, each.distance > AGREES, -scores[pair], each.distance, each.unclipped, *pair

    chosen: dict[int, Match] = {}
    taken: set[int] = set()
    for a, b in sorted(eligible, key=rank):
        each, score = eligible[a, b], scores[a, b]
        if a in chosen or b in taken or ((a, b) not in placed and score < _wanted(each)):
            continue
        if any(_crosses((a, x), above, (b, other.candidate), below) for x, other in chosen.items()):
            continue
        found_by = "name" if score >= MENTIONED else "structure" if score >= END or (a, b) in placed else "values"
        chosen[a] = Match(a, b, found_by, each.distance, _state((a, b), each, placed))
        taken.add(b)
    return [chosen[place.key] for place in reference.places if place.key in chosen]


def _state(pair: tuple[int, int], found: Agreement, placed: Mapping[tuple[int, int], str]) -> str:
    if pair in placed and (placed[pair] == "input" or found.flat):
        return "place" if found.distance > AGREES or found.flat else "values"
    return "doubtful" if found.distance > AGREES else "flat" if found.flat else "values"


def distances_between(ours: Mapping[int, Sample], theirs: Mapping[int, Sample]) -> Distances:
    """Every pair of places of one size."""
    pairs = ((a, b) for a in ours for b in theirs if ours[a].size == theirs[b].size)
    found = ((a, b, agreement(ours[a], theirs[b])) for a, b in pairs)
    return {(a, b): each for a, b, each in found if each is not None}


def _eligible(distances: Distances, placed: Mapping[tuple[int, int], str]) -> Distances:
    """Pairs of which neither side agrees clearly better with another place, and those that belong by their place."""
    nearest: dict[tuple[int, int], float] = {}
    for pair, each in distances.items():
        for side in enumerate(pair):
            nearest[side] = min(nearest.get(side, each.distance), each.distance)

    def near(pair: tuple[int, int], distance: float) -> bool:
        return all(distance <= max(AS_NEAR, CLEARLY * nearest[side]) for side in enumerate(pair))

    return {pair: each for pair, each in distances.items() if pair in placed or near(pair, each.distance)}


def _wanted(found: Agreement) -> float:
    """How much names and structure have to say for values that are this far apart."""
    if found.distance > DOUBTFUL:
        return SAME
    return END if found.flat or found.distance > AGREES else 0.0


def _crosses(
    ours: tuple[int, int],
    above: Mapping[int, frozenset[int]],
    theirs: tuple[int, int],
    below: Mapping[int, frozenset[int]],
) -> bool:
    """Whether the first comes before the second on one side and after it on the other."""
    (a, x), (b, y) = ours, theirs
    return (a in above[x] and y in below[b]) or (x in above[a] and b in below[y])
