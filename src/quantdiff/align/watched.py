"""Align two models by what they compute for the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantdiff.align.agreement import Sample, sample
from quantdiff.align.choice import choose_pairs, distances_between
from quantdiff.align.confirmation import Local, confirmed
from quantdiff.align.kernels import bias_moved, kernels_agree
from quantdiff.align.leftovers import Refusals, leftovers
from quantdiff.align.matching import Match, Matching
from quantdiff.align.segments import segments, with_insides
from quantdiff.align.strangers import strangers
from quantdiff.flow import Flow, FlowValue
from quantdiff.quant import Grid
from quantdiff.recording import BoundModel, Recording

PROBED, SAMPLES_AT_ONCE = 64, 1000  # that the alignment looks at; that run together
BYTES_AT_ONCE = 2**28  # of inner values of both sides in memory


@dataclass(frozen=True, slots=True)
class Pairing:
    """Both models as flows, how they go together, and how many samples fit into memory with all inner values."""

    reference: Flow
    candidate: Flow
    matching: Matching
    at_once: int

    def places(self) -> list[tuple[FlowValue, FlowValue]]:
        """The pairs, in the order of the matches."""
        ours, theirs = self.reference.by_key(), self.candidate.by_key()
        return [(ours[match.reference], theirs[match.candidate]) for match in self.matching.matches]

    def grids(self) -> list[Grid | None]:
        """The integers that each pair is counted on: the candidate's, else the reference's."""
        return [theirs.grid or ours.grid for ours, theirs in self.places()]


def pair_models(reference: BoundModel, candidate: BoundModel) -> Pairing:
    """Run both on the first samples, and align every value that has a partner.

    Raises:
        RuntimeFailed: a model does not run.
    """
    at_once = _samples_at_once([side.run(0, 1) for side in (reference, candidate)])
    seen = reference.run(0, min(PROBED, at_once)), candidate.run(0, min(PROBED, at_once))
    ours, theirs = seen[0].flow, seen[1].flow
    sampled = _sampled(seen[0]), _sampled(seen[1])
    distances = distances_between(*sampled)
    matches, refusals = choose_pairs(ours, theirs, distances), Refusals(distances)
    matches = _without_moved_biases(matches, ours, theirs, refusals)
    matches = confirmed(matches, Local(seen, sampled[1]), refusals)
    matches = [_with_kernel(match, ours, theirs) for match in with_insides(ours, theirs, matches)]
    if why := strangers(ours, theirs, matches):
        matching = Matching(tuple(match for match in matches if match.confirmed == "values"), strangers=why)
    else:
        matching = Matching(tuple(matches), *leftovers(ours, theirs, matches, refusals))
    return Pairing(ours, theirs, matching, at_once)


def _samples_at_once(probes: Sequence[Recording]) -> int:
    bytes_each = sum(seen.value(place.key).nbytes for seen in probes for place in seen.flow.places)
    return max(1, min(SAMPLES_AT_ONCE, BYTES_AT_ONCE // max(1, bytes_each)))


def _sampled(seen: Recording) -> dict[int, Sample]:
    """A model's values for the first samples. Floats that restate integers are left to these."""
    aside = seen.flow.restating()
    values = ((place, seen.value(place.key)) for place in seen.flow.places if place.key not in aside)
    return {place.key: sample(place, array) for place, array in values if array.size}


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
