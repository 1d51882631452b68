"""Align two models by what they compute for the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quantdiff.align.agreement import Sample, agreement, sample
from quantdiff.align.choice import AGREES, choose_pairs, distances_between
from quantdiff.align.kernels import bias_moved, kernels_agree
from quantdiff.align.leftovers import Refusals, leftovers
from quantdiff.align.matching import Match, Matching
from quantdiff.align.segments import segments, with_insides
from quantdiff.align.strangers import strangers
from quantdiff.run.flow import Flow, Place
from quantdiff.run.watched import Side
from quantdiff.trace import Grid

PROBED, SAMPLES_AT_ONCE = 64, 1000  # that the alignment looks at; that run together
BYTES_AT_ONCE = 2**26  # of inner values of both sides in memory


@dataclass(frozen=True, slots=True)
class Pairing:
    """Both models as flows, how they go together, and how many samples fit into memory with all inner values."""

    reference: Flow
    candidate: Flow
    matching: Matching
    at_once: int

    def places(self) -> list[tuple[Place, Place]]:
        """The pairs, in the order of the matches."""
        ours, theirs = self.reference.by_key(), self.candidate.by_key()
        return [(ours[match.reference], theirs[match.candidate]) for match in self.matching.matches]

    def grids(self) -> list[Grid | None]:
        """The integers that each pair is counted on: the candidate's, else the reference's."""
        return [theirs.grid or ours.grid for ours, theirs in self.places()]


def pair_models(reference: Side, candidate: Side) -> Pairing:
    """Run both on the first samples, and align every value that has a partner.

    Raises:
        RuntimeFailed: a model does not run.
    """
    at_once = _samples_at_once([_probe(side, 1) for side in (reference, candidate)])
    count = min(PROBED, at_once)
    (ours, our_samples), (theirs, their_samples) = (_sampled(side, count) for side in (reference, candidate))
    distances = distances_between(our_samples, their_samples)
    matches, refusals = choose_pairs(ours, theirs, distances), Refusals(distances)
    matches = _without_moved_biases(matches, ours, theirs, refusals)
    matches = _confirmed(matches, (ours, theirs), (reference, candidate), their_samples, refusals)
    matches = [_with_kernel(match, ours, theirs) for match in with_insides(ours, theirs, matches)]
    left = leftovers(ours, theirs, matches, refusals)
    return Pairing(ours, theirs, Matching(tuple(matches), *left, strangers(ours, theirs, matches)), at_once)


def _probe(side: Side, count: int) -> tuple[Side, Flow]:
    return side, side.run(0, count)


def _samples_at_once(probes: Sequence[tuple[Side, Flow]]) -> int:
    bytes_each = sum(side.value(place).array.nbytes for side, flow in probes for place in flow.places)
    return max(1, min(SAMPLES_AT_ONCE, BYTES_AT_ONCE // max(1, bytes_each)))


def _sampled(side: Side, count: int) -> tuple[Flow, dict[int, Sample]]:
    """A model's values for the first samples. Floats that restate integers are left to these."""
    flow = side.run(0, count)
    aside = flow.restating()
    values = ((place, side.watched.value(place.key)) for place in flow.places if place.key not in aside)
    return flow, {place.key: sample(place, array) for place, array in values if array.size}


def _confirmed(
    matches: list[Match],
    flows: tuple[Flow, Flow],
    sides: tuple[Side, Side],
    theirs: Mapping[int, Sample],
    refusals: Refusals,
) -> list[Match]:
    """Doubtful pairs go, unless the reference fed with the candidate's own values bears them out.

    Either the pair's own local values agree, or those of a pair that is computed from it: then the candidate's
    value does the work of the reference's, however much it differs.
    """
    while any(match.confirmed == "doubtful" for match in matches):
        places = [flow.by_key() for flow in flows]
        given = {match.reference: sides[1].value(places[1][match.candidate]) for match in matches}
        local = sides[0].watched.local(given)
        agreeing = set()
        for match in matches:
            if match.reference in local:
                mine = sample(replace(places[0][match.reference]), local[match.reference])
                found = agreement(mine, theirs[match.candidate])
                if found is not None and found.distance <= AGREES and not found.flat:
                    agreeing.add(match.reference)
        followed = _fed_by(with_insides(*flows, matches), flows[0], agreeing)
        settled = [_settled(match, agreeing, followed) for match in matches]
        gone = [match for match in settled if match.confirmed == "doubtful"]
        for match in gone:
            refusals.add(match, "values do not agree")
        matches = [match for match in settled if match.confirmed != "doubtful"]
        if not gone:
            break
    return matches


def _settled(match: Match, agreeing: set[int], followed: set[int]) -> Match:
    if match.confirmed != "doubtful":
        return match
    if match.reference in agreeing:
        return replace(match, confirmed="local")
    return replace(match, confirmed="next") if match.reference in followed else match


def _fed_by(matches: Sequence[Match], flow: Flow, agreeing: set[int]) -> set[int]:
    """The pairs from which an agreeing pair is computed directly."""
    places = flow.by_key()
    return {
        feed
        for match in matches
        if match.reference in agreeing
        for key in (match.reference, *match.reference_inside)
        for feed in places[key].feeds
    }


def _without_moved_biases(matches: list[Match], ours: Flow, theirs: Flow, refusals: Refusals) -> list[Match]:
    places = ours.by_key(), theirs.by_key()
    kept = []
    for match in with_insides(ours, theirs, matches):
        mine, _ = segments(match, *places)
        if bias_moved(mine, places[1][match.candidate]):
            refusals.add(match, "its bias is added in a later operator")
        else:
            kept.append(match)
    return kept


def _with_kernel(match: Match, ours: Flow, theirs: Flow) -> Match:
    return replace(match, kernel=kernels_agree(*segments(match, ours.by_key(), theirs.by_key())))
