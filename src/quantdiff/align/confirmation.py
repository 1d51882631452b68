"""Doubtful pairs: far apart, but perhaps because the layers before them are.

The reference is fed with the candidate's own values, and what comes out decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.align.agreement import Sample, agreement, sample
from quantdiff.align.alignment import Match
from quantdiff.align.choice import AGREES
from quantdiff.align.leftovers import Refusals, segments, with_insides
from quantdiff.flow import Flow
from quantdiff.load.data import turned
from quantdiff.ops import RECODES
from quantdiff.recording import Recording, value_at
from quantdiff.references.layout import returned

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
