"""Choose matches: by names, kinds and structure, and always by values.

A wrong match is worse than none. Two values may be a match where they agree within what quantization can explain, and
where no other agrees clearly better. Among those that agree alike (a reshape repeats its input) names decide, then the
order of computation; matches never cross each other. What lies between a match and those before it is inside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from quantdiff.align.alignment import Agreement, Leftover, Match, Sample, agreement
from quantdiff.load.data import turns
from quantdiff.ops import BATCH_NORM, CLAMPS, INTO_INTEGERS, RECODES, TRAITS
from quantdiff.recording import Flow, FlowValue

SAME, MENTIONED, END, ALIKE = 2.0, 1.0, 0.5, 0.25


@dataclass(frozen=True, slots=True)
class Labels:
    """Where both flows begin and end, and for every place of one the last of the other that its name mentions."""

    begins: tuple[frozenset[int], frozenset[int]]
    ends: tuple[frozenset[int], frozenset[int]]
    last_mentioned: tuple[dict[int, str], dict[int, str]]

    def score(self, ours: FlowValue, theirs: FlowValue) -> float:
        """``SAME``: one name, or the last layer that the other's name mentions; less for weaker signs; 0 for none."""
        return self._by_name(ours, theirs) + ALIKE * (ours.op == theirs.op) + self._by_end(ours, theirs)

    def _by_name(self, ours: FlowValue, theirs: FlowValue) -> float:
        mine, other = ours.called or ours.name, theirs.called or theirs.name
        a, b = path_of(mine), path_of(other)
        if a == b or a == self.last_mentioned[1].get(theirs.key) or b == self.last_mentioned[0].get(ours.key):
            return SAME
        if mentions(other, a) or mentions(mine, b):
            return MENTIONED
        if stem(a) in map(stem, parts(other)) or stem(b) in map(stem, parts(mine)):
            return END
        either = parts(mine) | parts(other)
        return 0.9 * len(parts(mine) & parts(other)) / len(either) if either else 0.0

    def _by_end(self, ours: FlowValue, theirs: FlowValue) -> float:
        if ours.op == INTO_INTEGERS and theirs.key in self.begins[1] and theirs.grid is not None:
            return MENTIONED
        both = any(ours.key in mine and theirs.key in other for mine, other in (self.begins, self.ends))
        return END * both


def labels_of(reference: Flow, candidate: Flow) -> Labels:
    """Read the names of both flows."""
    return Labels(
        (_begin(reference), _begin(candidate)),
        (reference.ends(), candidate.ends()),
        (_last_mentioned(reference, candidate), _last_mentioned(candidate, reference)),
    )


def _begin(flow: Flow) -> frozenset[int]:
    """Inputs, and the integers made of them."""
    quantized = (p.key for p in flow.places if p.op == INTO_INTEGERS and set(p.feeds) <= set(flow.inputs))
    return frozenset(flow.inputs) | frozenset(quantized)


def _last_mentioned(flow: Flow, other: Flow) -> dict[int, str]:
    """Key → the path of the last place of ``other`` that the place's name mentions."""
    paths = [path_of(place.name) for place in other.places]
    found: dict[int, str] = {}
    for place in flow.places:
        for path in reversed(paths):
            if mentions(place.called or place.name, path):
                found[place.key] = path
                break
    return found


def mentions(name: str, path: str) -> bool:
    """Whether ``model/quant_bn/Fused;model/quant_conv/Conv2D`` has the path ``conv`` in it as whole pieces."""
    return any(f"/{path}/" in each for each in _paths(name))


def parts(name: str) -> frozenset[str]:
    """The pieces of a name's paths."""
    return frozenset(piece for path in _paths(name) for piece in path.split("/") if piece)


@cache
def stem(path: str) -> str:
    """The last piece without its number: Keras 3 writes layer ``x`` as ``x_1``, and ``x_1`` as ``x_1_2``."""
    return re.sub(r"(_\d+)+$", "", path.rpartition("/")[2])


@cache
def path_of(name: str) -> str:
    """A place's name without TFMOT's ``quant_``, the number of a repeated call, and what stands behind it."""
    path = name.partition("#")[0].removesuffix("/pre_activation").removesuffix(":0")
    return "/".join(piece.removeprefix("quant_") for piece in path.split("/"))


@cache
def _paths(name: str) -> tuple[str, ...]:
    return tuple(f"/{path_of(path)}/" for path in name.split(";"))


AGREES = 0.2  # largest distance of a pair by itself: an SQNR of 14 dB
DOUBTFUL = 1.0  # largest distance of a pair that has a sign in common, but no name, if something else confirms it
CLEARLY = 2.0  # a place this many times nearer is the better partner
AS_NEAR = 0.02  # distances below this are all the same: rounding

Distances = dict[tuple[int, int], Agreement]


