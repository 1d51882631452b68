"""Doubtful pairs: far apart, but perhaps because the layers before them are.

The reference is fed with the candidate's own values, and what comes out decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quantdiff.align.agreement import Sample, agreement, sample
from quantdiff.align.choice import AGREES
from quantdiff.align.leftovers import Refusals
from quantdiff.align.matching import Match
from quantdiff.align.segments import with_insides
from quantdiff.flow import Flow
from quantdiff.recording import Recording, value_at

BETTER = 2.0  # times nearer does a value bring what is computed from it, where it does the work of the reference's


@dataclass(frozen=True, slots=True)
class Local:
    """A run of both sides, and samples of the candidate's values."""

    seen: tuple[Recording, Recording]
    candidate: Mapping[int, Sample]

    @property
    def flows(self) -> tuple[Flow, Flow]:
        """Reference and candidate."""
        return self.seen[0].flow, self.seen[1].flow

    def distances(self, matches: Iterable[Match]) -> dict[int, float]:
        """Reference key → distance of its local value from the candidate's, for the pairs that can be told."""
        matches = tuple(matches)
        ours, theirs = (flow.by_key() for flow in self.flows)
        given = {match.reference: value_at(self.seen[1], theirs[match.candidate]) for match in matches}
        values = self.seen[0].local(given)
        found = {
            match.reference: agreement(
                sample(ours[match.reference], values[match.reference]), self.candidate[match.candidate]
            )
            for match in matches
            if match.reference in values
        }
        return {key: each.distance for key, each in found.items() if each is not None and not each.flat}


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
