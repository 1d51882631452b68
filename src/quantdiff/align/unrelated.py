"""Are these two made from each other at all?"""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.align.alignment import Match
from quantdiff.align.constants import agrees, own_layers
from quantdiff.flow import Flow

AT_LEAST, CLOSE = 0.5, 0.05  # the share that says they are; distance of values, an SQNR of 26 dB


def unrelated(reference: Flow, candidate: Flow, matches: Sequence[Match]) -> str:
    """Why the two are not made from each other, in words; empty where they are.

    They are where half of the kernels agree, or half of the values with weights (a reordering of channels changes
    all kernels), or an output; values that come close, since two models trained on the same data come near. An output
    that hardly varies counts where nothing has weights.
    """
    count = min(sum(place.is_weighted for place in flow.places) for flow in (reference, candidate))
    near = [m for m in matches if (m.confirmed in ("values", "place") and m.distance <= CLOSE) or not count]
    if {match.candidate for match in near} & candidate.ends() - set(candidate.inputs):
        return ""
    alike = max(sum(match.kernel is True for match in matches), _common(reference, candidate))
    aligned = sum(match.kernel is not None for match in near)
    if count and max(alike, aligned) >= AT_LEAST * count:
        return ""
    return (
        f"weights of {count - min(alike, count)} of {count} layers are not the file's, "
        f"the values of {aligned} of them agree, and no output"
    )


def _common(reference: Flow, candidate: Flow) -> int:
    """How many kernels of the candidate the reference has too, wherever; one that is used twice counts twice."""
    layers = [layer for place in reference.places for layer in own_layers(place)]
    stored = [place.kernel for place in candidate.places if place.kernel is not None]
    return sum(any(agrees(layer, kernel, layers) for layer in layers) for kernel in stored)