def choose_matches(
    reference: Flow, candidate: Flow, distances: Distances, placed: Mapping[tuple[int, int], str]
) -> list[Match]:
    """One partner each, the best evidence first; in the reference's order.

    Integers belong to integers rather than to the floats that one of the models rounds to them.
    ``placed`` belong together by their place: inputs always, outputs where their values come near. A match farther
    apart than ``AGREES`` is ``doubtful``: nothing has confirmed it yet.
    """
    ours, theirs, labels = reference.by_key(), candidate.by_key(), labels_of(reference, candidate)
    eligible = _eligible(distances, placed)
    scores = {pair: labels.score(ours[pair[0]], theirs[pair[1]]) for pair in eligible}
    above, below = reference.ancestors(), candidate.ancestors()

    def rank(pair: tuple[int, int]) -> tuple[bool | float, ...]:
        each, alone = eligible[pair], (ours[pair[0]].quant is None) != (theirs[pair[1]].quant is None)
        moves = bool(each.order) and "TRANSPOSE" in (ours[pair[0]].op, theirs[pair[1]].op)
        far = each.distance > AGREES, alone, moves, -scores[pair], bool(each.order), each.distance, each.unclipped
        return pair not in placed, *far, *pair

    chosen: dict[int, Match] = {}
    taken: set[int] = set()
    for a, b in sorted(eligible, key=rank):
        each, score = eligible[a, b], scores[a, b]
        if a in chosen or b in taken or ((a, b) not in placed and score < _wanted(each)):
            continue
        if any(_crosses((a, x), above, (b, other.candidate), below) for x, other in chosen.items()):
            continue
        found_by = "name" if score >= MENTIONED else "structure" if score >= END or (a, b) in placed else "values"
        chosen[a] = Match(a, b, found_by, each.distance, _state((a, b), each, placed), order=each.order)
        taken.add(b)
    return [chosen[place.key] for place in reference.places if place.key in chosen]


def _state(pair: tuple[int, int], found: Agreement, placed: Mapping[tuple[int, int], str]) -> str:
    if pair in placed and (placed[pair] == "input" or found.flat):
        return "place" if found.distance > AGREES or found.flat else "values"
    return "doubtful" if found.distance > AGREES else "flat" if found.flat else "values"


def distances_between(ours: Mapping[int, Sample], theirs: Mapping[int, Sample]) -> Distances:
    """Every pair of places of one size, each in the order of axes in which it is nearest.

    Channels as many as rows and columns fit in any order: then it is the one that they have, unless another is clearly
    nearer.
    """
    found: Distances = {}
    for a, b in ((a, b) for a in ours for b in theirs if ours[a].size == theirs[b].size):
        mine, other = ours[a], theirs[b]
        best, fits = agreement(mine, other), mine.shape == other.shape
        for order in turns(mine.shape, other.shape):
            each = agreement(mine.turned(order), other)
            if each is None:
                continue
            if best is None or (max(AS_NEAR, CLEARLY * each.distance) if fits else each.distance) < best.distance:
                best = replace(each, order=order)
        if best is not None:
            found[a, b] = best
    return found


def _eligible(distances: Distances, placed: Mapping[tuple[int, int], str]) -> Distances:
    """Pairs of which neither side agrees clearly better with another place, and those that belong by their place."""
    near = _near(distances, {pair: each.distance for pair, each in distances.items()})
    near = _near(near, {pair: each.unclipped for pair, each in near.items()})
    return {pair: each for pair, each in distances.items() if pair in placed or pair in near}


def _near(pairs: Distances, far: Mapping[tuple[int, int], float]) -> Distances:
    """The pairs of which neither side is clearly nearer to another place.

    A convolution and the ReLU behind it are the same within the integers that a file has for both: what they are
    beyond these tells them apart.
    """
    nearest: dict[tuple[int, int], float] = {}
    for pair in pairs:
        for side in enumerate(pair):
            nearest[side] = min(nearest.get(side, far[pair]), far[pair])
    return {
        pair: each
        for pair, each in pairs.items()
        if all(far[pair] <= max(AS_NEAR, CLEARLY * nearest[side]) for side in enumerate(pair))
    }


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


VANISHED = ("IDENTITY", *(op for op, known in TRAITS.items() if known.keeps_order))
"""What a converter leaves out: layers without effect at inference, and other shapes of the same values."""


RESCALED = (*RECODES, "input")


QUIET = (BATCH_NORM, *CLAMPS, *VANISHED, *RESCALED, "PAD", "TRANSPOSE")


PADS = ("CONCATENATION", "SLICE", "PAD", "ADD")
BOUNDS = ("MINIMUM", "MAXIMUM")  # beside a constant: one end of a clamp


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
    quiet = (_is_quiet(place) or place.key in pads for place in other)
    if all(q or place is core(other) or (kernels and place.is_weighted) for q, place in zip(quiet, other, strict=True)):
        return {place.key for place in mine}
    return {place.key for place in mine if _is_quiet(place)} | {mine[-1].key, core(mine).key}


def _is_quiet(place: FlowValue) -> bool:
    return place.op in QUIET or (place.op in BOUNDS and len(place.feeds) == 1)


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
