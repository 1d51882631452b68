"""Are these two the same model at all?"""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.align.kernels import own_kernel, same_kernel
from quantdiff.align.matching import Match
from quantdiff.flow import Flow, FlowValue

AT_LEAST, CLOSE = 0.5, 0.05  # the share that says they are; distance of values, an SQNR of 26 dB


def strangers(reference: Flow, candidate: Flow, matches: Sequence[Match]) -> str:
    """Why the two are not made from each other, in words; empty where they are.

    They are where half of the kernels agree, or half of the values with weights (a reordering of channels changes
    all kernels), or an output; values that come close, since two models trained on the same data come near. An output
    that hardly varies counts where nothing has weights.
    """
    ours, theirs = ([p for p in flow.places if p.is_weighted] for flow in (reference, candidate))
    count = min(len(ours), len(theirs))
    near = [m for m in matches if (m.confirmed == "values" and m.distance <= CLOSE) or not count]
    if {match.candidate for match in near} & candidate.ends() - set(candidate.inputs):
        return ""
    alike = max(sum(match.kernel is True for match in matches), _common(ours, theirs))
    aligned = sum(match.kernel is not None for match in near)
    if count and max(alike, aligned) >= AT_LEAST * count:
        return ""
    return f"{alike} of {count} kernels agree, the values of {aligned} of {count} layers with weights, and no output"


def _common(ours: Sequence[FlowValue], theirs: Sequence[FlowValue]) -> int:
    """How many kernels of one side the other has too, wherever; a kernel that is used twice counts once."""
    kernels = [[k for place in side if (k := own_kernel(place)) is not None] for side in (ours, theirs)]
    return sum(any(same_kernel(a, b) for a in kernels[0]) for b in kernels[1])
