"""Are these two the same model at all?"""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.align.kernels import own_kernel, same_kernel
from quantdiff.align.matching import Match
from quantdiff.run.flow import Flow, Place

AT_LEAST = 0.5  # of the kernels, or of the values with weights


def strangers(reference: Flow, candidate: Flow, matches: Sequence[Match]) -> str:
    """Why the two are not made from each other, in words; empty where half of the weights or of the pairs agree.

    Batch norm changes kernels and a bad quantization changes values, so either is enough.
    """
    ours, theirs = ([p for p in flow.places if p.is_weighted] for flow in (reference, candidate))
    count = min(len(ours), len(theirs))
    paired = {match.candidate for match in matches} | {key for match in matches for key in match.candidate_inside}
    aligned = sum(place.key in paired for place in theirs)
    if count == 0:
        ends = {match.candidate for match in matches} & set(candidate.outputs)
        return "" if ends or len(matches) > 1 else "no value of one is a value of the other"
    alike = sum(match.kernel is True for match in matches)
    alike = max(alike, _common(ours, theirs))
    if (aligned >= AT_LEAST * count and alike > 0) or alike >= AT_LEAST * count:
        return ""
    return f"{alike} of {count} kernels and {aligned} of {len(theirs)} layers with weights agree"


def _common(ours: Sequence[Place], theirs: Sequence[Place]) -> int:
    """How many kernels of one side the other has too, wherever; a kernel that is used twice counts once."""
    kernels = [[k for place in side if (k := own_kernel(place)) is not None] for side in (ours, theirs)]
    return sum(any(same_kernel(a, b) for a in kernels[0]) for b in kernels[1])
